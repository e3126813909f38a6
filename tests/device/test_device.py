"""Checks on a device that is not there, file by file, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CHECKS = sorted(path.name for path in HERE.glob("*_checks.py"))


@pytest.mark.parametrize("name", CHECKS)
def test_the_checks_pass_in_a_process_that_knows_the_device_before_its_first_backward_pass(name):
    """PyTorch's engine counts the devices at its first backward pass and knows none that comes later."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / name)]
    ran = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
