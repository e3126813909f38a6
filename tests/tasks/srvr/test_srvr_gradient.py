import pytest
import torch

from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.gradient import image_slopes, render_points
from assay.tasks.srvr.mesh import load_mesh
from assay.tasks.srvr.render import RenderSettings, Surface, render

VIEW = ("azimuth_deg", "elevation_deg")


def central_difference(surface, names, point, which, step, settings):
    shift = step * torch.eye(len(names), dtype=torch.float64)[which]
    images = render(surface, camera(place(names, torch.stack((point + shift, point - shift)))), settings)[
        :, 0
    ]
    return (images[0] - images[1]) / (2 * step)


def agreement(found, expected):
    pair = torch.stack((found.flatten(), expected.flatten()))
    return torch.corrcoef(pair)[0, 1].item(), ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("shape", "azimuth", "elevation"),
    [("cup", 300, 30), ("cup", 40, -5), ("rifle", 110, 20), ("chair", 110, 20)],
)
def test_slopes_agree_with_supersampled_central_differences(shared_srvr, shape, azimuth, elevation):
    """Differences of images drawn with 8 times the renderer's own samples along each side."""
    surface = Surface.from_mesh(load_mesh(shared_srvr / "reference" / shape / "mesh.obj"))
    point = torch.tensor([azimuth, elevation], dtype=torch.float64)
    slopes = image_slopes(surface, VIEW, point[None])[0]
    for which in (0, 1):
        expected = central_difference(surface, VIEW, point, which, 0.1, RenderSettings(supersampling=16))
        correlation, relative = agreement(slopes[which], expected)
        assert correlation >= 0.98
        assert relative <= 0.2


@pytest.mark.parametrize(
    ("names", "point"),
    [(VIEW, (33.0, 20.0)), (("azimuth_deg", "elevation_deg", "distance"), (70.0, 35.0, 3.0))],
)
def test_slopes_of_a_cube_agree_with_central_differences(cube, names, point):
    surface = Surface.from_mesh(cube)
    where = torch.tensor(point, dtype=torch.float64)
    slopes = image_slopes(surface, names, where[None], RenderSettings(64))[0]
    for which, step in enumerate((0.2, 0.2, 0.01)[: len(names)]):
        expected = central_difference(
            surface, names, where, which, step, RenderSettings(64, supersampling=24)
        )
        correlation, relative = agreement(slopes[which], expected)
        assert correlation >= 0.98
        assert relative <= 0.2


def test_the_light_changes_the_shading_and_no_edge(cube):
    names, surface = ("light_azimuth_deg", "light_elevation_deg"), Surface.from_mesh(cube)
    view = (*names, "azimuth_deg", "elevation_deg")
    where = torch.tensor([150.0, 40.0, 20.0, 30.0], dtype=torch.float64)
    slopes = image_slopes(surface, view, where[None], RenderSettings(64))[0]
    for which in (0, 1):
        expected = central_difference(surface, view, where, which, 0.5, RenderSettings(64, supersampling=8))
        assert torch.allclose(slopes[which], expected, atol=1e-5)


def test_autograd_multiplies_by_the_slopes(cube):
    surface, settings = Surface.from_mesh(cube), RenderSettings(32)
    values = torch.tensor([[30.0, 20.0], [200.0, 60.0]], dtype=torch.float64, requires_grad=True)
    weights = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    (render_points(surface, VIEW, values, settings) * weights).sum().backward()
    slopes = image_slopes(surface, VIEW, values, settings)
    expected = torch.einsum("nchw,nphw->np", weights, slopes)
    assert torch.allclose(values.grad, expected.double(), rtol=1e-5)


def test_an_image_that_does_not_change_has_no_slope(cube):
    """A cube seen from far above, turned by a quarter, is the same square; its distance is not."""
    surface = Surface.from_mesh(cube)
    point = torch.tensor([[0.0, 90.0, 3.0]], dtype=torch.float64)
    slopes = image_slopes(surface, ("azimuth_deg", "elevation_deg", "distance"), point, RenderSettings(64))[0]
    assert slopes[2].sum() < 0
    assert abs(slopes[0].sum()) < 1e-2 * slopes[0].abs().sum()


def test_no_points_give_no_slopes(cube):
    assert image_slopes(Surface.from_mesh(cube), VIEW, torch.zeros(0, 2), RenderSettings(8)).shape == (
        0,
        2,
        8,
        8,
    )
