"""From an image to a network's input: equal, to the last bit, to timm's and torchvision's own transforms.

Only the transforms are compared, so no network is built and no weights are needed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from varied_pictures import twenty_pictures

from assay.common.errors import UserError
from assay.models.info import Preprocessing
from assay.models.loaded import Normalised
from assay.models.pictures import prepared
from assay.models.timm_data import has_test_values, timm_preprocessing


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return twenty_pictures()


def assert_equal(
    preprocessing: Preprocessing, transform: Callable[[Image.Image], Tensor], pictures: list[Image.Image]
) -> None:
    """What the network inside sees of each picture is what the maker's transform gives it."""
    inside = Normalised(nn.Identity(), preprocessing)
    for picture in pictures:
        pixels = (
            torch.from_numpy(prepared(np.asarray(picture), preprocessing, "net").astype(np.float32)) / 255
        )
        assert torch.equal(inside(pixels[None])[0], transform(picture)), (picture.size, preprocessing)


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = timm.models.get_pretrained_cfg(name).to_dict()
    return config


def timms_own(config: dict[str, Any], at_test: bool) -> dict[str, Any]:
    data: dict[str, Any] = timm.data.resolve_data_config({}, pretrained_cfg=config, use_test_size=at_test)
    return data


@pytest.mark.parametrize(
    ("name", "at_test"),
    [
        ("resnet50.a1_in1k", False),
        ("resnet50.a1_in1k", True),
        ("resnet18.tv_in1k", False),  # bilinear
        ("vit_base_patch16_clip_224.openai_ft_in1k", False),
        ("swin_tiny_patch4_window7_224.ms_in1k", False),
        ("tf_efficientnet_lite0.in1k", False),
        ("vit_base_patch16_siglip_384.webli", False),  # squash
        ("nfnet_l0.ra2_in1k", True),
        ("dm_nfnet_f0.dm_in1k", False),  # squash, crop_pct 0.9
        ("dm_nfnet_f0.dm_in1k", True),
        ("volo_d5_448.sail_in1k", False),  # crop_pct 1.15
    ],
)
def test_preparation_equals_timms_transform(name: str, at_test: bool, pictures: list[Image.Image]) -> None:
    config = config_of(name)
    preprocessing = timm_preprocessing(name, config, at_test=at_test)
    assert_equal(preprocessing, timm.data.create_transform(**timms_own(config, at_test)), pictures)


def test_every_crop_mode_that_timm_lists_is_met() -> None:
    """One name a kind above would be no sample if timm had a kind of its own elsewhere."""
    modes = {config_of(name)["crop_mode"] for name in timm.list_pretrained()}
    assert modes == {"center", "squash", "border"}


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_mode": "border", "crop_pct": 1.0},
        {"crop_mode": "border", "crop_pct": 0.875},
        {"crop_mode": "border", "crop_pct": 1.2},
        {"crop_mode": "squash", "crop_pct": 1.2},
        {"crop_mode": "center", "input_size": (3, 96, 64)},
        {"crop_mode": "center", "input_size": (3, 64, 96), "crop_pct": 1.1},
        {"crop_mode": "border", "input_size": (3, 64, 96)},
        {"interpolation": "box"},
        {"interpolation": "hamming"},
        {"interpolation": "lanczos"},
        {"interpolation": "nearest"},
        {"crop_pct": None, "interpolation": "", "mean": None, "std": None, "crop_mode": None},
    ],
)
def test_what_a_configuration_may_say_beside_those_listed(
    changes: dict[str, Any], pictures: list[Image.Image]
) -> None:
    config = config_of("resnet18.a1_in1k") | {"input_size": (3, 96, 96)} | changes
    transform = timm.data.create_transform(**timms_own(config, at_test=False))
    assert_equal(timm_preprocessing("net", config), transform, pictures)


@pytest.mark.slow
def test_preparation_equals_timms_transform_for_every_configuration_that_it_lists(
    pictures: list[Image.Image],
) -> None:
    """Names that share both descriptions are compared once: they make the same two transforms."""
    kinds: dict[str, tuple[Preprocessing, dict[str, Any]]] = {}
    names = timm.list_pretrained()
    for name in names:
        config = config_of(name)
        for at_test in (False, True) if has_test_values(config) else (False,):
            preprocessing, own = timm_preprocessing(name, config, at_test=at_test), timms_own(config, at_test)
            kinds[f"{preprocessing!r} {own!r}"] = (preprocessing, own)
    assert len(names) >= 1826
    assert len(kinds) > 100
    for preprocessing, own in kinds.values():
        assert_equal(preprocessing, timm.data.create_transform(**own), pictures)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"crop_mode": "spiral"}, "crop mode 'spiral' is not supported"),
        ({"interpolation": "random"}, "data configuration is not supported: `interpolation`"),
        ({"std": (0.0, 1.0, 1.0)}, "data configuration is not supported: `std"),
    ],
)
def test_a_configuration_that_is_not_known_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        timm_preprocessing("timm/net", config_of("resnet18.a1_in1k") | changes)


def torchvision_names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


@pytest.mark.parametrize(
    "name", ["resnet50", "alexnet", "efficientnet_b3", "swin_t", "vit_h_14", "inception_v3"]
)
def test_preparation_equals_torchvisions_transform(name: str, pictures: list[Image.Image]) -> None:
    compare_with_torchvision(name, pictures)


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision_names())
def test_preparation_equals_torchvisions_transform_for_every_network(
    name: str, pictures: list[Image.Image]
) -> None:
    compare_with_torchvision(name, pictures)


def compare_with_torchvision(name: str, pictures: list[Image.Image]) -> None:
    from torchvision import models

    from assay.models.entries.torchvision_names import card_of

    assert_equal(card_of(name).preprocessing, models.get_model_weights(name).DEFAULT.transforms(), pictures)
