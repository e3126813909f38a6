"""Paths and calls that Windows and macOS have too: names as files, and a run without what only POSIX knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.common.errors import UserError
from assay.runner.files import path_name
from assay.runner.plan import plan_jobs
from assay.runner.usage import peak_bytes
from small_jobs import LINEAR, chunks, request, run, write_spec

# What Windows lacks of what Linux has, taken away before Assay is imported, in the workers too.
NO_POSIX = """
import os, signal, sys
import psutil  # on Linux it needs what is taken away
for name in ("O_NOFOLLOW", "pread", "pwrite", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
del signal.pthread_sigmask
sys.modules["resource"] = None
"""


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "a/b"), ("..", "_"), ("a:b", "a_b"), ("con", "_con"), ("NUL.yaml", "_NUL.yaml"), ("com1", "_com1"),
        ("console", "console"), ("ends.", "ends_"), ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
    ],
)  # fmt: skip
def test_a_name_is_a_path_on_every_system(name, path):
    assert path_name(name) == path


def test_names_that_differ_by_case_alone_are_refused(tmp_path):
    tasks = [write_spec(folder, name) for folder, name in _places(tmp_path)]
    with pytest.raises(UserError, match="'Same' and 'same' would be filed under one name"):
        plan_jobs([request(task, limit=2) for task in tasks])


def _places(tmp_path):
    for folder, name in (("one", "Same"), ("two", "same")):
        (tmp_path / folder).mkdir()
        yield tmp_path / folder, name


def test_the_peak_of_memory_is_known_without_proc_and_resource(monkeypatch):
    def missing(*_arguments, **_named):
        raise FileNotFoundError

    here = peak_bytes()
    with monkeypatch.context() as poor:
        poor.setattr(Path, "read_text", missing)
        by_resource = peak_bytes()
        poor.setitem(sys.modules, "resource", None)
        by_psutil = peak_bytes()
    assert min(here, by_resource, by_psutil) > 10_000_000  # an interpreter with numpy has more
    assert max(here, by_resource, by_psutil) < 2**34


def test_a_run_needs_no_call_that_only_posix_has(tmp_path):
    """The same bytes, from a process of workers on a system without them."""
    task = write_spec(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_POSIX)
    path = os.pathsep.join([str(tmp_path / "site"), *sys.path])
    words = ["run", "--model", LINEAR, "--task", task, "--limit", "20", "--executor", "pool", "--quiet"]
    ran = subprocess.run(
        [sys.executable, "-m", "assay.cli", *words, "--hostname", "--out", tmp_path / "poor"],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    run([request(task, limit=20)], tmp_path / "rich")
    assert chunks(tmp_path / "poor") == chunks(tmp_path / "rich")


def test_git_leaves_line_ends_as_they_are_on_every_system():
    """Windows' git would write others, and no hash of a submission would hold there."""
    repository = Path(__file__).parents[2]
    if not (repository / ".git").exists():
        pytest.skip("no checkout")
    asked = ["git", "-C", repository, "check-attr", "text", "--", "leaderboard/leaderboard.csv"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert said.strip().endswith("text: unset")
