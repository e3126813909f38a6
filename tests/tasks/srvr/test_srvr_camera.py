import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.parameters import SEMANTIC_PARAMETERS, semantic_parameter

VIEW = ("azimuth_deg", "elevation_deg")


@given(st.floats(-720, 720), st.floats(-90, 90), st.floats(1.8, 10))
def test_the_eye_and_axes_follow_the_published_convention(azimuth, elevation, distance):
    made = camera(
        place((*VIEW, "distance"), torch.tensor([[azimuth, elevation, distance]], dtype=torch.float64))
    )
    az, el = math.radians(azimuth), math.radians(elevation)
    eye = torch.tensor([math.cos(el) * math.sin(az), math.sin(el), -math.cos(el) * math.cos(az)]).double()
    assert torch.allclose(made.eye[0], distance * eye, atol=1e-6)
    assert torch.allclose(made.axes[0] @ made.axes[0].T, torch.eye(3).double(), atol=1e-12)
    assert torch.allclose(made.axes[0, 2], -eye, atol=1e-6)
    assert torch.allclose(torch.linalg.cross(made.axes[0, 2], made.axes[0, 0]), made.axes[0, 1], atol=1e-12)
    if abs(elevation) < 89.9:
        x_axis = torch.linalg.cross(torch.tensor([0.0, 1, 0]).double(), made.axes[0, 2])
        assert torch.allclose(made.axes[0, 0], x_axis / x_axis.norm(), atol=1e-9)


@pytest.mark.parametrize("elevation", [-90.0, 90.0])
def test_at_the_poles_the_camera_is_the_limit_from_inside(elevation):
    views = torch.tensor([[40.0, elevation], [40.0, elevation * (1 - 1e-9)]], dtype=torch.float64)
    made = camera(place(VIEW, views))
    assert torch.isfinite(made.axes).all()
    assert torch.allclose(made.axes[0], made.axes[1], atol=1e-8)


def test_by_default_the_light_comes_from_above_and_the_distance_is_the_published_one():
    made = camera(place(VIEW, torch.zeros(1, 2)))
    assert torch.allclose(made.light, torch.tensor([[0.0, 1, 0]]).double(), atol=1e-12)
    assert made.eye.norm().item() == pytest.approx(2.732)


def test_the_light_moves_on_a_sphere():
    values = torch.tensor([[90.0, 0.0], [0.0, 0.0], [200.0, -90.0]])
    made = camera(place(("light_azimuth_deg", "light_elevation_deg"), values))
    expected = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, -1, 0]]).double()
    assert torch.allclose(made.light, expected, atol=1e-12)


def test_a_new_semantic_parameter_is_one_function():

    @semantic_parameter("closeness", 0.0, 1.0)
    def _set_closeness(placement, value):
        return replace(placement, distance=4 - value)

    assert place(("closeness",), torch.tensor([[1.0]])).distance.item() == 3
    del SEMANTIC_PARAMETERS["closeness"]


@pytest.mark.parametrize("names", [(), ("azimuth_deg", "azimuth_deg"), ("roll_deg",)])
def test_bad_lists_of_parameters_are_clear_errors(names):
    with pytest.raises(UserError, match="semantic parameters"):
        place(names, torch.zeros(1, len(names)))


def test_a_camera_inside_the_object_and_nan_are_clear_errors():
    with pytest.raises(UserError, match="inside the object"):
        place(("distance",), torch.tensor([[1.0]]))
    with pytest.raises(UserError, match="NaN"):
        place(VIEW, torch.tensor([[float("nan"), 0]]))
