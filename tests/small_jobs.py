"""A small real job for tests of the runner: FGSM on a trained linear classifier of scikit-learn's digits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from assay.runner.assemble import write_report
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import Runtime, run_jobs
from assay.runner.store import RunFolder

SPEC = """schema: 1
family: adversarial
title: Digits under attack
data: digits
eps: [0, 1/10]
attacks:
  - {method: fgsm}
"""
# At so small an eps hardly an image falls, and the attack takes all its steps: about a second a chunk.
LONG = SPEC.replace("1/10", "1/10000").replace(
    "{method: fgsm}", "{method: pgd, steps: 1000, step_size: 0.1 eps}"
)
LINEAR = "digits_models:linear"


def write_spec(folder: Path, name: str = "t", text: str = SPEC) -> str:
    """A spec file; gives its path."""
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def request(task: str, **fields) -> JobRequest:
    """The small job: 60 digits in 6 chunks, unless told otherwise."""
    return JobRequest(**{"model": LINEAR, "task": task, "limit": 60} | fields)


def run(requests: list[JobRequest], out: Path, runtime: Runtime | None = None) -> RunFolder:
    """Plan and run, with the report."""
    folder = run_jobs(plan_jobs(requests), out, runtime)
    write_report(folder)
    return folder


def answers(out: Path) -> dict[str, bytes]:
    """Every file that is an answer: chunks, jobs, results and CSV (not times, events and provenance)."""
    files = [*out.glob("jobs/*/chunks/*"), *out.glob("jobs/*/job-*.json"), *out.glob("results/**/*.json")]
    files += [path for path in [out / "results.csv"] if path.is_file()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def chunks(out: Path) -> dict[str, bytes]:
    """The chunk files of a run."""
    return {name: content for name, content in answers(out).items() if "/chunks/" in name}


def bodies(chunk_files: dict[str, bytes]) -> list[bytes]:
    """The records' lines of each chunk, without the header that names the job."""
    return [content.split(b"\n", 2)[2] for _, content in sorted(chunk_files.items())]


def interrupted(
    task: str, out: Path, *options: str, number: signal.Signals = signal.SIGINT
) -> subprocess.Popen[str]:
    """`assay run` in a process of its own, which got a signal as soon as a chunk was stored."""
    process = subprocess.Popen(
        [sys.executable, "-m", "assay.cli", "run", "--model", LINEAR, "--task", task, "--out", out, *options],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that; a terminal's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(out.glob("jobs/*/chunks/*.jsonl")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    return process


class Stops:
    """An executor that is interrupted after some chunks, as Ctrl-C does."""

    def __init__(self, inner, after, error=KeyboardInterrupt):
        self.inner, self.after, self.error = inner, after, error
        self.device, self.workers, self.on_this_disk = inner.device, inner.workers, inner.on_this_disk

    def run(self, tasks, watch):
        for count, result in enumerate(self.inner.run(tasks, watch)):
            if count == self.after:
                raise self.error
            yield result
