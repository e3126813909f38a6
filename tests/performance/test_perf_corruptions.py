"""What corrupting costs beside bare forward passes on ready pictures, measured side by side."""

import statistics
import time

import pytest
import torch

from assay.tasks.base import RunContext
from assay.tasks.shared.loading import Loader, Prefetcher
from opened_jobs import JobRequest, open_job

ROUNDS = 3


@pytest.fixture(scope="module")
def job():
    return open_job(JobRequest("efficientnet_lite0", "corruptions/imagenet20", limit=1))


def seconds(work, clock):
    started = clock()
    work()
    return clock() - started


def test_corrupting_ahead_hides_behind_the_network(job):
    """The network's own thread works at most 15 % longer than bare passes, and the loader's thread keeps ahead.

    Both in the threads' own CPU seconds, because other work on the machine must not count: with a core for each they
    are wall seconds.
    """
    torch.set_num_threads(1)
    task, spec, units = job.task, job.spec.spec, job.chunk(0)
    pictures = task.pictures(spec, job.model, job.data, units[0])
    size = task.batch_size(job.model.info.input_shape, "cpu")
    starts = range(0, len(pictures), size)
    ready = [torch.stack([picture.load() for picture in pictures[start : start + size]]) for start in starts]

    @torch.no_grad()
    def bare():
        for batch in ready:
            job.model.module(batch)

    def run():
        ahead = Prefetcher()
        ahead.expect(pictures)
        loader = Loader(ahead)
        list(task.run(spec, job.model, job.data, units, RunContext("s", "cpu", size, loader=loader)))
        ahead.close()

    def corrupting():
        for picture in pictures:
            picture.load()

    bare(), corrupting()
    rounds = [[seconds(work, time.thread_time) for work in (run, bare, corrupting)] for _ in range(ROUNDS)]
    ratio = statistics.median(whole / alone for whole, alone, _ in rounds)
    share = statistics.median(made / alone for _, alone, made in rounds)
    print(f"\nthe network's thread / bare passes {ratio:.3f}; corrupting / bare passes {share:.3f}; {rounds}")
    assert ratio <= 1.15
    assert share <= 0.5
