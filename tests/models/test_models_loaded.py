"""From an image to a network's input, compared with torchvision's and timm's own transforms."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from assay.common.errors import UserError
from assay.models.build import assemble
from assay.models.info import Card, Preprocessing
from assay.models.loaded import LoadedModel

RGB = Preprocessing(resize=40, crop=(32, 28), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def model(preprocessing: Preprocessing) -> LoadedModel:
    card = Card("net", "here", "MIT", "net", "letters", 4, preprocessing)
    values = len(preprocessing.mean) * preprocessing.crop[0] * preprocessing.crop[1]
    return assemble(nn.Sequential(nn.Flatten(), nn.Linear(values, 4)), card, "0" * 64)


def photo() -> Image.Image:
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    return Image.open(next(iter(sorted(folder.glob("imagenet_00_*"))))).convert("RGB").crop((0, 0, 400, 301))


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_normalisation_is_inside_the_module() -> None:
    loaded = model(RGB)
    pixels = loaded.prepare(noise(50, 60, 3))[None]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (RGB.mean, RGB.std))
    net = loaded.module.net
    assert isinstance(net, nn.Module)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert torch.allclose(loaded.module(pixels), net((pixels - mean) / std), atol=1e-6)


def test_direct_resize_ignores_the_aspect_ratio() -> None:
    prepared = model(RGB).with_resize("direct").prepare(np.asarray(photo()))
    resized = np.asarray(photo().resize((28, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert torch.equal(prepared, torch.from_numpy(resized.copy()).float() / 255)


def test_a_single_channel_is_repeated_for_a_network_of_three() -> None:
    grey = noise(50, 60, 1)
    prepared = model(RGB).prepare(grey)
    assert torch.equal(prepared, model(RGB).prepare(np.repeat(grey, 3, axis=2)))


def test_a_border_is_of_its_colour_and_an_odd_pixel_goes_below_and_to_the_right() -> None:
    padded = Preprocessing(crop=(5, 4), mean=(0.0,) * 3, std=(1.0,) * 3, pad=(10, 20, 30))
    image = noise(2, 3, 3)
    prepared = (model(padded).prepare(image) * 255).round().byte().numpy().transpose(1, 2, 0)
    expected = np.full((5, 4, 3), (10, 20, 30), np.uint8)
    expected[1:3, :3] = image
    assert np.array_equal(prepared, expected)


@pytest.mark.parametrize(
    ("fit", "height", "width", "size"),
    [("exact", 10, 40, (8, 8)), ("cover", 10, 40, (8, 32)), ("contain", 10, 40, (2, 8)), ("cover", 40, 10, (32, 8))],
)  # fmt: skip
def test_a_resize_to_a_rectangle_fits_as_asked(
    fit: str, height: int, width: int, size: tuple[int, int]
) -> None:
    rectangle = Preprocessing.model_validate(
        {"resize": (8, 8), "crop": (32, 32), "mean": (0.0,), "std": (1.0,), "fit": fit, "pad": (0,)}
    )
    white = np.full((height, width, 1), 255, np.uint8)
    seen = model(rectangle).prepare(white)[0] > 0
    assert (int(seen.any(dim=1).sum()), int(seen.any(dim=0).sum())) == size


def test_an_image_that_a_resize_leaves_no_pixel_of_is_refused() -> None:
    contained = Preprocessing(resize=(8, 8), fit="contain", crop=(8, 8), mean=(0.0,), std=(1.0,), pad=(0,))
    with pytest.raises(UserError, match="1 x 50 would have no pixel left"):
        model(contained).prepare(noise(1, 50, 1))


@pytest.mark.parametrize("resize", [2**14 + 1, 10**12, 10**20, (8, 10**20)])
def test_a_resize_that_no_memory_holds_is_refused(resize: int | tuple[int, int]) -> None:
    huge = Preprocessing(resize=resize, crop=(8, 8), mean=(0.0,), std=(1.0,))
    with pytest.raises(UserError, match="more than 16384 pixels a side"):
        model(huge).prepare(noise(8, 8, 1))


def test_an_image_of_the_crops_size_is_kept_to_the_pixel() -> None:
    plain = replace(model(Preprocessing(crop=(28, 28), mean=(0.0,), std=(1.0,))))
    image = noise(28, 28, 1)
    assert torch.equal(
        (plain.prepare(image) * 255).round().byte(), torch.from_numpy(image.transpose(2, 0, 1))
    )


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (noise(50, 50, 4), "takes images of 3 channels, this one has 4"),
        (noise(50, 50, 2), "takes images of 3 channels, this one has 2"),
        (noise(50, 50, 1)[:, :, 0], "uint8 \\(height, width, channels\\)"),
        (noise(50, 50, 3).astype(np.float32), "not float32"),
    ],
)
def test_an_image_of_another_kind_is_refused(image: np.ndarray, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        model(RGB).prepare(image)


def test_an_image_smaller_than_the_crop_is_refused_where_nothing_enlarges_it() -> None:
    with pytest.raises(UserError, match="does not enlarge"):
        model(RGB).with_resize(None).prepare(noise(20, 50, 3))
