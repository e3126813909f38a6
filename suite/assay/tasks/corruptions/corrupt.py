"""One interface to the nineteen corruptions: a picture, a name, a severity and a seed give a picture."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.tasks.corruptions.definitions import blur, digital, noise, spatter, weather
from assay.tasks.corruptions.definitions.settings import SETTINGS
from assay.tasks.corruptions.names import Settings

Pixels = npt.NDArray[np.uint8]
Corruption = Callable[..., Any]

_SHARED: Mapping[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "saturate": digital.saturate,
    "jpeg_compression": digital.jpeg_compression,
    "spatter": spatter.spatter,
}
_CORRUPTIONS: Mapping[Settings, Mapping[str, Corruption]] = {
    "imagenet-c": {
        **_SHARED,
        "zoom_blur": partial(blur.zoom_blur, centred=False),
        "snow": partial(weather.snow, centred=False),
        "frost": partial(weather.frost, small=False),
        "elastic_transform": digital.elastic_transform,
        "pixelate": partial(digital.pixelate, enlarge=Image.Resampling.NEAREST),
    },
    "cifar-10-c": {
        **_SHARED,
        "zoom_blur": partial(blur.zoom_blur, centred=True),
        "snow": partial(weather.snow, centred=True),
        "frost": partial(weather.frost, small=True),
        "elastic_transform": digital.small_elastic_transform,
        "pixelate": partial(digital.pixelate, enlarge=Image.Resampling.BOX),
    },
}
_OF_8_BIT = frozenset({"pixelate", "jpeg_compression"})
DETERMINISTIC = frozenset(
    {"gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate"} | _OF_8_BIT
)
"""The corruptions in which nothing is random."""


def corrupt(
    picture: Pixels, name: str, severity: int, settings: Settings, random: np.random.Generator
) -> Pixels:
    """A corrupted picture; the picture itself at severity 0.

    Values are cut to [0, 1] and rounded down to 8 bit, as the published code does.

    Args:
        picture: (H, W, 1) or (H, W, 3) uint8, its sides at least
            :func:`~assay.tasks.corruptions.definitions.settings.least_side`.
        name: one of :data:`~assay.tasks.corruptions.names.CORRUPTIONS`.
        severity: 0 to 5.
        settings: whose constants.
        random: where what is random comes from.

    Returns:
        (H, W, C) uint8.
    """
    if severity == 0:
        return picture
    how, setting = _CORRUPTIONS[settings][name], SETTINGS[settings][name][severity - 1]
    if name in _OF_8_BIT:
        return np.asarray(how(picture, setting, random), np.uint8)
    values = how(picture / 255.0, setting, random)
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)
