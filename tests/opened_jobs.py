"""A job opened in this process, for tests of a family: its parts under short names, and its records at once."""

from assay.runner import jobs
from assay.runner.chunks import Block
from assay.runner.jobs import JobRequest
from assay.tasks.shared.loading import Loader

__all__ = ["JobRequest", "open_job", "run_units"]


class Opened:
    """A job with spec, data, units and model at hand."""

    def __init__(self, opened):
        self.opened, self.job, self.model = opened, opened.job, opened.model
        question = opened.job.question
        self.spec, self.task, self.data = question.spec, question.task, question.data

    def __getattr__(self, name):
        return getattr(self.job, name)


def open_job(request):
    """As the runner opens it, with nothing kept from a job before (specs are written anew under old names)."""
    jobs._question.cache_clear()
    return Opened(jobs.open_job(request))


def run_units(job, units, advance):
    """The records of some units, run together."""
    return Block(job.opened, job.request.batch_size, advance, Loader()).run(units)
