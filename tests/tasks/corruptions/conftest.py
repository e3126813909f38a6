"""Run a corruptions spec on a model of digits, in this process."""

import pytest

from assay.data.draw import Draw
from opened_jobs import JobRequest, open_job, run_whole

DIGITS = """corruptions: [gaussian_noise, impulse_noise, contrast, pixelate]
settings: cifar-10-c
"""


@pytest.fixture
def run_digits(tmp_path):
    """From the lines of a spec (and a model) to job, records, metrics by name and guards by name."""

    def run(lines=DIGITS, model="digits_models:linear", limit=12, data="digits", draw=Draw.FIRST, **request):
        path = tmp_path / "c.yaml"
        path.write_text(f"schema: 1\nfamily: corruptions\ntitle: t\ndata: {data}\n{lines}\n")
        return run_whole(open_job(JobRequest(model, str(path), limit=limit, draw=draw, **request)))

    return run
