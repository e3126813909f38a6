"""Runs on a Ray cluster: nodes and workers that die or hang cost neither units nor bits."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from assay.common.errors import UserError
from assay.runner import ray_cluster
from assay.runner.assemble import stored_jobs
from assay.runner.jobs import JobRequest
from assay.runner.ray_cluster import RayCluster
from assay.runner.run import Runtime
from assay.runner.worker import Limits
from small_jobs import bodies, chunks, request, run, write_spec

pytest.importorskip("ray", reason="the extra assay[ray] is not installed")
SLOW = "time.sleep(0.05)"


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one CPU each, as processes of this machine; gives the cluster and its second node."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    begun = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = begun.add_node(num_cpus=1)
    yield begun, second
    ray.shutdown()
    begun.shutdown()


def on(begun, **limits):
    return Runtime(RayCluster(begun.address, "cpu", 1, Limits(**limits)))


def soon(action, out, chunks=1):
    """Call `action` in a thread as soon as so many chunks are stored in `out`."""

    def wait():
        while len(list(out.glob("jobs/*/chunks/*.jsonl"))) < chunks:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_node_killed_in_the_middle_changes_no_bit(tmp_path, task, undisturbed, cluster, spoilt):
    begun, second = cluster
    out = tmp_path / "o"
    model = spoilt(SLOW, 10**6)
    thread = soon(lambda: begun.remove_node(second, allow_graceful=False), out)
    run([request(task, model=model)], out, on(begun))
    thread.join()
    assert len(chunks(out)) == 6
    assert bodies(chunks(out)) == bodies(undisturbed)


def workers_of_ray():
    """The Ray workers that lead a child of ours, newest last."""
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            if process.info["cmdline"][0].startswith("ray::") and process.children():
                found.append(process)
    return sorted(found, key=lambda process: process.info["create_time"])


@pytest.mark.slow
def test_a_ray_worker_killed_as_when_memory_runs_out_changes_no_bit(
    tmp_path, task, undisturbed, cluster, spoilt
):
    begun, _ = cluster
    out = tmp_path / "o"
    model = spoilt(SLOW, 10**6)
    killed = []

    def kill():
        worker = workers_of_ray()[-1]
        killed.append(worker.pid)
        worker.send_signal(signal.SIGKILL)

    thread = soon(kill, out)
    run([request(task, model=model)], out, on(begun))
    thread.join()
    assert len(killed) == 1
    assert bodies(chunks(out)) == bodies(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(1000)"])
def test_work_that_dies_or_hangs_once_changes_no_bit(tmp_path, task, undisturbed, cluster, spoilt, what):
    begun, _ = cluster
    out = tmp_path / "o"
    run([request(task, model=spoilt(what, 1))], out, on(begun, chunk_seconds=3.0))
    assert bodies(chunks(out)) == bodies(undisturbed)
    assert '"worker_lost"' in (out / "events.jsonl").read_text()


@pytest.mark.slow
def test_a_cluster_of_ray_s_own_gives_the_bytes_of_one_process(tmp_path, task, undisturbed):
    run([request(task)], tmp_path / "o", Runtime(RayCluster("local", "cpu", 1)))
    assert chunks(tmp_path / "o") == undisturbed


PROVED = """schema: 1
family: verification
title: t
data: digits-test
images: 4
combinations: [["brightness:0:0.1"]]
deltas: [1]
"""


@pytest.mark.slow
def test_what_is_proved_asks_for_no_gpu_and_runs_while_the_only_one_is_taken(tmp_path, cluster):
    """A node that says it has a GPU, which is reserved meanwhile: work that asked for it would wait for good."""
    import ray

    begun, _ = cluster
    begun.add_node(num_cpus=1, num_gpus=1)
    proved = [JobRequest("digits_fnn", write_spec(tmp_path, "proved", PROVED))]
    here = run(proved, tmp_path / "here")
    ray.init(begun.address)
    ray.get(ray.util.placement_group([{"GPU": 1}]).ready())
    assert ray.available_resources().get("GPU", 0) == 0
    there = run(proved, tmp_path / "there", Runtime(RayCluster(begun.address, "cuda", 1)))
    for folder in (here, there):
        (job,) = stored_jobs(folder)
        assert len(job.records()) == 4
        assert all(record.values["complete"] for record in job.records())
        assert {time["device"] for time in job.store.read_times()} == {"cpu"}


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("127.0.0.1:1", "no Ray cluster answers"),
        ("ray://127.0.0.1:1", "no Ray cluster answers"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("auto", "no Ray cluster answers"),
        ("somewhere", "expected auto, local or HOST:PORT"),
    ],
)
def test_an_address_that_does_not_answer_is_said(monkeypatch, address, complaint):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match=complaint):
        ray_cluster.connect(address)


@pytest.mark.slow
def test_an_open_port_without_ray_is_said_before_long(tmp_path, task):
    """In a process of its own, because Ray reads how patient to be when it is first imported."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code = f"from assay.runner.ray_cluster import connect; connect({address!r})"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
    assert f"UserError: --address {address}: no Ray cluster answers" in done.stderr


@pytest.mark.parametrize(
    ("asked", "gpus", "device"),
    [("auto", 8, "cuda"), ("auto", 0, "cpu"), ("cpu", 8, "cpu"), ("cuda", 1, "cuda")],
)
def test_the_device_is_the_cluster_s_not_this_machine_s(asked, gpus, device):
    assert ray_cluster.device_of(asked, {"CPU": 4, "GPU": gpus}) == device


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [("cuda", "the Ray cluster has no GPU"), ("cuda:1", "Ray chooses"), ("tpu", "Ray chooses")],
)
def test_a_device_that_a_cluster_cannot_give_is_said(asked, complaint):
    with pytest.raises(UserError, match=complaint):
        ray_cluster.device_of(asked, {"CPU": 4})


def test_a_missing_ray_names_the_extra(tmp_path, task):
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from assay.cli import main\n"
        f"main(['run', '--model', 'digits_models:linear', '--task', {task!r}, '--out', {str(tmp_path / 'o')!r},"
        " '--limit', '2', '--executor', 'ray'])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'assay[ray]'" in done.stderr
    assert not (tmp_path / "o").exists()
