"""A driver for tests: run a small job over and over, each time killed, until it has died often enough.

Each run is a forked child that ends by SIGKILL: after a random time, or at a random step of writing a file (opened,
written, flushed, about to be renamed, renamed). Between runs a stored chunk is sometimes truncated, altered or
removed. Usage: ``python kill_loop.py SPEC OUT KILLS SEED``; prints one JSON line.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from assay.runner.assemble import write_report
from assay.runner.plan import plan_jobs
from assay.runner.run import Runtime, run_jobs
from assay.runner.store import RunFolder
from small_jobs import request

HARMS = ("truncate", "flip", "remove")


def die_at_step(step: int) -> None:
    """Let this process kill itself at the given step of file writing, counted from now."""
    left = iter(range(step, -1, -1))

    def counted(function):
        def wrapper(*arguments, **keywords):
            if next(left, 0) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return wrapper

    os.fsync = counted(os.fsync)
    Path.replace = counted(Path.replace)
    Path.open = counted(Path.open)


def run_and_die(jobs, out: Path, chance: random.Random) -> bool:
    """One run in a child; whether it ended by itself."""
    by_step = chance.random() < 0.6
    step, seconds = chance.randrange(40), chance.uniform(0.0, 0.25)
    child = os.fork()
    if child == 0:
        if by_step:
            die_at_step(step)
        try:
            run_jobs(jobs, out, Runtime())
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr, flush=True)
            os._exit(3)
        os._exit(0)
    if not by_step:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a run that was resumed failed")
    return os.WIFEXITED(status)


def harm_a_chunk(out: Path, chance: random.Random, harm: str) -> bool:
    """Sometimes truncate, alter or remove a stored chunk, as a failing disk would; whether it did."""
    stored = sorted(out.glob("jobs/*/chunks/0*.jsonl"))
    if not stored or chance.random() < 0.5:
        return False
    path = chance.choice(stored)
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "truncate":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
    return True


def main(spec: str, out: Path, kills: int, seed: int) -> None:
    """Die ``kills`` times, then finish; what the last run said and how often a run ended by itself go to stdout."""
    chance = random.Random(seed)
    jobs = plan_jobs([request(spec)])
    died = finished = 0
    harmed: list[str] = []
    while died < kills:
        if run_and_die(jobs, out, chance):
            finished += 1
        else:
            died += 1
        harm = HARMS[len(harmed) % len(HARMS)]
        if harm_a_chunk(out, chance, harm):
            harmed.append(harm)
    said: list[str] = []
    write_report(run_jobs(jobs, out, Runtime(say=said.append)) if out.exists() else RunFolder(out))
    print(json.dumps({"died": died, "finished": finished, "harmed": harmed, "said": said}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
