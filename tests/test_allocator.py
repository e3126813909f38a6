"""Memory that is freed stays with the process: blocks of the same size need no new pages."""

import platform
import resource
import subprocess
import sys

import pytest

from assay.common import allocator

BLOCKS = """
import ctypes, resource, sys
import torch
from assay.runner.precision import Precision, apply
if sys.argv[1] == "kept":
    apply(Precision(), "cpu")
def fill():
    for _ in range(50):
        torch.zeros(64 * 2**20, dtype=torch.uint8)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 50)
"""


def bytes_mapped_a_block(how: str) -> float:
    done = subprocess.run([sys.executable, "-c", BLOCKS, how], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_a_worker_reuses_large_blocks():
    assert bytes_mapped_a_block("given back") > 32 * 2**20
    assert bytes_mapped_a_block("kept") < resource.getpagesize() * 16


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: object())
    allocator.keep_freed_memory.__wrapped__()
