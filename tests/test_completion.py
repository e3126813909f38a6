"""The shell completes what there is: verbs, options, their values, tasks and tracks."""

import os
import subprocess
import sys

import pytest

# The program as its script starts it: completion goes by the program's name.
PROGRAM = "import sys; sys.argv = ['assay']; from assay.cli import main; main()"


def completed(line: str) -> list[str]:
    words = line.split(" ")
    asked = {"_ASSAY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | asked | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("assay re", ["report", "records", "render"]),
        ("assay run --sk", ["--skip-unavailable"]),
        ("assay run --scale ", ["embedded", "medium", "full"]),
        ("assay run --task adversarial/dig", ["adversarial/digits"]),
        ("assay run --task corr", ["corruptions"]),
        ("assay plan --track c", ["cifar10"]),
    ],
)
def test_what_begins_so_is_offered(line, among):
    found = completed(line)
    assert set(among) <= set(found)
    assert all(each.startswith(line.split(" ")[-1]) for each in found)
