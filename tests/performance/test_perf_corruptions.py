"""What corrupting costs beside bare forward passes on ready pictures, measured side by side."""

import statistics
import time
from concurrent import futures
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest
import torch

from assay.data.corrupting.level import Level, corrupted
from assay.data.corrupting.names import CORRUPTIONS, SEVERITIES
from assay.data.draw import Draw
from assay.models.pictures import prepared
from assay.tasks.base import RunContext
from assay.tasks.shared.loading import Loader, Prefetcher
from opened_jobs import JobRequest, open_job

ROUNDS = 3


@pytest.fixture(scope="module")
def job():
    return open_job(JobRequest("efficientnet_lite0", "corruptions/imagenet20", limit=2, draw=Draw.FIRST))


class Spent(NamedTuple):
    """Seconds of one piece of work: of its own thread's CPU, and of the clock on the wall."""

    cpu: float
    wall: float


def spent(work, *arguments):
    cpu, wall = time.thread_time(), time.perf_counter()
    work(*arguments)
    return Spent(time.thread_time() - cpu, time.perf_counter() - wall)


class Parts:
    """An image of a job with its corrupted pictures, and what is timed of it."""

    def __init__(self, job):
        self.job, self.units = job, job.chunk(1)  # of the first image a sheet is drawn besides
        self.pictures = job.task.pictures(job.spec.spec, job.model, job.data, self.units[0])
        self.size = job.task.batch_size(job.model.info.input_shape, "cpu")
        starts = range(0, len(self.pictures), self.size)
        batches = [self.pictures[start : start + self.size] for start in starts]
        self.ready = [torch.stack([picture.load() for picture in batch]) for batch in batches]

    @torch.no_grad()
    def bare(self):
        """Passes over ready pictures."""
        for batch in self.ready:
            self.job.model.module(batch)

    def corrupting(self):
        """The loader's work."""
        for picture in self.pictures:
            picture.load()

    def ahead(self, wait):
        """A prefetcher that makes the pictures, or has made them."""
        found = Prefetcher(most=len(self.pictures))
        found.expect(self.pictures)
        if wait:
            futures.wait(found._begun.values())
        return found

    def run(self, ahead):
        """The family's own work over the image."""
        context = RunContext("s", "cpu", self.size, loader=Loader(ahead))
        list(self.job.task.run(self.job.spec.spec, self.job.model, self.job.data, self.units, context))
        ahead.close()


def test_corrupting_ahead_hides_behind_the_network(job):
    """The network's own thread works at most 15 % longer than bare passes, and the loader's thread keeps ahead.

    Both in the threads' own CPU seconds, because other work on the machine must not count. Where a core is there for
    each thread they are wall seconds. The run beside its loader is timed too and printed: where other work takes the
    loader's core, the network's thread makes pictures itself.
    """
    torch.set_num_threads(1)
    parts = Parts(job)
    parts.bare(), parts.corrupting()
    rounds = [
        {
            "run": spent(parts.run, parts.ahead(wait=True)),
            "bare": spent(parts.bare),
            "corrupting": spent(parts.corrupting),
            "together": spent(parts.run, parts.ahead(wait=False)),
        }
        for _ in range(ROUNDS)
    ]

    def share(what, clock):
        return statistics.median(getattr(one[what], clock) / getattr(one["bare"], clock) for one in rounds)

    count = len(parts.pictures)
    for what in rounds[0]:
        each = statistics.median(one[what].cpu for one in rounds) / count
        rate = count / statistics.median(one[what].wall for one in rounds)
        ratios = f"{share(what, 'cpu'):.3f} of bare passes in CPU, {share(what, 'wall'):.3f} on the wall"
        print(
            f"\n{what}: {1000 * each:.1f} ms of CPU per picture, {rate:.1f} pictures a second; {ratios}",
            end="",
        )
    assert share("run", "cpu") <= 1.15
    assert share("corrupting", "cpu") <= 0.5


def test_corrupting_takes_less_than_the_library_s_own_loop(job):
    """Where the package and what it needs can be imported beside Assay; see data/make_library_figures.py."""
    for needed in ("imagecorruptions", "skimage", "cv2", "pkg_resources"):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    from data.make_library_figures import repaired_library

    library = repaired_library()
    info = job.model.info
    pixels = prepared(job.data.image(job.data.samples[0]), info.preprocessing, info.name).transpose(1, 2, 0)
    picture = np.ascontiguousarray(pixels)

    def ours(name):
        for severity in SEVERITIES:
            corrupted(picture, Level(name, severity, "imagenet-c", 0), "a")

    def theirs(name):
        for severity in SEVERITIES:
            library.corrupt(picture, corruption_name=name, severity=severity)

    ratios, totals = {}, [0.0, 0.0]
    for name in CORRUPTIONS:
        ours(name), theirs(name)
        rounds = [(spent(ours, name).cpu, spent(theirs, name).cpu) for _ in range(ROUNDS)]
        one, other = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratios[name] = one / other
        totals = [totals[0] + one, totals[1] + other]
    print("\nCPU beside the library's: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    count = len(CORRUPTIONS) * len(SEVERITIES)
    print(f"pictures a CPU second: ours {count / totals[0]:.0f}, the library's {count / totals[1]:.0f}")
    assert totals[0] < totals[1]
