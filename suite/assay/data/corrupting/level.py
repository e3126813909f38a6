"""How a picture is corrupted, and with which seed: the same for a data set's pictures and for those of one task."""

import hashlib
from dataclasses import dataclass

import numpy as np

from assay.data.corrupting.corrupt import Pixels, corrupt
from assay.data.corrupting.definitions.settings import least_side
from assay.data.corrupting.definitions.weather import least_frost_side
from assay.data.corrupting.names import Settings


@dataclass(frozen=True)
class Level:
    """A corruption at one severity, from 0 (which changes nothing) to 5."""

    corruption: str
    severity: int
    settings: Settings
    seed: int


def corrupted(picture: Pixels, level: Level, unit_id: str) -> Pixels:
    """The picture at a level; what is random is drawn from :func:`picture_seed`.

    Args:
        picture: (H, W, C) uint8, not refused by :func:`unfit`.
        level: how.
        unit_id: of the picture in its data set.

    Returns:
        (H, W, C) uint8.
    """
    random = np.random.default_rng(picture_seed(level, unit_id))
    return corrupt(picture, level.corruption, level.severity, level.settings, random)


def picture_seed(level: Level, unit_id: str) -> int:
    """A seed that depends on the level's seed, the image, the corruption and the severity alone."""
    text = f"{level.seed}\0{unit_id}\0{level.corruption}\0{level.severity}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def unfit(corruption: str, settings: Settings, shape: tuple[int, int, int], subject: str) -> str | None:
    """Why a corruption cannot be made of pictures of a shape, as a sentence; None where it can.

    Args:
        corruption: its name.
        settings: whose constants.
        shape: (height, width, channels).
        subject: whose pictures they are, with its verb: ``MODEL takes``, ``image X has``.
    """
    height, width, channels = shape
    least = least_side(corruption, settings)
    if min(height, width) < least:
        return (
            f"{corruption} of {settings} needs pictures of {least} x {least} pixels, {subject} {height} x {width}; "
            "leave it out, or choose other `settings`"
        )
    most = least_frost_side(settings == "cifar-10-c") if corruption == "frost" else None
    if most is not None and max(height, width) >= most:
        return (
            f"frost of cifar-10-c is for pictures below {most} pixels, {subject} {height} x {width}; write "
            "`settings: imagenet-c`"
        )
    if corruption == "saturate" and channels == 1:
        return f"saturate changes no grey picture, and {subject} grey ones; leave it out"
    return None
