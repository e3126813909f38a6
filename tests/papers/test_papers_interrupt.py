"""Ctrl-C, and worse, while networks train: one sentence, nothing left behind, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from assay.commands.training import saying_how_to_go_on
from assay.runner.run import InterruptedRunError

SLOW = """schema: 1
title: Digits, for long
architecture: digits-cnn
input: {crop: [8, 8], mean: [0], std: [1]}
data:
  train: {manifest: digits, first: 1000}
  test: {manifest: digits, skip: 1700}
optimiser: {name: adam, lr: 0.002}
epochs: EPOCHS
batch_size: 50
method: {name: regular}
"""
PAPER = """schema: 1
paper: slow
title: Slow
authors: A
source: S
summary: Y
measurements:
  clean: {kind: metric, text: clean, model: net, task: fgsm, metric: clean_accuracy}
claims:
  - {id: some, place: P, text: T, test: {type: above, left: clean, value: 0}}
scales:
  smoke:
    differs: []
    models: {net: {kind: recipe, recipe: slow.yaml, seeds: [0, 1]}}
    tasks: {fgsm: {task: fgsm.yaml, limit: 20}}
"""
TASK = """schema: 1
family: adversarial
title: Digits under FGSM
data: digits
eps: [0, 1/10]
attacks: [{method: fgsm}]
sheets: 0
"""


SENTENCE = "assay: stopped: 0 of 2 networks are stored in o; the same command goes on from there"


def write_paper(folder: Path, epochs: int) -> Path:
    for name, text in (("slow", SLOW.replace("EPOCHS", str(epochs))), ("paper", PAPER), ("fgsm", TASK)):
        (folder / f"{name}.yaml").write_text(text)
    return folder / "paper.yaml"


def assay(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The program in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "assay.cli", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def members(group: int) -> list[psutil.Process]:
    """The living processes of a group; a child that nobody has waited for is none."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def children_that_train(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Worker processes that have worked for a while, so that they are past their start."""
    return [child for child in psutil.Process(process.pid).children() if sum(child.cpu_times()[:2]) > 4.0]


@pytest.fixture
def reproduction(tmp_path):
    paper = write_paper(tmp_path, 10_000)
    started = []

    def start(workers: int = 2) -> subprocess.Popen[str]:
        process = assay(tmp_path, "reproduce", str(paper), "--out", "o", "--workers", str(workers))
        started.append(process)
        return process

    yield start
    for process in started:
        for member in members(process.pid):
            member.kill()


def stopped(process: subprocess.Popen[str]) -> list[str]:
    """The lines that a process said after Ctrl-C; nothing of it may be left."""
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    wait_for(lambda: not members(process.pid), 5)
    return err.splitlines()


def test_ctrl_c_while_one_process_trains(reproduction, tmp_path):
    process = reproduction(1)
    wait_for(lambda: (tmp_path / "o" / "lock").exists())
    time.sleep(2)
    assert stopped(process) == [SENTENCE]


def test_ctrl_c_while_the_workers_start(reproduction):
    process = reproduction()
    wait_for(lambda: len(psutil.Process(process.pid).children()) > 1)
    assert stopped(process) == [SENTENCE]


def test_ctrl_c_while_workers_train_and_the_same_command_again(reproduction, tmp_path):
    process = reproduction()
    wait_for(lambda: len(children_that_train(process)) == 2)
    assert stopped(process) == [SENTENCE]
    assert not (tmp_path / "o" / "lock").exists()
    write_paper(tmp_path, 2)  # or it would take an hour
    again = reproduction()
    out, err = again.communicate(timeout=400)
    assert again.returncode == 0, err
    assert "claims:" in out
    assert len(list((tmp_path / "o").glob("nets/*/model.yaml"))) == 2


def test_workers_go_when_the_parent_was_killed(reproduction):
    process = reproduction()
    wait_for(lambda: len(children_that_train(process)) == 2)
    process.kill()
    process.wait()
    wait_for(lambda: not members(process.pid), 5)


def test_a_training_that_is_stopped_keeps_its_last_step_and_says_so(tmp_path):
    write_paper(tmp_path, 10_000)
    process = assay(
        tmp_path,
        "train",
        "slow.yaml",
        "--out",
        "o",
        "--device",
        "cpu",
        "--quiet",
        "--checkpoint-seconds",
        "1000",
    )
    wait_for((tmp_path / "o" / "log.csv").exists)  # the first epoch is over, and what follows is not stored
    assert stopped(process) == [
        "assay: stopped: the last checkpoint is kept in o; the same command goes on from there"
    ]
    assert list(tmp_path.glob("o/checkpoints/*.ckpt"))


def test_a_training_that_was_stopped_before_it_began_says_that_it_begins_again(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_text("of another tool")
    with (
        pytest.raises(InterruptedRunError, match="before the first checkpoint"),
        saying_how_to_go_on(tmp_path),
    ):
        raise KeyboardInterrupt
