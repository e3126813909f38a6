"""Several chunks in one pass, on a device that is not there: fuller passes, the same stored bytes."""

import pytest

from assay.attacks.attempts import Queue
from assay.runner.executors import InProcess
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.provenance import used
from assay.runner.run import Runtime, run_jobs
from pretend_device import DEVICE

pytestmark = pytest.mark.usefixtures("device")
SPEC = """\
schema: 1
family: adversarial
title: t
data: digits-test
eps: [0, 1/20, 1/5]
curve: CURVE
chunk_units: 10
attacks:
  - {method: pgd, steps: 5, step_size: 0.4 eps, restarts: 3, loss: margin}
  - {method: apgd_t, steps: 5, restarts: 3}
  - {method: square, steps: 10, loss: margin}
"""
BATCH, UNITS = 32, 120


@pytest.fixture
def stored(tmp_path):
    """The chunks that a run stores, by file, with their times."""

    def run(name, device, curve="each", task=None, batch_size=BATCH):
        path = tmp_path / "t.yaml"
        path.write_text(SPEC.replace("CURVE", curve))
        asked = JobRequest("digits_fnn", task or str(path), device=device, limit=UNITS, batch_size=batch_size)
        (job,) = plan_jobs([asked])
        folder = run_jobs([job], tmp_path / name, Runtime(InProcess(device)))
        store = folder.job(job.key)
        found = {each.name: each.read_bytes() for each in (store.path / "chunks").iterdir()}
        return found, store

    return run


@pytest.mark.parametrize("curve", ["each", "ascending", "bisect"])
def test_chunks_that_share_passes_are_stored_as_if_each_were_alone(stored, curve):
    alone, _ = stored("cpu", "cpu", curve)
    together, store = stored("device", DEVICE, curve)
    assert {time["together"] for time in store.read_times()} == {12}
    assert together == alone


@pytest.mark.parametrize("curve", ["each", "ascending"])
def test_every_pass_of_an_attack_is_full_until_no_row_waits(stored, monkeypatch, curve):
    """Chunks, radii, restarts and targets are rows of one pool for each attack: 90 % and more of each is filled."""
    pools = []
    take, begin = Queue.take, Queue.__init__

    def begins(queue, *given, **named):
        begin(queue, *given, **named)
        pools.append([])

    def noted(queue, room, live):
        taken = take(queue, room, live)
        pools[-1].append((len(live) + len(taken), len(queue._waiting)))
        return taken

    monkeypatch.setattr(Queue, "__init__", begins)
    monkeypatch.setattr(Queue, "take", noted)
    _, store = stored("device", DEVICE, curve)
    attacks = [[(rows, left) for rows, left in pool if rows] for pool in pools[:3]]
    for passes in attacks:
        until_the_last = [rows for rows, left in passes if left]
        assert sum(until_the_last) >= 0.9 * BATCH * len(until_the_last)
        assert len(until_the_last) >= 0.8 * len(passes)
    every = [rows for passes in attacks for rows, _ in passes]
    assert sum(every) >= 0.9 * BATCH * len(every)
    assert used(store)["passes"] >= len(every)


def test_chunks_that_share_passes_take_far_fewer(stored):
    """Clean passes and those that judge are few; what stays open are the last rows of each attack."""
    _, alone = stored("cpu", "cpu")
    _, together = stored("device", DEVICE)
    before, after = used(alone), used(together)
    assert after["images"] <= before["images"]
    assert before["images"] / (before["passes"] * BATCH) < 0.25
    assert after["images"] / (after["passes"] * BATCH) > 0.85
