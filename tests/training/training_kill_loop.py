"""A driver for tests: train the small recipe over and over, each time killed at some step of writing a file.

Each training is a forked child of this process, which itself never computes a gradient (autograd's threads do not
survive a fork). Usage: ``python training_kill_loop.py OUT KILLS SEED``; prints how often it was killed.
"""

import os
import random
import signal
import sys
from pathlib import Path

import torch
from training_recipes import recipe

from assay.training.train import Options, train
from kill_loop import die_at_step


def train_and_die(out: Path, step: int | None) -> int:
    """One training in a child that dies at a step of file writing, or not where ``step`` is None; its wait status."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        if step is not None:
            die_at_step(step)
        try:
            train(recipe(), out, Options(checkpoint_seconds=0))
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr, flush=True)
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(out: Path, kills: int, seed: int) -> None:
    """Die ``kills`` times, or until the training is finished; then finish it."""
    chance, died = random.Random(seed), 0
    while died < kills and not (out / "model.yaml").exists():
        status = train_and_die(out, chance.randrange(3, 20))
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise SystemExit(f"the training ended by itself, with {status}")
        died += 1
    if train_and_die(out, None):
        raise SystemExit("the last training failed")
    print(died)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
