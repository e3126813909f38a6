"""What corrupting costs beside bare forward passes on ready pictures, measured side by side."""

import statistics
import time

import pytest
import torch

from assay.tasks.base import RunContext
from assay.tasks.shared.loading import Loader, Prefetcher
from opened_jobs import JobRequest, open_job

ROUNDS = 5
IMAGES = 2


@pytest.fixture(scope="module")
def job():
    return open_job(JobRequest("efficientnet_lite0", "corruptions/imagenet20", limit=IMAGES))


def seconds(work, clock):
    started = clock()
    work()
    return clock() - started


def test_corrupting_ahead_hides_behind_the_network(job):
    """On two cores, one for the network and one for the loader: as long as the bare passes take, and 15 % more."""
    torch.set_num_threads(1)
    task, spec, units = job.task, job.spec.spec, [*job.chunk(0), *job.chunk(1)]
    pictures = [picture for unit in units for picture in task.pictures(spec, job.model, job.data, unit)]
    batch_size = task.batch_size(job.model.info.input_shape, "cpu")
    each = len(pictures) // IMAGES
    starts = [
        (start, min(start + batch_size, image + each))
        for image in range(0, len(pictures), each)
        for start in range(image, image + each, batch_size)
    ]
    ready = [torch.stack([picture.load() for picture in pictures[start:end]]) for start, end in starts]

    @torch.no_grad()
    def bare():
        for batch in ready:
            job.model.module(batch)

    def run():
        ahead = Prefetcher()
        ahead.expect(pictures)
        list(task.run(spec, job.model, job.data, units, RunContext("s", "cpu", batch_size, loader=Loader(ahead))))
        ahead.close()

    def corrupting():
        for picture in pictures:
            picture.load()

    bare(), run()
    pairs = [(seconds(run, time.perf_counter), seconds(bare, time.perf_counter)) for _ in range(ROUNDS)]
    shares = [
        (seconds(corrupting, time.process_time), seconds(bare, time.process_time)) for _ in range(ROUNDS)
    ]
    ratio = statistics.median(whole / alone for whole, alone in pairs)
    share = statistics.median(made / alone for made, alone in shares)
    print(f"\nrun / bare passes {ratio:.3f}; corrupting / bare passes, in CPU seconds {share:.3f}; {pairs}")
    assert share <= 0.5  # of one core, so that the loader keeps ahead
    assert ratio <= 1.15
