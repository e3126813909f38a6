"""Running, resuming, and what can go wrong in between."""

import errno
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import digits_models
from assay.common.errors import UserError
from assay.runner import jobs
from assay.runner.assemble import stored_jobs, write_report
from assay.runner.job_document import repeat_command
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import InterruptedRunError, Runtime, run_jobs
from assay.runner.status import run_status
from assay.tasks.base import Record
from small_jobs import LONG, Stops, answers, chunks, interrupted, request, run, write_spec


@pytest.fixture
def said():
    """What a run said to its user."""
    return []


@pytest.fixture
def runtime(said):
    return Runtime(say=said.append)


def modified(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("jobs/*/chunks/*")}


def test_a_resumed_run_computes_only_what_is_missing_and_says_so(tmp_path, task, undisturbed, runtime, said):
    out = tmp_path / "o"
    run([request(task)], out)
    before = modified(out)
    next(out.glob("jobs/*/chunks/000004.jsonl")).unlink()
    run([request(task)], out, runtime)
    assert said == ["digits_models:linear · t: 5 of 6 chunks are stored already, 1 to compute"]
    assert {name for name, when in modified(out).items() if when != before[name]} == {"000004.jsonl"}
    assert chunks(out) == undisturbed


def test_a_run_that_is_whole_writes_nothing_but_its_report(tmp_path, task):
    out = tmp_path / "o"
    run_jobs(plan_jobs([request(task)]), out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    run_jobs(plan_jobs([request(task)]), out)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert {path for path in before if after[path] != before[path]} == set()
    assert set(after) == set(before)


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "other chunk", "other job"])
def test_a_broken_chunk_is_found_said_and_computed_again(tmp_path, task, undisturbed, runtime, said, harm):
    out = tmp_path / "o"
    run([request(task)], out)
    path = next(out.glob("jobs/*/chunks/000002.jsonl"))
    content = path.read_bytes()
    broken = {
        "truncate": content[:-7],
        "flip": content[:400] + bytes([content[400] ^ 1]) + content[401:],
        "empty": b"",
        "other chunk": path.with_name("000003.jsonl").read_bytes(),
        "other job": content.replace(b'"job":"', b'"job":"0'),
    }
    path.write_bytes(broken[harm])
    run([request(task)], out, runtime)
    assert "000002.jsonl" in said[0]
    assert "it is computed again" in said[0]
    assert "5 of 6 chunks" in said[1]
    assert chunks(out) == undisturbed


def test_a_report_never_counts_a_broken_chunk(tmp_path, task):
    out = tmp_path / "o"
    folder = run([request(task)], out)
    next(out.glob("jobs/*/chunks/000002.jsonl")).write_bytes(b"")
    (result,) = write_report(folder).results
    assert result.status.value == "partial"
    assert "10 of 60 units are not computed yet" in result.reason
    assert result.coverage.done == 50


def test_a_unit_that_fails_is_a_record_and_can_be_tried_again(tmp_path, task, monkeypatch, runtime, said):
    out = tmp_path / "o"
    family = jobs.family("adversarial")
    sound = type(family).run
    first = plan_jobs([request(task)])[0].units[13].id

    def fail_one(self, spec, model, data, units, context):
        if any(unit.id == first for unit in units):
            raise ValueError("a cosmic ray")
        yield from sound(self, spec, model, data, units, context)

    monkeypatch.setattr(type(family), "run", fail_one)
    (result,) = write_report(run([request(task)], out)).results
    assert (result.status.value, result.coverage.errors, result.coverage.done) == ("partial", 1, 60)
    assert f"{first}: ValueError: a cosmic ray" in result.reason
    monkeypatch.setattr(type(family), "run", sound)
    run([request(task)], out, runtime)
    assert "6 of 6 chunks are stored already" in said[-1]
    (result,) = write_report(run([request(task)], out, replace(runtime, retry_errors=True))).results
    assert "5 of 6 chunks are stored already, 1 to compute" in said[-1]
    assert result.status.value == "complete"


def test_values_that_are_no_numbers_are_an_error_of_their_unit(tmp_path, task, monkeypatch):
    family = jobs.family("adversarial")

    def nan(self, spec, model, data, units, context):
        yield from (Record(unit.id, {"x": float("nan")}) for unit in units)

    monkeypatch.setattr(type(family), "run", nan)
    (job,) = stored_jobs(run_jobs(plan_jobs([request(task, limit=2)]), tmp_path / "o"))
    assert all("cannot be stored" in record.error for record in job.records())


def test_records_of_other_units_are_never_taken(tmp_path, task, monkeypatch):
    family = jobs.family("adversarial")
    monkeypatch.setattr(type(family), "run", lambda *_: iter([Record("another")]))
    (job,) = stored_jobs(run_jobs(plan_jobs([request(task, limit=2)]), tmp_path / "o"))
    assert all("other units than asked for" in record.error for record in job.records())


def test_weights_that_changed_under_the_same_name_are_another_job_and_replace_nothing(
    tmp_path, task, runtime
):
    weights = tmp_path / "w.pth"
    torch.save(digits_models.linear_net().state_dict(), weights)
    asked = request(task, weights=str(weights))
    out = tmp_path / "o"
    run([asked], out, runtime)
    before = answers(out)
    torch.save(
        {name: value * 0.5 for name, value in digits_models.linear_net().state_dict().items()}, weights
    )
    with pytest.raises(UserError, match="has results of digits_models:linear with other weights"):
        run([asked], out, runtime)
    assert answers(out) == before
    assert len(list(out.glob("jobs/*"))) == 1
    run([asked], tmp_path / "p", runtime)
    assert answers(tmp_path / "p")["results.csv"] != before["results.csv"]


def test_weights_that_change_while_the_run_is_under_way_stop_it(tmp_path, task):
    weights = tmp_path / "w.pth"
    torch.save(digits_models.linear_net().state_dict(), weights)
    planned = plan_jobs([request(task, weights=str(weights))])
    torch.save(
        {name: value * 0.5 for name, value in digits_models.linear_net().state_dict().items()}, weights
    )
    jobs.forget()
    with pytest.raises(UserError, match="changed while the run was under way"):
        run_jobs(planned, tmp_path / "o")


def test_two_jobs_of_one_name_are_refused(tmp_path, task):
    (tmp_path / "other").mkdir()
    twin = write_spec(tmp_path / "other")
    for pair in ([request(task), request(task)], [request(task), request(twin)]):
        with pytest.raises(UserError, match="is asked for twice"):
            plan_jobs(pair)


def test_two_names_of_one_job_share_its_work_and_have_a_result_each(tmp_path, task, runtime, said):
    copy = write_spec(
        tmp_path, "copy", (tmp_path / "t.yaml").read_text().replace("title: D", "title: The same d")
    )
    out = tmp_path / "o"
    results = write_report(run([request(task), request(copy)], out, runtime)).results
    assert [(result.task, result.title) for result in results] == [
        ("copy", "The same digits under attack"),
        ("t", "Digits under attack"),
    ]
    assert results[0].job_key == results[1].job_key
    assert results[0].metrics == results[1].metrics
    assert len(modified(out)) == 6
    assert len(list(out.glob("jobs/*"))) == 1


def test_ctrl_c_says_what_is_stored_and_the_run_goes_on_from_there(
    tmp_path, task, undisturbed, runtime, said
):
    out = tmp_path / "o"
    stopping = replace(runtime, executor=Stops(runtime.executor, 3))
    with pytest.raises(
        InterruptedRunError, match=r"stopped: 3 of 6 chunks are stored in .*/o; the same command"
    ):
        run([request(task)], out, stopping)
    assert not (out / "lock").exists()
    run([request(task)], out, runtime)
    assert "3 of 6 chunks are stored already" in said[0]
    assert chunks(out) == undisturbed


def test_a_disk_that_fills_up_keeps_what_was_stored(tmp_path, task, undisturbed, monkeypatch, runtime):
    out = tmp_path / "o"
    sync, left = os.fsync, iter(range(100))

    def fill(descriptor):
        if next(left) > 16:  # two of them are the lock's
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(UserError, match="the disk is full"):
        run([request(task)], out)
    monkeypatch.setattr(os, "fsync", sync)
    assert 0 < len(modified(out)) < 6
    run([request(task)], out, runtime)
    assert chunks(out) == undisturbed


def test_a_really_full_disk(tmp_path, task, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        with pytest.raises(UserError, match="the disk is full"):
            run([request(task)], disk / "o")
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        run([request(task)], disk / "o")
        assert chunks(disk / "o") == undisturbed
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_written(task):
    with pytest.raises(UserError, match="cannot be written"):
        run_jobs(plan_jobs([request(task)]), Path("/proc/nowhere"))


def test_a_model_without_meaning_for_the_task_is_a_result_and_no_work(tmp_path, task, runtime, said):
    (result,) = write_report(
        run([request(task, model="efficientnet_lite0")], tmp_path / "o", runtime)
    ).results
    assert result.status.value == "not_applicable"
    assert "not applicable: the data's labels are digits" in said[0]


def test_provenance_says_where_and_with_what(tmp_path, task):
    out = tmp_path / "o"
    run([request(task)], out)
    document = json.loads((out / "provenance/digits_models_linear/t.json").read_text())
    (environment,) = document["environments"].values()
    assert (
        environment["packages"]["torch"] == torch.__version__.split("+")[0]
        or environment["packages"]["torch"]
    )
    assert environment["threads"] == 1
    assert environment["tf32"] is False
    assert {"commit", "device", "cuda", "deterministic_algorithms", "cudnn_deterministic"} <= set(environment)
    assert "host" not in environment
    used = document["used"]
    assert used["chunks"] == 6
    assert min(used["wall_seconds"], used["cpu_seconds"], used["peak_bytes"], used["waiting_seconds"]) > 0
    assert 0 < used["waiting_share"] < 1
    assert used["images"] >= 2 * 60  # clean, and what FGSM made of them
    assert 0 < used["passes"] < used["images"]
    assert used["images_per_second"] == pytest.approx(
        used["images"] / used["wall_seconds"], rel=0.01, abs=0.06
    )
    run([request(task, limit=59)], tmp_path / "with", Runtime(with_host=True))
    document = json.loads((tmp_path / "with/provenance/digits_models_linear/t.json").read_text())
    assert all(environment["host"] for environment in document["environments"].values())


def test_the_command_of_a_result_is_the_same_however_it_was_run(task):
    here = JobRequest("m", task, limit=3)
    there = replace(here, device="cuda:1", batch_size=1)
    assert (
        repeat_command(here)
        == repeat_command(there)
        == f"assay run --model m --task {task} --limit 3 --out out"
    )


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "1"), (signal.SIGTERM, "2")]
)
def test_a_signal_ends_the_program_as_the_user_s_wish_does(tmp_path, number, workers):
    """A real Ctrl-C, or a batch system's last word, in a long job; how soon is measured in tests/performance."""
    out = tmp_path / "o"
    process = interrupted(write_spec(tmp_path, text=LONG), out, "--workers", workers, number=number)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "chunks are stored in" in err
    assert "Traceback" not in err
    assert run_status(out).state == "stopped"
    assert not (out / "lock").exists()
