"""From an image to a network's input, compared with torchvision's and timm's own transforms."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from assay.errors import UserError
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


@pytest.mark.parametrize("name", ["resnet50", "alexnet", "efficientnet_b3", "swin_t"])
def test_preparation_equals_torchvisions_transform(name: str) -> None:
    from torchvision import models

    from assay.models.entries.torchvision_names import _entry

    preprocessing = _entry(name).load.args[0].preprocessing  # type: ignore[attr-defined]
    expected = models.get_model_weights(name).DEFAULT.transforms()(photo())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    prepared = (model(preprocessing).prepare(np.asarray(photo())) - mean) / std
    assert torch.allclose(prepared, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "vit_base_patch16_clip_224"])
def test_preparation_equals_timms_transform(name: str) -> None:
    import timm

    from assay.models.entries.timm_names import timm_preprocessing

    config = timm.models.get_pretrained_cfg(name).to_dict()
    preprocessing = timm_preprocessing(name, config)
    data = timm.data.resolve_data_config({}, pretrained_cfg=config)
    expected = timm.data.create_transform(**data)(photo())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    prepared = (model(preprocessing).prepare(np.asarray(photo())) - mean) / std
    assert torch.allclose(prepared, expected, atol=1e-6)


def test_timms_border_crop_is_refused() -> None:
    from assay.models.entries.timm_names import timm_preprocessing

    config = {
        "input_size": (3, 8, 8),
        "crop_mode": "border",
        "interpolation": "bicubic",
        "mean": [0],
        "std": [1],
    }
    with pytest.raises(UserError, match="crop mode 'border'"):
        timm_preprocessing("timm/net", config)


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
