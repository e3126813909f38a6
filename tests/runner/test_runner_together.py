"""How many chunks share passes, on which device, and who is given a GPU."""

import json

import pytest
import torch

from assay.commands.options import devices
from assay.runner.choice import Choice, cores
from assay.runner.chunks import ChunkResult
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs, survey
from assay.runner.worker import Limits
from assay.tasks.base import Record
from small_jobs import LINEAR, chunks

SEARCHED = "brightness:0:0.3 + patch:0:0.5:3:3:2x2:median_relative_sup_found"


def tasks_of(task, device, workers=1, **asked):
    (found,) = survey(plan_jobs([JobRequest("digits_fnn", task, **asked)]), None)
    return list(found.tasks(device, workers))


def test_a_cpu_takes_chunks_one_by_one_and_a_gpu_as_many_as_fill_its_passes():
    assert [task.chunks for task in tasks_of("adversarial/digits", "cpu")] == [(0,), (1,), (2,), (3,), (4,)]
    (together,) = tasks_of("adversarial/digits", "cuda")
    assert together.chunks == (0, 1, 2, 3, 4)
    assert len(together.unit_ids) == 450
    pairs = tasks_of("adversarial/digits", "cuda", batch_size=50)
    assert [task.chunks for task in pairs] == [(0, 1), (2, 3), (4,)]


def test_no_worker_is_left_without_work_so_that_another_has_full_passes():
    shared = tasks_of("adversarial/digits", "cuda:0", workers=2)
    assert [task.chunks for task in shared] == [(0, 1), (2, 3), (4,)]
    assert all(len(task.chunks) == 1 for task in tasks_of("adversarial/digits", "cuda:0", workers=8))


def test_chunks_that_were_computed_together_part_into_their_own_units():
    (task,) = tasks_of("adversarial/digits", "cuda")
    records = tuple(Record(unit_id) for unit_id in task.unit_ids)
    result = ChunkResult(task, records, {"wall_seconds": 9.0, "images": 900, "chunk": 0, "device": "d"}, {})
    parts = result.by_chunk()
    assert [len(part.records) for part in parts] == [100, 100, 100, 100, 50]
    assert [part.times["chunk"] for part in parts] == [0, 1, 2, 3, 4]
    assert [part.times["wall_seconds"] for part in parts] == [2, 2, 2, 2, 1]
    assert sum(part.times["images"] for part in parts) == 900
    assert [record for part in parts for record in part.records] == [*records]
    assert all(part.task.unit_ids == tuple(record.unit_id for record in part.records) for part in parts)


def test_what_is_proved_on_the_host_needs_no_gpu():
    proved = tasks_of("verification/digits", "cuda", settings=("verifier=exact",))
    searched = tasks_of("verification/digits", "cuda", settings=("verifier=search", f"headline={SEARCHED}"))
    assert not any(task.needs_gpu for task in proved)
    assert all(task.needs_gpu for task in searched)


@pytest.mark.parametrize(
    ("gpus", "named"), [(0, ["cpu"]), (1, ["cuda"]), (3, ["cuda:0", "cuda:1", "cuda:2"])]
)
def test_auto_takes_every_gpu_with_a_worker_each_and_one_alone_is_called_as_always(monkeypatch, gpus, named):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert devices("auto") == named
    executor = Choice("auto", tuple(devices("auto")), "auto", "", Limits()).executor(threads=cores())
    assert executor.workers == len(named)
    assert executor.device == named[0]
    if gpus == 3:
        assert executor.devices == tuple(named)


def test_several_devices_share_the_chunks_of_one_job_and_change_no_bit(assay, tmp_path, task, undisturbed):
    """Two names of the host's device stand for two devices: each has a worker, and times say which computed what."""
    out = tmp_path / "two"
    assay("run", "--model", LINEAR, "--task", task, "--limit", 60, "--out", out, "--device", "cpu:0,cpu:1")
    (folder,) = (out / "jobs").iterdir()
    times = [json.loads(line) for line in (folder / "times.jsonl").read_text().splitlines()]
    assert {time["device"] for time in times} == {"cpu:0", "cpu:1"}
    assert chunks(out) == undisturbed
