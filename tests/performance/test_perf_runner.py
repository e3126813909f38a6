"""What the runner costs beside a bare loop, and how planning and resuming scale; ratios measured in one run."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.runner.chunks import compute
from assay.runner.executors import InProcess
from assay.runner.job_store import JobStore
from assay.runner.jobs import open_job
from assay.runner.plan import plan_jobs
from assay.runner.pool import LocalPool
from assay.runner.precision import apply
from assay.runner.provenance import used
from assay.runner.run import Runtime, run_jobs
from assay.runner.store import RunFolder
from assay.runner.usage import peak_bytes
from assay.tasks.base import Record, RunContext
from assay.tasks.shared.loading import Prefetcher
from small_jobs import LONG, SPEC, chunks, interrupted, request, write_spec

MANIFEST = """schema: 1
name: many
title: Digits over and over
label_space: digits
num_classes: 10
licence: CC BY 4.0
source: scikit-learn's digits, repeated
get: made by this test
channels: 1
location: {folder: many}
layout: {type: npz, file: many.npz}
files: unlisted
"""


def digits(folder: Path, count: int) -> Path:
    """A manifest of `count` digits, the 1,797 of scikit-learn over and over."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = np.arange(count) % len(images)
    pixels = (images[rows] * 255 / 16 + 0.5).astype(np.uint8).reshape(-1, 8, 8)
    (folder / "many").mkdir()
    np.savez(folder / "many" / "many.npz", images=pixels, labels=labels[rows].astype(np.int64))
    (folder / "many.yaml").write_text(MANIFEST)
    return folder / "many.yaml"


def bare_loop(asked) -> float:
    """CPU seconds of the same network, loaded, and the same batches without the runner."""
    started = time.process_time()
    opened = open_job(asked)
    job, question = opened.job, opened.job.question
    apply(job.request.precision, "cpu")
    batch_size = question.task.batch_size(job.info.input_shape, "cpu")
    for chunk in range(job.chunk_count):
        context = RunContext(job.key, "cpu", batch_size)
        list(question.task.run(question.spec.spec, opened.model, question.data, job.chunk(chunk), context))
    return time.process_time() - started


@pytest.mark.parametrize(
    ("model", "limit", "most"), [("digits_models:linear", 10_000, 1.15), ("efficientnet_lite0", 20, 1.02)]
)
def test_overhead_over_a_bare_loop(tmp_path, benchmark, model, limit, most):
    """CPU time, because other work on the machine must not count; waiting for the disk is in the background."""
    data = "foolbox-imagenet20" if model == "efficientnet_lite0" else digits(tmp_path, limit)
    text = SPEC.replace("data: digits", f"data: {data}")
    task = write_spec(tmp_path, text=text + "  - {method: pgd, steps: 40, step_size: 1/30 eps}\n")
    asked = request(task, model=model, limit=limit)
    compute_first = next(iter(small_tasks(asked)))
    compute(compute_first, "cpu", lambda _: None, lambda: None)  # warm up
    bare = bare_loop(asked)

    def run() -> float:
        started = time.process_time()
        run_jobs(plan_jobs([asked]), tmp_path / "o")
        return time.process_time() - started

    ratio = benchmark.pedantic(run, rounds=1) / bare
    benchmark.extra_info["ratio"] = ratio
    print(f"\n{model}: runner / bare loop = {ratio:.3f} (bare {bare:.1f} s CPU)")
    assert ratio <= most


SIDE, PICTURES = 1500, 80


def photographs(folder: Path) -> Path:
    """A manifest of `PICTURES` PNG files of noise, which take about as long to decode as any picture of their size."""
    images = folder / "photographs"
    images.mkdir()
    noise = np.random.default_rng(0)
    rows = [f"{n}.png,0" for n in range(PICTURES)]
    (images / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    for n in range(PICTURES):
        pixels = noise.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{n}.png", compress_level=9)
    text = MANIFEST.replace("folder: many", "folder: photographs")
    text = text.replace("{type: npz, file: many.npz}", "{type: table, table: labels.csv}")
    (folder / "photographs.yaml").write_text(text)
    return folder / "photographs.yaml"


CONVOLUTION = """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
    layers[-1].bias.data[0] = 100  # always the pictures' label, so that every step is taken
    return nn.Sequential(*layers), {
        "crop": (96, 96), "resize": 96, "mean": (0.0,), "std": (1.0,), "label_space": "digits"
    }
"""


def test_decoding_overlaps_with_computing(tmp_path, benchmark, monkeypatch):
    """How long the network waits for large pictures, loaded ahead and not. Needs two cores of its own."""
    (tmp_path / "small_convolution.py").write_text(CONVOLUTION)
    monkeypatch.syspath_prepend(tmp_path)
    text = SPEC.replace("data: digits", f"data: {photographs(tmp_path)}")

    def job(steps):
        attack = f"{{method: pgd, steps: {steps}, step_size: 1/30 eps}}"
        task = write_spec(tmp_path, f"pgd{steps}", text.replace("{method: fgsm}", attack))
        return plan_jobs([request(task, model="small_convolution:net", limit=None)])

    def times(jobs, name) -> dict:
        run_jobs(jobs, tmp_path / name)
        return used(RunFolder.job_store(tmp_path / name, jobs[0].key))

    with monkeypatch.context() as patched:
        patched.setattr(Prefetcher, "expect", lambda *_: None)
        times(job(10), "warm-up")
        few, many = (times(job(steps), f"calibration-{steps}") for steps in (11, 41))
        computing, more = (one["wall_seconds"] - one["waiting_seconds"] for one in (few, many))
        a_step = (more - computing) / 30
        jobs = job(max(1, round(11 + (many["waiting_seconds"] - computing) / a_step)))
        sequential = times(jobs, "sequential")
    ahead = benchmark.pedantic(lambda: times(jobs, "ahead"), rounds=1)
    ratio = ahead["wall_seconds"] / sequential["wall_seconds"]
    benchmark.extra_info["ratio"] = ratio
    print(
        f"\nloaded ahead / loaded when needed = {ratio:.2f}; of {sequential['wall_seconds']:.1f} s the network waited "
        f"for pictures {sequential['waiting_share']:.0%}, of {ahead['wall_seconds']:.1f} s {ahead['waiting_share']:.0%}"
    )
    assert chunks(tmp_path / "ahead") == chunks(tmp_path / "sequential")
    assert ahead["waiting_share"] <= sequential["waiting_share"] / 3


def small_tasks(asked):
    from assay.runner.plan import survey

    return survey(plan_jobs([asked]), None)[0].tasks()


def test_two_workers_against_one(tmp_path, benchmark):
    """Needs two cores of its own: another busy process shows here as a missing speed-up."""
    task = write_spec(
        tmp_path,
        text=SPEC.replace("data: digits", f"data: {digits(tmp_path, 6000)}").replace(
            "{method: fgsm}", "{method: pgd, steps: 40, step_size: 1/30 eps}"
        ),
    )
    jobs = plan_jobs([request(task, limit=None)])
    seconds = {}
    for workers in (1, 2):
        pool = Warm(LocalPool(("cpu",) * workers), workers)
        run_jobs(jobs, tmp_path / str(workers), Runtime(pool))
        seconds[workers] = pool.seconds
    ratio = seconds[1] / seconds[2]
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info["speed_up"] = ratio
    print(f"\ntwo workers against one: {ratio:.2f} x, load {os.getloadavg()[0]:.1f}")
    assert ratio >= 1.7


class Warm:
    """An executor timed from its first results on, when every worker has loaded its model."""

    def __init__(self, inner, warm_up):
        self.inner, self.warm_up, self.seconds = inner, warm_up * 4, 0.0
        self.device, self.workers, self.on_this_disk = inner.device, inner.workers, inner.on_this_disk

    def run(self, tasks, watch):
        started = counted = 0
        for count, result in enumerate(self.inner.run(tasks, watch)):
            if count == self.warm_up:
                started, counted = time.perf_counter(), 0
            counted += 1
            yield result
        # Seconds for the same number of chunks, whichever the warm-up left.
        self.seconds = (time.perf_counter() - started) / (counted - 1)


def test_ray_on_one_machine_against_the_local_pool(tmp_path, benchmark):
    pytest.importorskip("ray")
    from assay.runner.ray_cluster import RayCluster

    task = write_spec(
        tmp_path,
        text=SPEC.replace("data: digits", f"data: {digits(tmp_path, 6000)}").replace(
            "{method: fgsm}", "{method: pgd, steps: 40, step_size: 1/30 eps}"
        ),
    )
    jobs = plan_jobs([request(task, limit=None)])
    seconds = {}
    for name, executor in (("pool", LocalPool(("cpu", "cpu"))), ("ray", RayCluster("local", "cpu", 1))):
        started = time.perf_counter()
        run_jobs(jobs, tmp_path / name, Runtime(executor))
        seconds[name] = time.perf_counter() - started
    ratio = seconds["ray"] / seconds["pool"]
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info["ratio"] = ratio
    print(f"\nRay / local pool = {ratio:.2f} ({seconds['pool']:.0f} s in the pool)")
    assert chunks(tmp_path / "ray") == chunks(tmp_path / "pool")
    assert ratio <= 1.15


PLANNER = """
import json, sys, time
from pathlib import Path
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs, survey
from assay.runner.usage import peak_bytes
models, tasks, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
jobs = plan_jobs([JobRequest(model, task) for task in tasks for model in models])
found = survey(jobs, out)
print(json.dumps({"seconds": time.process_time(), "torch": "torch" in sys.modules,
  "chunks": sum(len(one.missing) for one in found),
  "peak": peak_bytes()}))
"""


def test_planning_a_thousand_models_on_twenty_tasks(tmp_path, benchmark, monkeypatch):
    """Two million chunks: no model is loaded, because every card is remembered with its weight file's hash."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    data = digits(tmp_path, 1000)
    text = SPEC.replace("data: digits", f"data: {data}")
    tasks = [write_spec(tmp_path, f"t{n}", text.replace("1/10", f"{n + 1}/100")) for n in range(20)]
    models = remembered_models(tmp_path, 1000)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def plan():
        done = subprocess.run(
            [sys.executable, "-c", PLANNER, json.dumps(models), json.dumps(tasks), tmp_path / "o"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    plan()  # remembers the data's hash, as any earlier run has
    found = benchmark.pedantic(plan, rounds=1)
    print(
        f"\nplanning: {found['seconds']:.2f} s of CPU, {found['peak'] / 2**20:.0f} MiB, torch: {found['torch']}"
    )
    assert found["chunks"] == 2_000_000
    assert not found["torch"]
    assert found["seconds"] < 3
    assert found["peak"] < 500e6


def remembered_models(folder: Path, count: int) -> list[str]:
    """Names whose cards this machine remembers, each with a weight file of its own."""
    from assay.runner.cards import Cards

    (job,) = plan_jobs([request(write_spec(folder, "one"))])
    names, cards = [f"net{n}" for n in range(count)], Cards()
    for name in names:
        weights = folder / f"{name}.pth"
        weights.write_text(name)
        os.utime(weights, (1e9, 1e9))
        own = {"name": name, "weights_sha256": hashlib.sha256(name.encode()).hexdigest()}
        cards.remember(request("", model=name), [weights], job.info.model_copy(update=own))
    cards.save()
    return names


class StopError(Exception):
    """The first batch was reached."""


class FirstBatch(InProcess):
    """Stops where the first new batch would begin."""

    def run(self, tasks, watch):
        next(iter(tasks))
        raise StopError
        yield


def test_resuming_a_hundred_thousand_stored_chunks(tmp_path, benchmark, monkeypatch):
    """Every byte of every chunk is checked before the first new batch begins."""
    data = digits(tmp_path, 100_000)
    text = SPEC.replace("data: digits", f"data: {data}")
    tasks = [write_spec(tmp_path, f"t{n}", text.replace("1/10", f"{n + 1}/100")) for n in range(10)]
    jobs = plan_jobs([request(task, limit=None) for task in tasks])
    out = tmp_path / "o"
    RunFolder(out)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        for job in jobs:
            store_all(RunFolder.job_store(out, job.key), job, leave_out=job is jobs[-1])
    started = time.process_time()

    def resume():
        with pytest.raises(StopError):
            run_jobs(plan_jobs([request(task, limit=None) for task in tasks]), out, Runtime(FirstBatch()))

    benchmark.pedantic(resume, rounds=1)
    seconds = time.process_time() - started
    print(f"\n100,000 chunks checked in {seconds:.1f} s of CPU, peak {peak_bytes() / 2**20:.0f} MiB")
    assert seconds < 10


def store_all(store: JobStore, job, leave_out: bool) -> None:
    values = {
        "label": 3,
        "predicted": 3,
        "clean_correct": True,
        "attacks": {"fgsm": {"0": {"distance": 0.1}}},
    }
    for chunk in range(job.chunk_count - leave_out):
        store.write_chunk(chunk, [Record(unit.id, values) for unit in job.chunk(chunk)])


@pytest.mark.parametrize("executor", ["here", "pool", "ray"])
def test_ctrl_c_until_the_program_has_ended(tmp_path, benchmark, executor):
    """Seconds from SIGINT to the end of the process, in a job whose chunks take about a second each."""
    if executor == "ray":
        pytest.importorskip("ray")
    workers = "1" if executor == "here" else "2"
    options = ("--executor", executor, "--workers", workers, "--address", "local")
    process = interrupted(write_spec(tmp_path, text=LONG), tmp_path / "o", *options)
    started = time.perf_counter()
    _, said = benchmark.pedantic(process.communicate, rounds=1)
    seconds = time.perf_counter() - started
    print(f"\n{executor}: ended {seconds:.2f} s after Ctrl-C")
    assert process.returncode == 130
    assert "chunks are stored in" in said
    assert seconds < 2
