import subprocess
import sys

import numpy as np
import pytest
import torch

from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.regions import RegionSettings, central_differences, grow_regions
from assay.tasks.srvr.render import RenderSettings, Surface, render
from assay.tasks.srvr.scores import NetworkScores

VIEW = ("azimuth_deg", "elevation_deg")
SMALL = RenderSettings(image_size=32)


def brightness_logits(images):
    """A network that can be checked by hand: its logit is the mean brightness, against nought."""
    bright = 20 * images.mean((1, 2, 3))
    return torch.stack((bright, torch.zeros_like(bright) + 1), dim=1)


@pytest.fixture
def scores(cube, random_soup):
    surfaces = [Surface.from_mesh(cube), Surface.from_mesh(random_soup)]
    return NetworkScores(brightness_logits, surfaces, [0, 1], VIEW, [1, 0, 1], SMALL, batch_size=3)


def test_a_score_is_the_softmax_of_the_shapes_own_class(scores):
    points = np.array([[[10.0, 20], [50, 60]], [[10, 20], [200, 5]]])
    found = scores(np.array([1, 2]), points)
    for row, shape in enumerate([0, 1]):
        cameras = camera(place(VIEW, torch.from_numpy(points[row])))
        logits = brightness_logits(render(scores.surfaces[shape], cameras, SMALL))
        assert np.allclose(found[row], logits.softmax(1)[:, shape].numpy())


def test_autograd_and_central_differences_agree_on_a_smooth_network(scores):
    points, searches = np.array([[[33.0, 20.0], [60.0, 40.0]]]), np.array([1])
    fine = NetworkScores(brightness_logits, scores.surfaces, [0, 1], VIEW, [1, 0, 1], RenderSettings(32, 16))
    expected = central_differences(fine, 0.5)(searches, points)
    assert np.allclose(scores.gradient(searches, points), expected, rtol=0.1, atol=2e-4)


def test_regions_grow_on_the_network_itself(scores):
    found = grow_regions(scores, [[50.0, 20.0]] * 3, VIEW_DOMAIN, RegionSettings("OIR_B", steps=20))
    assert (found.high - found.low > 2e-5).all()
    assert np.array_equal(found.low[0], found.low[2])


def test_what_the_command_line_needs_imports_no_torch():
    modules = ["domain", "figures", "maps", "mesh", "metric", "procedural", "published", "regions", "traps"]
    code = "import sys\n" + "\n".join(f"import assay.tasks.srvr.{m}" for m in modules) + "\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
