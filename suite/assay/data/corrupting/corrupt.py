"""One interface to the nineteen corruptions: a picture, a name, a severity and a seed give a picture."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.data.corrupting.definitions import blur, digital, noise, spatter, weather
from assay.data.corrupting.definitions.settings import SETTINGS
from assay.data.corrupting.names import Settings

Pixels = npt.NDArray[np.uint8]
CorruptionFunction = Callable[..., Any]

_RANDOM: Mapping[str, CorruptionFunction] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "fog": weather.fog,
    "spatter": spatter.spatter,
}
_RANDOM_OF: Mapping[Settings, Mapping[str, CorruptionFunction]] = {
    "imagenet-c": {
        **_RANDOM,
        "snow": partial(weather.snow, centred=False),
        "frost": partial(weather.frost, small=False),
        "elastic_transform": digital.elastic_transform,
    },
    "cifar-10-c": {
        **_RANDOM,
        "snow": partial(weather.snow, centred=True),
        "frost": partial(weather.frost, small=True),
        "elastic_transform": digital.small_elastic_transform,
    },
}
_FIXED: Mapping[str, CorruptionFunction] = {
    "gaussian_blur": blur.gaussian_blur,
    "defocus_blur": blur.defocus_blur,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "saturate": digital.saturate,
}
_FIXED_OF: Mapping[Settings, Mapping[str, CorruptionFunction]] = {
    "imagenet-c": {**_FIXED, "zoom_blur": partial(blur.zoom_blur, centred=False)},
    "cifar-10-c": {**_FIXED, "zoom_blur": partial(blur.zoom_blur, centred=True)},
}
_OF_8_BIT: Mapping[Settings, Mapping[str, CorruptionFunction]] = {
    "imagenet-c": {
        "jpeg_compression": digital.jpeg_compression,
        "pixelate": partial(digital.pixelate, enlarge=Image.Resampling.NEAREST),
    },
    "cifar-10-c": {
        "jpeg_compression": digital.jpeg_compression,
        "pixelate": partial(digital.pixelate, enlarge=Image.Resampling.BOX),
    },
}
RANDOM = frozenset(_RANDOM_OF["imagenet-c"])
"""The corruptions that draw random numbers."""


def corrupt(
    picture: Pixels, name: str, severity: int, settings: Settings, random: np.random.Generator
) -> Pixels:
    """A corrupted picture; the picture itself at severity 0.

    Values are cut to [0, 1] and rounded down to 8 bit, as the published code does.

    Args:
        picture: (H, W, 1) or (H, W, 3) uint8, its sides at least
            :func:`~assay.data.corrupting.definitions.settings.least_side`.
        name: one of :data:`~assay.data.corrupting.names.CORRUPTIONS`.
        severity: 0 to 5.
        settings: whose constants.
        random: where what is random comes from.

    Returns:
        (H, W, C) uint8.
    """
    if severity == 0:
        return picture
    setting = SETTINGS[settings][name][severity - 1]
    if name in _OF_8_BIT[settings]:
        found: Pixels = _OF_8_BIT[settings][name](picture, setting)
        return found
    values = picture / 255.0
    if name in RANDOM:
        values = _RANDOM_OF[settings][name](values, setting, random)
    else:
        values = _FIXED_OF[settings][name](values, setting)
    cut: Pixels = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return cut
