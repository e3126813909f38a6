"""Run a corruptions spec on a model of digits, in this process."""

from types import SimpleNamespace

import pytest

from assay.tasks.base import clean_records
from assay.tasks.corruptions.task import TASK
from opened_jobs import JobRequest, open_job, run_units

DIGITS = """corruptions: [gaussian_noise, impulse_noise, contrast, pixelate]
settings: cifar-10-c
"""


@pytest.fixture
def run_digits(tmp_path):
    """From the lines of a spec (and a model) to job, records, metrics by name and guards by name."""

    def run(lines=DIGITS, model="digits_models:linear", limit=12, data="digits", **request):
        path = tmp_path / "c.yaml"
        path.write_text(f"schema: 1\nfamily: corruptions\ntitle: t\ndata: {data}\n{lines}\n")
        job = open_job(JobRequest(model, str(path), limit=limit, **request))
        records = [
            record
            for chunk in range(job.chunk_count)
            for record in run_units(job, job.chunk(chunk), lambda _n: None)
        ]
        summary = TASK.summarise(job.spec.spec, clean_records(records))
        return SimpleNamespace(
            job=job,
            spec=job.spec.spec,
            records=records,
            metrics={metric.name: metric for metric in summary.metrics},
            guards={guard.name: guard for guard in summary.guards},
        )

    return run
