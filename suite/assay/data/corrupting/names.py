"""What the corruptions are called, and how they are grouped. No numpy."""

from difflib import get_close_matches
from typing import Literal

COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The fifteen that the mean corruption error is taken over, in the paper's order."""

VALIDATION = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four that the paper keeps for tuning, so that the fifteen stay unseen."""

CORRUPTIONS = COMMON + VALIDATION

SEVERITIES = (1, 2, 3, 4, 5)

Settings = Literal["imagenet-c", "cifar-10-c"]
"""Whose constants: those for pictures of about 224 pixels, or those for 32."""


def unknown_corruption(name: str) -> str:
    """The complaint about a name that is no corruption, with the nearest that is."""
    near = get_close_matches(name, CORRUPTIONS, n=1, cutoff=0.0)[0]
    return f"unknown corruption {name!r}; did you mean {near}? There are {', '.join(CORRUPTIONS)}"
