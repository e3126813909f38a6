"""The nineteen corruptions: equal to the published code, and what each must do by its definition."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.data.corrupting.corrupt import RANDOM, corrupt
from assay.data.corrupting.definitions.filters import motion, zoomed
from assay.data.corrupting.definitions.settings import SETTINGS, least_side
from assay.data.corrupting.definitions.weather import plasma
from assay.data.corrupting.names import COMMON, CORRUPTIONS, SEVERITIES

FIGURES = json.loads((Path(__file__).parent / "library_figures.json").read_text())
FOOLBOX = Path(find_spec("foolbox").origin).parent / "data"
TO_THE_BIT = sorted(
    {
        "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "glass_blur", "zoom_blur",
        "gaussian_blur", "fog", "contrast", "elastic_transform", "pixelate",
    }
)  # fmt: skip
GREY = [name for name in CORRUPTIONS if name != "saturate"]


class Legacy(np.random.RandomState):
    """NumPy's stream of old, by the names of today: what the published code draws from."""

    integers = np.random.RandomState.randint
    random = np.random.RandomState.random_sample


def library_picture(name):
    with Image.open(FOOLBOX / name) as picture:
        return np.asarray(picture.convert("RGB").resize(FIGURES[name]["size"], Image.Resampling.BOX))


def made(picture, name, severity, of="imagenet-c", seed=0):
    return corrupt(picture, name, severity, of, np.random.default_rng(seed))


def picture_of(height, width, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("file", FIGURES)
def test_it_is_the_published_corruption(file, name):
    picture = library_picture(file)
    for severity, (mean, digest) in zip(SEVERITIES, FIGURES[file]["corruptions"][name], strict=True):
        ours = corrupt(picture, name, severity, "imagenet-c", Legacy(7))
        assert ours.mean() == pytest.approx(mean, abs=0.1)  # of 255: a rounding down here or there
        if name in TO_THE_BIT:
            assert hashlib.sha256(ours.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("of", SETTINGS)
def test_both_papers_settings_name_every_corruption_at_five_severities(of):
    assert set(SETTINGS[of]) == set(CORRUPTIONS)
    assert {len(five) for five in SETTINGS[of].values()} == {5}
    assert (len(COMMON), len(CORRUPTIONS)) == (15, 19)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CORRUPTIONS), st.sampled_from(SEVERITIES), st.sampled_from(sorted(SETTINGS)),
    st.integers(0, 30), st.integers(0, 30), st.sampled_from([1, 3]), st.integers(0, 2**31),
)  # fmt: skip
def test_any_size_from_the_least_one_gives_a_picture_of_that_size(
    name, severity, of, taller, wider, channels, seed
):
    least = least_side(name, of)
    picture = picture_of(least + taller, least + wider, channels, seed)
    before = picture.copy()
    found = made(picture, name, severity, of, seed)
    assert (found.shape, found.dtype) == (picture.shape, np.uint8)
    assert (picture == before).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_0_is_the_picture_itself(name):
    picture = picture_of(32, 32, 3)
    assert made(picture, name, 0) is picture


@pytest.mark.parametrize("of", SETTINGS)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_repeats_and_matters_just_where_something_is_random(name, of):
    picture = library_picture("imagenet_07_609.jpg")[:48, :48]  # frost of CIFAR-10-C is for small pictures
    one, again, other = (made(picture, name, 5, of, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any() == (name in RANDOM)


@pytest.mark.parametrize("of", SETTINGS)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_5_changes_more_than_1_but_for_those_whose_settings_are_no_ladder(name, of):
    picture = library_picture("imagenet_00_243.jpg")
    weak, strong = (np.abs(made(picture, name, level, of) - picture.astype(float)).mean() for level in (1, 5))
    assert weak > 0
    if name not in {"saturate", "elastic_transform", "spatter", "glass_blur", "frost"}:
        assert strong > weak


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"])
@pytest.mark.parametrize("of", SETTINGS)
def test_a_blur_leaves_an_even_picture_as_it_is(name, of):
    picture = np.full((40, 48, 3), 180, np.uint8)
    for severity in SEVERITIES:
        # The published disk of radius 8 fills its window, and smoothing its edge there adds a hundredth to its weight.
        assert np.abs(made(picture, name, severity, of).astype(int) - 180).max() <= 2


def test_noise_has_the_stated_spread():
    picture = np.full((200, 200, 1), 128, np.uint8)
    for name, spread in (("gaussian_noise", 0.08), ("speckle_noise", 0.15 * 128 / 255)):
        assert (made(picture, name, 1) / 255).std() == pytest.approx(spread, rel=0.03)
    assert (made(picture, "shot_noise", 1) / 255).std() == pytest.approx((128 / 255 / 60) ** 0.5, rel=0.03)
    hit = made(picture, "impulse_noise", 5) != 128
    assert hit.mean() == pytest.approx(0.27, abs=0.01)


def test_contrast_and_brightness_follow_their_formulas():
    picture = picture_of(32, 32, 1)
    mean = picture.mean() / 255
    wanted = np.clip((picture / 255 - mean) * 0.1 + mean, 0, 1) * 255
    assert np.abs(made(picture, "contrast", 4) - wanted).max() < 1
    wanted = np.clip(picture / 255 + 0.3, 0, 1) * 255
    assert np.abs(made(picture, "brightness", 3) - wanted).max() <= 1


def test_brightness_and_saturation_keep_the_hue():
    import colorsys

    picture = picture_of(32, 32, 3, seed=3)
    for name in ("brightness", "saturate"):
        found = made(picture, name, 1)
        for row in range(0, 32, 5):
            before, after = (colorsys.rgb_to_hsv(*(one[row, row] / 255)) for one in (picture, found))
            if min(before[1], after[1]) > 0.2:
                assert abs(before[0] - after[0]) < 0.05 or abs(before[0] - after[0]) > 0.95


def test_pixels_become_even_blocks():
    picture = picture_of(40, 40, 3)
    blocks = made(picture, "pixelate", 5).reshape(10, 4, 10, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_glass_only_moves_what_is_there():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:] = 255
    found = made(picture, "glass_blur", 1, "cifar-10-c")
    assert set(np.unique(found)) <= {0, 255}  # its blur at severity 1 reaches no neighbour
    assert (found[:, :14] == 0).all()
    assert (found[:, 18:] == 255).all()


def test_a_motion_of_one_step_along_the_rows_is_a_weighted_sum_of_shifts():
    picture = picture_of(12, 12, 1) / 255
    weights = np.exp(-(np.arange(3) ** 2) / 2)
    weights /= weights.sum()
    moved = [np.concatenate([picture[:, step:], np.repeat(picture[:, -1:], step, 1)], 1) for step in range(3)]
    wanted = sum(weight * one for weight, one in zip(weights, moved, strict=True))
    assert motion(picture, 1, 1.0, 0.0) == pytest.approx(wanted)


@given(st.integers(16, 60), st.floats(1.0, 1.4), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_zoom_of_a_slope_is_a_slope_with_the_same_middle(side, factor, centred):
    slope = np.broadcast_to(np.linspace(0, 1, side)[np.newaxis, :, np.newaxis], (side, side, 1))
    steps = np.diff(zoomed(slope, factor, centred)[0, :, 0])
    assert steps == pytest.approx(np.full(len(steps), steps[0]), abs=1e-9)


@given(st.integers(1, 7), st.floats(1.2, 3.0), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_plasma_is_a_landscape_of_all_heights(power, decay, seed):
    heights = plasma(2**power, decay, np.random.default_rng(seed))
    assert heights.shape == (2**power, 2**power)
    assert (heights.min(), heights.max()) == (0, 1)


@pytest.mark.parametrize("name", GREY)
def test_a_grey_picture_stays_grey_and_is_changed(name):
    picture = library_picture("imagenet_00_243.jpg").mean(2, keepdims=True).astype(np.uint8)
    assert (made(picture, name, 5) != picture).any()
