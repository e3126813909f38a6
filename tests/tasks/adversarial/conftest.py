"""Run an adversarial spec on a model of digits, in this process."""

from functools import cache

import pytest

from assay.data.draw import Draw
from opened_jobs import JobRequest, open_job, run_whole

SOURCES = ("adversarial_models:relu_chain", "adversarial_models:source")  # that specs may name


@pytest.fixture(scope="session")
def run_digits(tmp_path_factory):
    """From a model and the lines of a spec to job, records, metrics by name and guards by name; cached."""

    @cache
    def run(model, lines, limit=40, batch_size=16, draw=Draw.BALANCED):
        path = tmp_path_factory.mktemp("spec") / "attack.yaml"
        path.write_text(f"schema: 1\nfamily: adversarial\ntitle: t\ndata: digits\n{lines}\n")
        return run_whole(
            open_job(
                JobRequest(model, str(path), limit=limit, draw=draw, batch_size=batch_size, trusted=SOURCES)
            )
        )

    return run
