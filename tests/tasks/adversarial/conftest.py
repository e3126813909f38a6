"""Run an adversarial spec on a model of digits, in this process."""

from functools import cache
from types import SimpleNamespace

import pytest

from assay.tasks.adversarial.task import TASK
from assay.tasks.base import clean_records
from opened_jobs import JobRequest, open_job, run_units

SOURCES = ("adversarial_models:relu_chain", "adversarial_models:source")  # that specs may name


@pytest.fixture(scope="session")
def run_digits(tmp_path_factory):
    """From a model and the lines of a spec to job, records, metrics by name and guards by name; cached."""

    @cache
    def run(model, lines, limit=40, batch_size=16):
        path = tmp_path_factory.mktemp("spec") / "attack.yaml"
        path.write_text(f"schema: 1\nfamily: adversarial\ntitle: t\ndata: digits\n{lines}\n")
        job = open_job(JobRequest(model, str(path), limit=limit, batch_size=batch_size, trusted=SOURCES))
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
            summary=summary,
            metrics={metric.name: metric for metric in summary.metrics},
            guards={guard.name: guard for guard in summary.guards},
        )

    return run
