import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.verification.grammar import parse_perturbation, parse_theta

IMAGE = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def at(texts, *theta):
    return parse_theta(texts).apply(IMAGE, torch.tensor(theta, dtype=torch.float64))


def interpolated(image, t, axis):
    """Linear interpolation between whole-pixel shifts, written out pixel by pixel."""
    moved, size = torch.zeros_like(image), image.shape[axis]
    for target in range(size):
        position = target - t
        low = math.floor(position)
        for source, weight in ((low, low + 1 - position), (low + 1, position - low)):
            if 0 <= source < size:
                moved.select(axis, target).add_(image.select(axis, source), alpha=weight)
    return moved


@given(b=st.floats(-0.5, 0.5))
def test_brightness_adds_to_every_pixel(b):
    torch.testing.assert_close(at(["brightness:-0.5:0.5"], b), IMAGE + b)
    torch.testing.assert_close(at(["brightness:-0.5:0.5:clamp"], b), (IMAGE + b).clamp(0, 1))


def test_patch_adds_to_its_rectangle_only():
    difference = at(["patch:0:1:1:2:2x3"], 0.7) - IMAGE
    torch.testing.assert_close(difference[:, 1:3, 2:5], torch.full((2, 2, 3), 0.7, dtype=torch.float64))
    difference[:, 1:3, 2:5] = 0
    assert not difference.any()


def test_grey_patch_blends():
    blended = at(["patch:0:1:1:2:2x3:0.5"], 0.25)
    torch.testing.assert_close(blended[:, 1:3, 2:5], 0.75 * IMAGE[:, 1:3, 2:5] + 0.125)


@given(t=st.floats(-2, 2), axis=st.sampled_from("xy"))
def test_translation_interpolates_between_whole_pixels(t, axis):
    expected = interpolated(IMAGE, t, 2 if axis == "x" else 1)
    torch.testing.assert_close(at([f"translation:{axis}:-2:2"], t), expected, rtol=1e-12, atol=1e-12)


@given(t=st.floats(-1, 2))
def test_triangles_agree_with_one_axis_on_the_axes(t):
    torch.testing.assert_close(
        at(["translation:xy:-1:2"], t, 0.0), interpolated(IMAGE, t, 2), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        at(["translation:xy:-1:2"], 0.0, t), interpolated(IMAGE, t, 1), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("x", [-1, 0, 2])
@pytest.mark.parametrize("y", [-1, 1, 2])
def test_triangles_shift_exactly_at_whole_pixels(x, y):
    expected = interpolated(interpolated(IMAGE, x, 2), y, 1)
    torch.testing.assert_close(at(["translation:xy:-1:2"], x, y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", ["translation:x:0:3", "translation:xy:0:2"])
def test_pieces_agree_where_they_touch_and_cover_the_range(text):
    theta = parse_theta([text])
    forms = {piece: piece.image_forms(IMAGE) for piece in theta.pieces}
    for one, other in itertools.combinations(theta.pieces, 2):
        corners = {tuple(p) for p in one.parts[0].corners.tolist()} & {
            tuple(p) for p in other.parts[0].corners.tolist()
        }
        for corner in corners:
            values = [
                form[0] + torch.tensordot(torch.tensor(corner, dtype=torch.float64), form[1:], 1)
                for form in (forms[one], forms[other])
            ]
            torch.testing.assert_close(*values)
    assert len(theta.pieces) == {"translation:x:0:3": 3, "translation:xy:0:2": 8}[text]


def test_heat_maps_stay_under_brightness_and_patch_and_move_with_the_image():
    theta = parse_theta(["brightness:0:1", "translation:y:0:2"])
    point = torch.tensor([0.4, 1.3], dtype=torch.float64)
    torch.testing.assert_close(theta.expected(IMAGE, point), interpolated(IMAGE, 1.3, 1))
    still = parse_theta(["brightness:0:1", "patch:0:1:0:0:1x1"])
    torch.testing.assert_close(still.expected(IMAGE, point), IMAGE)


def test_displacements_add_up():
    together = at(["brightness:0:1", "patch:0:1:1:1:2x2", "translation:x:0:2"], 0.2, 0.3, 1.6)
    apart = [at(["brightness:0:1"], 0.2), at(["patch:0:1:1:1:2x2"], 0.3), at(["translation:x:0:2"], 1.6)]
    torch.testing.assert_close(together, sum(apart) - 2 * IMAGE)


@pytest.mark.parametrize(
    "text",
    [
        "brightness:0:0.5",
        "brightness:0:0.5:clamp",
        "patch:0:1:2:3:4x5",
        "patch:0:1:2:3:4x5:0.5",
        "translation:x:-1:2",
        "translation:xy:0:2",
    ],
)
def test_text_is_read_back_as_written(text):
    assert parse_perturbation(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blur:0:1",
        "brightness:0",
        "brightness:a:b",
        "brightness:0:1:clip",
        "patch:0:1:2:3",
        "patch:0:1:2:3:4",
        "patch:0:1:2:3:4x4:1:1",
        "translation:z:0:1",
        "translation:0:1",
        "brightness:nan:1",
        "brightness:0:inf",
    ],
)
def test_text_that_is_not_understood_is_an_error(text):
    with pytest.raises(UserError):
        parse_perturbation(text)


@pytest.mark.parametrize(
    "text", ["brightness:0.5:0.5", "patch:1:0:0:0:1x1", "translation:x:2:1", "translation:xy:1:1"]
)
def test_an_empty_range_is_an_error(text):
    with pytest.raises(UserError, match="empty range"):
        parse_perturbation(text)


@pytest.mark.parametrize(
    "text", ["patch:0:1:4:0:2x2", "patch:0:1:-1:0:2x2", "patch:0:1:0:5:1x2", "patch:0:1:0:0:0x2"]
)
def test_a_patch_outside_the_image_is_an_error(text):
    with pytest.raises(UserError, match="not inside the image"):
        at([text], 0.5)


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["brightness:0:1", "patch:0:1:0:0:1x1", "translation:xy:0:1"],
        ["translation:x:0:1", "translation:y:0:1"],
        ["patch:0:1:0:0:1x1:0.5", "brightness:0:1"],
    ],
)
def test_combinations_that_cannot_be_verified_are_errors(texts):
    with pytest.raises(UserError):
        parse_theta(texts)


def test_sub_pixel_bounds_of_two_translations_at_once_are_an_error():
    with pytest.raises(UserError, match="whole pixels"):
        parse_perturbation("translation:xy:0:1.5")
