"""The constants of each corruption at severities 1 to 5.

Sources: ``imagenet-c`` as in the package imagecorruptions 1.1.2, which took them from Hendrycks and Dietterich's
make_imagenet_c.py, except elastic_transform, which it made independent of the picture's size; ``cifar-10-c`` as in
their make_cifar_c.py.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from assay.data.corrupting.names import Settings

Five = tuple[Any, Any, Any, Any, Any]

_IMAGENET_C: Mapping[str, Five] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation
    "shot_noise": (60, 25, 12, 5, 3),  # photons of a white pixel
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),  # share of values
    "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),  # standard deviation, relative to the value
    "gaussian_blur": (1, 2, 3, 4, 6),  # standard deviation in pixels
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),  # blur, reach, rounds
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),  # radius, smoothing of its edge
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),  # radius, standard deviation
    "zoom_blur": (
        np.arange(1, 1.11, 0.01), np.arange(1, 1.16, 0.01), np.arange(1, 1.21, 0.02),
        np.arange(1, 1.26, 0.02), np.arange(1, 1.31, 0.03),
    ),  # factors
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),  # flakes' mean and spread, zoom, threshold, motion's radius and spread, share of the picture kept
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),  # weights of picture and frost
    "fog": ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),  # weight, decay of the roughness
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added to HSV's value
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # factor of the distance from the mean
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),  # factor of and addition to HSV's saturation
    "elastic_transform": (12.5, 16.25, 21.25, 25.0, 30.0),  # factor of the displacements
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),  # scale
    "jpeg_compression": (25, 18, 15, 10, 7),  # quality
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    ),  # drops' mean and spread, blur, threshold, opacity (or blur of mud), mud
}  # fmt: skip

_CIFAR_10_C: Mapping[str, Five] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500, 250, 100, 75, 50),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": (
        np.arange(1, 1.06, 0.01), np.arange(1, 1.11, 0.01), np.arange(1, 1.16, 0.01),
        np.arange(1, 1.21, 0.01), np.arange(1, 1.26, 0.01),
    ),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    # displacements' size, smoothing and the affine map's reach, in sides of the picture
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": (80, 65, 58, 50, 40),
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
}  # fmt: skip

SETTINGS: Mapping[Settings, Mapping[str, Five]] = {"imagenet-c": _IMAGENET_C, "cifar-10-c": _CIFAR_10_C}

_LEAST_SIDE: Mapping[Settings, int] = {"imagenet-c": 32, "cifar-10-c": 16}
# What works on single values, or in blocks of a few, takes any picture of the small data sets.
_LEAST_SIDE_SMALL = 8
_ANY_SIZE = frozenset(
    {
        "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "brightness", "contrast", "saturate",
        "gaussian_blur", "defocus_blur", "pixelate", "jpeg_compression",
    }
)  # fmt: skip


def least_side(name: str, settings: Settings) -> int:
    """The shortest side, in pixels, that a corruption takes."""
    if settings == "cifar-10-c" and name in _ANY_SIZE:
        return _LEAST_SIDE_SMALL
    return _LEAST_SIDE[settings]
