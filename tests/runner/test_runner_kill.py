"""A run killed again and again, at any moment and with a failing disk, ends with an undisturbed one's bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from small_jobs import chunks


def kill_loop(task, out, kills, seed):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).resolve().parents[1] / "kill_loop.py"
    done = subprocess.run(
        [sys.executable, script, task, out, str(kills), str(seed)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("kills", "seed"), [(60, 0), *(pytest.param(200, seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(tmp_path, task, undisturbed, kills, seed):
    told = kill_loop(task, tmp_path / "o", kills, seed)
    assert told["died"] == kills
    assert set(told["harmed"]) == {"truncate", "flip", "remove"}
    assert chunks(tmp_path / "o") == undisturbed
    leftovers = [path.name for path in (tmp_path / "o").glob("jobs/**/.*.tmp")]
    assert leftovers == []
