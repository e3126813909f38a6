"""Passes beside the times: they do not depend on batches, add up over chunks, and are in no record."""

from assay.runner.work import as_text, part_of, told
from assay.tasks.base import RunContext
from opened_jobs import JobRequest, open_job

SPEC = """schema: 1
family: adversarial
title: t
data: digits-test
eps: [0, 1/20]
probe_queries: 0
attacks:
  - {method: pgd, steps: 5, step_size: 1/50, restarts: 2}
  - {method: fab_t, steps: 5, restarts: 3, loss: margin}
  - {method: square, steps: 20, loss: margin}
"""


def test_passes_are_the_same_however_images_are_batched(tmp_path):
    path = tmp_path / "attacks.yaml"
    path.write_text(SPEC)
    job = open_job(JobRequest("digits_fnn", str(path), limit=6))

    def passes(batch_size):
        context = RunContext(job.key, batch_size=batch_size)
        list(job.task.run(job.spec.spec, job.model, job.data, job.chunk(0), context))
        return dict(context.work)

    whole = passes(6)
    assert whole == passes(4)
    assert whole["backward:square"] == 0 < whole["backward:pgd"] < whole["forward:pgd"]


def test_chunks_add_up_and_what_is_no_count_is_left_out():
    chunks = [
        {"chunk": 0, "forward:pgd": 11, "backward:pgd": 10, "wall_seconds": 2.0},
        {"chunk": 1, "forward:pgd": 7, "backward:pgd": 6, "forward:square": 5, "backward:square": 0},
        {"chunk": 2, "forward:pgd": "many"},
    ]
    assert as_text(told(chunks)) == "pgd 18+16; square 5+0"


def test_the_parts_of_chunks_that_shared_passes_add_up():
    whole = {"forward:pgd": 10, "backward:pgd": 7}
    parts = [part_of(whole, first, min(first + 3, 8), 8) for first in (0, 3, 6)]
    assert {name: sum(part[name] for part in parts) for name in whole} == whole
