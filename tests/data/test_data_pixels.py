import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from assay.data.pixels import ColourPolicy, ImageError, to_pixels

GREY = arrays(np.uint8, (3, 4))
RGB = arrays(np.uint8, (3, 4, 3))
RGBA = arrays(np.uint8, (3, 4, 4))


def png(image: Image.Image, **options: object) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return Image.open(io.BytesIO(stream.getvalue()))


@given(GREY)
def test_grey_becomes_three_equal_channels(grey: np.ndarray) -> None:
    pixels = to_pixels(png(Image.fromarray(grey)), ColourPolicy())
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.stack([grey] * 3, axis=2))


@given(GREY)
def test_grey_stays_one_channel_where_the_manifest_says_so(grey: np.ndarray) -> None:
    np.testing.assert_array_equal(to_pixels(Image.fromarray(grey), ColourPolicy(channels=1)), grey[..., None])


@given(RGB)
def test_rgb_passes_unchanged(rgb: np.ndarray) -> None:
    np.testing.assert_array_equal(to_pixels(png(Image.fromarray(rgb)), ColourPolicy()), rgb)


@given(RGBA)
def test_alpha_is_composited_over_white_to_the_nearest_level(rgba: np.ndarray) -> None:
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    found = to_pixels(png(Image.fromarray(rgba)), ColourPolicy(alpha="composite"))
    assert np.abs(found - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_refused_where_the_manifest_says_so(mode: str) -> None:
    image = png(Image.new(mode, (4, 3)))
    with pytest.raises(ImageError, match="transparency"):
        to_pixels(image, ColourPolicy(alpha="refuse"))
    assert to_pixels(image, ColourPolicy(alpha="composite")).shape == (3, 4, 3)


def test_a_transparent_colour_counts_as_transparency() -> None:
    palette = png(Image.new("RGB", (4, 3), (9, 8, 7)).convert("P"), transparency=0)
    with pytest.raises(ImageError, match="transparency"):
        to_pixels(palette, ColourPolicy(alpha="refuse"))


def test_a_plain_palette_is_rgb() -> None:
    image = png(Image.new("RGB", (4, 3), (255, 0, 0)).quantize())
    assert to_pixels(image, ColourPolicy())[0, 0].tolist() == [255, 0, 0]


def test_cmyk_and_deep_pictures_are_refused_where_the_manifest_says_so() -> None:
    stream = io.BytesIO()
    Image.new("CMYK", (4, 3)).save(stream, "JPEG")
    with pytest.raises(ImageError, match="CMYK"):
        to_pixels(Image.open(stream), ColourPolicy(cmyk="refuse"))
    with pytest.raises(ImageError, match="more than 8 bits"):
        to_pixels(png(Image.fromarray(np.zeros((3, 4), np.uint16))), ColourPolicy(deep="refuse"))


def test_colour_in_a_grey_set_is_refused_unless_the_manifest_converts() -> None:
    colour = Image.new("RGB", (4, 3), (10, 200, 30))
    with pytest.raises(ImageError, match="channels: 1"):
        to_pixels(colour, ColourPolicy(channels=1))
    grey = to_pixels(colour, ColourPolicy(channels=1, to_grey="convert"))
    np.testing.assert_array_equal(grey[..., 0], np.asarray(colour.convert("L")))


@given(arrays(np.uint16, (3, 4)))
def test_sixteen_bits_are_cut_as_pillow_cuts_them_or_scaled(deep: np.ndarray) -> None:
    image = png(Image.fromarray(deep))
    np.testing.assert_array_equal(to_pixels(image, ColourPolicy())[..., 0], np.minimum(deep, 255))
    scaled = to_pixels(image, ColourPolicy(deep="scale"))[..., 0]
    np.testing.assert_array_equal(scaled, deep // 256)


def test_a_deep_picture_without_a_known_brightest_value_cannot_be_scaled() -> None:
    with pytest.raises(ImageError, match="brightest value"):
        to_pixels(Image.new("F", (4, 3)), ColourPolicy(deep="scale"))


@given(st.integers(min_value=60, max_value=400))
def test_a_truncated_file_is_an_image_error(kept: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).save(stream, "PNG")
    with pytest.raises(ImageError, match="cannot be decoded"):
        to_pixels(Image.open(io.BytesIO(stream.getvalue()[:kept])), ColourPolicy())
