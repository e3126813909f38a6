"""A job opened in this process, for tests of a family: its parts under short names, and its records at once."""

from types import SimpleNamespace

from assay.runner import jobs
from assay.runner.chunks import UnitBlock
from assay.runner.jobs import JobRequest
from assay.tasks.base import clean_records
from assay.tasks.shared.loading import Loader

__all__ = ["JobRequest", "open_job", "run_units", "run_whole"]


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


def run_whole(job):
    """All records of a job, and what follows from them: metrics and guards by name."""
    records = [
        record
        for chunk in range(job.chunk_count)
        for record in run_units(job, job.chunk(chunk), lambda _n: None)
    ]
    summary = job.task.summarise(job.spec.spec, clean_records(records))
    return SimpleNamespace(
        job=job,
        spec=job.spec.spec,
        records=records,
        summary=summary,
        metrics={metric.name: metric for metric in summary.metrics},
        guards={guard.name: guard for guard in summary.guards},
    )


def run_units(job, units, advance):
    """The records of some units, run together."""
    return UnitBlock(job.opened, job.request.batch_size, advance, Loader()).run(units)
