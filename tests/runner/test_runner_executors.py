"""Every executor gives the same bytes, whatever happens to its workers."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import small_jobs
from assay.common.errors import UserError
from assay.runner.assemble import write_report
from assay.runner.choice import Choice
from assay.runner.executors import InProcess
from assay.runner.plan import Shard
from assay.runner.pool import LocalPool
from assay.runner.run import Runtime
from assay.runner.shards import merge
from assay.runner.status import run_status
from assay.runner.worker import Limits
from small_jobs import bodies, chunks, request, run


@pytest.mark.parametrize("devices", [("cpu", "cpu"), pytest.param(("cpu",) * 3, marks=pytest.mark.slow)])
def test_a_pool_gives_the_bytes_of_one_process(tmp_path, task, undisturbed, devices):
    run([request(task)], tmp_path / "o", Runtime(LocalPool(devices)))
    assert chunks(tmp_path / "o") == undisturbed


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_any_number_of_shards_gives_the_bytes_of_one_run(tmp_path, task, count):
    whole, parts = tmp_path / "whole", [tmp_path / f"part{i}" for i in range(count)]
    run([request(task), request(task, model="digits_models:quantised")], whole)
    for i, part in enumerate(parts):
        run(
            [request(task), request(task, model="digits_models:quantised")],
            part,
            Runtime(shard=Shard(i + 1, count)),
        )
    if count == 1:
        assert small_jobs.answers(parts[0]) == small_jobs.answers(whole)
        return
    write_report(merge(parts, tmp_path / "merged"))
    assert small_jobs.answers(tmp_path / "merged") == small_jobs.answers(whole)


def test_a_run_begun_by_one_executor_is_finished_by_another(tmp_path, task, undisturbed):
    out = tmp_path / "o"
    run([request(task)], out)
    for chunk in (0, 5):
        next(out.glob(f"jobs/*/chunks/{chunk:06d}.jsonl")).unlink()
    run([request(task)], out, Runtime(LocalPool(("cpu",))))
    assert chunks(out) == undisturbed


def test_a_killed_worker_costs_no_unit_and_no_bit(tmp_path, task, undisturbed, spoilt):
    name = spoilt("os.kill(os.getpid(), signal.SIGKILL)", 1)
    out = tmp_path / "o"
    run([request(task, model=name)], out, Runtime(LocalPool(("cpu",))))
    assert bodies(chunks(out)) == bodies(undisturbed)
    assert '"worker_lost"' in (out / "events.jsonl").read_text()
    assert "killed by SIGKILL (out of memory?)" in (out / "events.jsonl").read_text()


def test_a_hanging_unit_is_ended_by_its_time_out(tmp_path, task, undisturbed, spoilt):
    name = spoilt("time.sleep(1000)", 1)
    out = tmp_path / "o"
    run([request(task, model=name)], out, Runtime(LocalPool(("cpu",), Limits(chunk_seconds=2.0))))
    assert bodies(chunks(out)) == bodies(undisturbed)
    assert "took longer than 2 s" in (out / "events.jsonl").read_text()


@pytest.mark.parametrize(
    ("what", "limits", "reason"),
    [
        ("time.sleep(1000)", Limits(unit_seconds=0.3), "took longer than 0.3 s"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL)", Limits(), "killed by SIGKILL", marks=pytest.mark.slow
        ),
    ],
)
def test_a_unit_that_always_loses_its_worker_is_a_record(tmp_path, task, spoilt, what, limits, reason):
    out = tmp_path / "o"
    name = spoilt(what, 10**6)
    folder = run([request(task, model=name, limit=2)], out, Runtime(LocalPool(("cpu",), limits)))
    (result,) = write_report(folder).results
    assert (result.coverage.errors, result.status.value) == (2, "partial")
    assert reason in result.reason
    assert run_status(out).jobs[0].failed_units == 2


def test_memory_that_does_not_suffice_halves_the_batch(tmp_path, task, undisturbed, monkeypatch):
    (tmp_path / "big_model.py").write_text(
        "import digits_models, torch\n"
        "class Big(type(digits_models.linear_net())):\n"
        "    def forward(self, images):\n"
        "        if len(images) > 3:\n"
        "            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')\n"
        "        return super().forward(images)\n"
        "def net():\n"
        "    net = digits_models.linear_net()\n"
        "    net.__class__ = Big\n"
        "    return net, digits_models.DESCRIPTION\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said = []
    folder = run([request(task, model="big_model:net", limit=20)], tmp_path / "o", Runtime(say=said.append))
    (result,) = write_report(folder).results
    assert (result.status.value, result.coverage.errors) == ("complete", 0)
    assert "computed in batches of 3" in said[0]
    times = folder.job(result.job_key).read_times()
    assert [entry["batch_size"] for entry in times] == [3, 3]


def test_an_error_in_a_worker_s_job_reaches_the_user(tmp_path, task):
    with pytest.raises(UserError, match="cuda"):
        run([request(task)], tmp_path / "o", Runtime(LocalPool(("cuda:7",))))
    assert not (tmp_path / "o" / "lock").exists()


def test_workers_end_with_their_driver(tmp_path, task):
    """The driver is killed outright; its workers must not compute on for nobody."""
    import subprocess
    import sys
    import time

    import psutil

    code = (
        "from small_jobs import *; from assay.runner.pool import LocalPool; import sys; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    run([request(sys.argv[1], limit=None)], Path(sys.argv[2]), Runtime(LocalPool(('cpu', 'cpu'))))\n"
    )
    script = tmp_path / "driver.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen([sys.executable, script, task, tmp_path / "o"], env=environment)
    while not list((tmp_path / "o").glob("jobs/*/chunks/*.jsonl")) and driver.poll() is None:
        time.sleep(0.02)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (Choice("auto", ("cpu",), "1", "auto", Limits()), InProcess),
        (Choice("auto", ("cpu",), "2", "auto", Limits()), LocalPool),
        (Choice("auto", ("cuda:0", "cuda:1"), "1", "auto", Limits()), LocalPool),
        (Choice("auto", ("cpu",), "1", "auto", Limits(unit_seconds=1)), LocalPool),
        (Choice("pool", ("cpu",), "1", "auto", Limits()), LocalPool),
    ],
)
def test_the_executor_follows_from_what_is_asked_for(choice, kind):
    assert isinstance(choice.executor(threads=1), kind)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"workers": "many"}, "expected a number from 1 or auto"),
        ({"workers": "0"}, "expected a number from 1 or auto"),
        ({"name": "here", "workers": "2"}, "is one process without time-outs"),
        ({"name": "here", "limits": Limits(1.0)}, "is one process without time-outs"),
    ],
)
def test_what_no_executor_can_do_is_said(changes, complaint):
    choice = replace(Choice("auto", ("cpu",), "1", "auto", Limits()), **changes)
    with pytest.raises(UserError, match=complaint):
        choice.executor(threads=1)


def test_one_gpu_worker_a_device_and_threads_divided_on_the_cpu():
    assert Choice("auto", ("cuda:0", "cuda:1"), "auto", "auto", Limits()).executor(1).devices == (
        "cuda:0",
        "cuda:1",
    )
    cores = len(os.sched_getaffinity(0))
    assert len(Choice("pool", ("cpu",), "auto", "auto", Limits()).executor(cores).devices) == 1
    assert Path("/proc").exists()
