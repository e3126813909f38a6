"""Perturbations of many images at once: as the exact verifier moves one, and heat maps as the chain rule says."""

import pytest
import torch

from assay.common.errors import UserError
from assay.tasks.verification.grammar import parse_motions, parse_theta

BOTH = [
    ["brightness:0:0.3:clamp", "patch:0:0.5:3:3:2x2"],
    ["patch:0:0.5:10%:20%:30%x30%"],
    ["patch:0:0.5:1:1:3x3:0.1,0.5,0.6"],
    ["translation:x:-2:3"],
    ["translation:y:-1.5:0.7", "brightness:0:1"],
    ["translation:xy:-2:3", "patch:0:1:0:0:1x1"],
]


def drawn(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def moved(text, value, images):
    theta = torch.full((len(images), 1), value, dtype=torch.float64)
    return parse_motions([text]).apply(images, theta)


def heat(text, value, maps):
    theta = torch.full((len(maps), 1), value, dtype=torch.float64)
    return parse_motions([text]).expected(maps[:, None], theta)[:, 0]


@pytest.mark.parametrize("texts", BOTH, ids=str)
def test_images_and_maps_move_as_the_exact_verifier_moves_one(texts):
    one, many = parse_theta(texts), parse_motions(texts)
    image, maps = drawn(3, 9, 11), drawn(2, 3, 9, 11)
    theta = torch.lerp(one.lower, one.upper, drawn(60, one.dimension))
    images = torch.stack([one.apply(image, point) for point in theta])
    assert torch.allclose(many.apply(image.expand(60, -1, -1, -1), theta), images, atol=1e-14, rtol=0)
    expected = torch.stack([one.expected(maps, point) for point in theta])
    assert torch.allclose(many.expected(maps.expand(60, -1, -1, -1, -1), theta), expected, atol=1e-14, rtol=0)
    assert many.names == one.names


@pytest.mark.parametrize(
    ("text", "value"),
    [("rotation:-9:9", 0.0), ("scale:0.5:2", 1.0), ("contrast:0.5:2", 1.0), ("blur:0:1", 0.0)],
)
def test_the_parameter_of_no_change_changes_nothing(text, value):
    images = drawn(2, 3, 8, 11)
    assert torch.allclose(moved(text, value, images), images, atol=1e-14)
    assert torch.allclose(heat(text, value, images), images, atol=1e-14)


def test_a_quarter_turn_is_that_of_torch_and_a_turn_back_undoes_it():
    images = drawn(1, 3, 8, 8)
    turned = moved("rotation:-180:180", 90.0, images)
    assert torch.allclose(turned, torch.rot90(images, 1, (2, 3)), atol=1e-14)
    assert torch.allclose(moved("rotation:-180:180", -90.0, turned), images, atol=1e-13)


def test_a_rectangle_turns_about_its_centre_without_being_stretched():
    images = torch.zeros(1, 1, 9, 21, dtype=torch.float64)
    images[..., 4, 8:13] = 1  # five pixels in a row
    turned = moved("rotation:0:90", 90.0, images)
    assert torch.allclose(turned[0, 0, 2:7, 10], torch.ones(5).double(), atol=1e-12)


def test_an_enlargement_by_two_repeats_a_plane_at_half_the_slope():
    row = torch.arange(9.0).double().expand(1, 1, 9, 9)
    larger = moved("scale:1:2", 2.0, row)
    assert torch.allclose(larger[0, 0, 0], 4 + (torch.arange(9.0).double() - 4) / 2, atol=1e-12)


def test_a_blur_keeps_a_flat_picture_and_the_sum_of_a_point():
    flat = torch.full((1, 1, 9, 9), 0.3, dtype=torch.float64)
    assert torch.allclose(moved("blur:0:1", 0.7, flat), flat, atol=1e-14)
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[..., 10, 10] = 1
    spread = moved("blur:0:2", 2.0, point)[0, 0]
    assert float(spread.sum()) == pytest.approx(1)
    beside = torch.arange(21.0).double() - 10
    assert float((spread.sum(0) * beside.square()).sum()) == pytest.approx(
        4, rel=0.05
    )  # variance, cut at 3 sigma


@pytest.mark.parametrize(
    ("text", "value"),
    [("rotation:0:90", 90.0), ("contrast:0.5:2", 1.7), ("brightness:0:1", 0.3), ("patch:0:1:2:2:3x3", 0.4)],
)
def test_a_map_moves_as_the_gradient_of_a_logit_that_the_change_leaves_as_it_is(text, value):
    """With f(g(x)) = f(x) the chain rule gives map(x) = g'^T map(g(x))."""
    images, maps = drawn(1, 1, 8, 8).requires_grad_(), drawn(1, 1, 8, 8)
    (pulled_back,) = torch.autograd.grad(moved(text, value, images), images, heat(text, value, maps))
    assert torch.allclose(pulled_back, maps, atol=1e-12)


def test_the_map_of_an_enlarged_picture_is_thinner_by_the_pixels_that_each_became():
    flat = torch.ones(1, 1, 41, 41, dtype=torch.float64)
    images = flat.clone().requires_grad_()
    (pulled_back,) = torch.autograd.grad(
        moved("scale:1:2", 2.0, images), images, heat("scale:1:2", 2.0, flat)
    )
    assert torch.allclose(pulled_back[..., 14:27, 14:27], flat[..., 14:27, 14:27], atol=1e-12)


def test_a_picture_moves_before_light_falls_on_it_in_whatever_order_they_are_written():
    images, theta = drawn(1, 1, 8, 8), torch.tensor([[0.2, 30.0]], dtype=torch.float64)
    one = parse_motions(["brightness:0:1", "rotation:0:45"]).apply(images, theta)
    other = parse_motions(["rotation:0:45", "brightness:0:1"]).apply(images, theta.flip(1))
    assert torch.equal(one, other)
    assert float(one[0, 0, 0, 0]) == pytest.approx(0.2)  # the corner that came in is lit too


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("patch:0:1:7:7:4x4", "not inside the image"),
        ("patch:0:1:90%:0%:20%x20%", "not inside the image"),
        ("patch:0:1:0:0:2x2:0.1,0.2", "2 grey values for 3 channels"),
        ("translation:x:0:9", "leaves the picture of 9x9 pixels"),
        ("translation:xy:-9:1", "leaves the picture of 9x9 pixels"),
        ("blur:0:4", "leaves the picture of 9x9"),
    ],
)
def test_a_range_that_leaves_the_picture_is_refused(text, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        parse_motions([text]).check((3, 9, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rotation:0:200", "from -180 to 180"),
        ("scale:0:1", "above 0"),
        ("contrast:-1:1", "above 0"),
        ("blur:-1:1", "from 0 pixels"),
        ("blur:1:1", "empty range"),
        ("patch:0:1:10%:10:4x4", "not understood"),
        ("translation:z:0:1", "not understood"),
        ("rotation:0", "not understood"),
    ],
)
def test_a_range_without_meaning_is_refused(text, complaint):
    with pytest.raises(UserError, match=complaint):
        parse_motions([text])


@pytest.mark.parametrize("text", ["rotation:0:5", "scale:0.9:1.1", "contrast:0.9:1.1", "blur:0:1"])
def test_what_only_the_search_has_is_named_where_the_exact_verifier_is_asked(text):
    with pytest.raises(UserError, match=r"not piecewise affine.*use verifier: search"):
        parse_theta([text])
