"""Speed of rendering and of region searches, as ratios measured in one run, one thread.

The network's time is that of EfficientNet-Lite0's architecture from timm; its weights do not matter for time.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import trimesh

from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.maps import SemanticMaps
from assay.tasks.srvr.mesh import build_mesh, load_mesh
from assay.tasks.srvr.pytorch3d_backend import pytorch3d_problem, render_with_pytorch3d
from assay.tasks.srvr.regions import RegionSettings, grow_regions
from assay.tasks.srvr.render import Surface, render
from assay.tasks.srvr.task import TASK
from opened_jobs import JobRequest, open_job, run_units

pytestmark = pytest.mark.usefixtures("one_thread")
SHARED = Path(os.environ.get("ASSAY_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "srvr"
MESHES = sorted((SHARED / "meshes").glob("*.obj")) if SHARED.is_dir() else []


def cpu_seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """The least CPU time of several calls, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def views(count: int):
    azimuth = torch.arange(count) * (360.0 / count)
    return camera(place(("azimuth_deg", "elevation_deg"), torch.stack((azimuth, azimuth * 0 + 20), dim=1)))


def sphere(subdivisions: int) -> Surface:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Surface.from_mesh(build_mesh(ball.vertices, ball.faces))


def lite0_seconds() -> float:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        return cpu_seconds(lambda: network(image))


def test_a_view_of_82000_faces_costs_no_more_than_a_forward_pass(benchmark):
    surface, cameras = sphere(6), views(6)
    ratio = cpu_seconds(partial(render, surface, cameras)) / 6 / lite0_seconds()
    benchmark.extra_info["view_over_forward"] = ratio
    benchmark.pedantic(render, (surface, cameras), rounds=3)
    assert len(surface) > 75_000
    assert ratio <= 1


@pytest.mark.skipif(not MESHES, reason=f"the published meshes are not here: {SHARED}")
def test_a_view_of_every_published_mesh_costs_no_more_than_a_forward_pass(benchmark):
    surfaces, cameras = [Surface.from_mesh(load_mesh(path)) for path in MESHES], views(4)
    forward = lite0_seconds()
    ratios = {
        path.stem[:8]: cpu_seconds(partial(render, surface, cameras), 2) / 4 / forward
        for path, surface in zip(MESHES, surfaces, strict=True)
    }
    benchmark.extra_info.update(ratios)
    benchmark.pedantic(render, (surfaces[0], cameras), rounds=3)
    assert max(ratios.values()) <= 1


@pytest.mark.parametrize("shape", ["chair", "mug", "airplane"])
def test_a_map_costs_at_most_1_6_times_its_network_on_ready_images(benchmark, shape):
    """A row of a map as the task computes it, with its guards' second looks."""
    job = open_job(JobRequest("efficientnet_lite0", "srvr/embedded"))
    unit = next(unit for unit in job.units if unit.id.startswith(shape))
    views = job.spec.spec.axes[0].count
    batch_size = TASK.batch_size(job.info.input_shape, "cpu")
    images = torch.rand(views, 3, 224, 224)

    def network():
        with torch.inference_mode():
            for batch in images.split(batch_size):
                job.model.module(batch)

    def row():
        return run_units(job, [unit], lambda _units: None)

    ratio = cpu_seconds(row, 3) / cpu_seconds(network, 3)
    benchmark.extra_info["map_over_network"] = ratio
    benchmark.pedantic(row, rounds=1)
    assert ratio <= 1.6


def test_time_is_linear_in_views(benchmark):
    surface = sphere(4)
    few, many = (cpu_seconds(partial(render, surface, views(count)), 3) for count in (8, 64))
    benchmark.extra_info["64_over_8_views"] = many / few
    benchmark.pedantic(render, (surface, views(8)), rounds=3)
    assert many / few < 8 * 1.4


def test_time_is_at_most_linear_in_faces(benchmark):
    cameras = views(2)
    small, large = (cpu_seconds(partial(render, sphere(level), cameras), 3) for level in (6, 8))
    benchmark.extra_info["16_times_the_faces"] = large / small
    benchmark.pedantic(render, (sphere(5), cameras), rounds=1)
    assert large / small < 16 * 1.2


def test_400_searches_of_600_steps_take_less_than_a_second(benchmark):
    scores = np.random.default_rng(0).uniform(0, 1, (100, 34, 120))
    smooth = sum(np.roll(scores, shift, axis) for axis in (1, 2) for shift in range(-4, 5)) / 18
    maps = SemanticMaps(smooth, np.arange(0, 360, 3.0), np.arange(-10, 90, 3.0), tuple(map(str, range(100))))
    points = np.tile([[130.0, 30], [50, 20], [200, 15], [310, 50]], (100, 1))
    score = maps.score(np.repeat(np.arange(100), 4))
    seconds = {
        method: cpu_seconds(
            lambda m=method: grow_regions(score, points, VIEW_DOMAIN, RegionSettings(m, tolerance=-1.0)), 1
        )
        for method in ("naive", "OIR_B", "OIR_W")
    }
    benchmark.extra_info.update(seconds)
    benchmark.pedantic(lambda: grow_regions(score, points, VIEW_DOMAIN, RegionSettings("naive")), rounds=1)
    assert max(seconds.values()) < 1


@pytest.mark.skipif(pytorch3d_problem() is not None, reason=str(pytorch3d_problem()))
def test_a_view_costs_a_tenth_of_pytorch3d(benchmark):
    surface, cameras = sphere(5), views(2)
    ours, theirs = (cpu_seconds(partial(f, surface, cameras), 2) for f in (render, render_with_pytorch3d))
    benchmark.extra_info["pytorch3d_over_ours"] = theirs / ours
    benchmark.pedantic(render, (surface, cameras), rounds=3)
    assert theirs / ours >= 10
