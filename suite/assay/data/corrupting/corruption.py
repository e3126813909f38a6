"""A corrupted data set: what is asked for, by name or in a manifest, and how its pictures are made."""

import re
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import AfterValidator, Field

from assay.common.errors import UserError
from assay.common.fields import IDENTITY
from assay.common.validation import StrictModel, validate
from assay.data.corrupting.names import CORRUPTIONS, SEVERITIES, Settings, unknown_corruption
from assay.data.pixels import Pixels

VERSION = 1
"""Raised whenever the same corruption gives other pictures; in the hash of every corrupted data set."""

SHORTER_SIDE = 256
"""Pixels that ImageNet-C's makers bring the shorter side of a picture to before they corrupt it."""
_SMALL = 63  # pixels from which CIFAR-10-C's frost pictures are too small
_NAME = re.compile(r"(?P<data>.+)~(?P<asked>[^~/\\]*)")
_FORM = (
    "NAME~CORRUPTION:SEVERITY, such as foolbox-imagenet20~fog:3, or with a seed, foolbox-imagenet20~fog:3:1"
)


def _known(kind: str) -> str:
    if kind not in CORRUPTIONS:
        raise ValueError(unknown_corruption(kind))
    return kind


def _there(severity: int) -> int:
    if severity not in SEVERITIES:
        raise ValueError(f"expected a whole number from 1 to 5, found {severity}")
    return severity


class Corruption(StrictModel):
    """One corruption of all pictures of a data set.

    Attributes:
        kind: which of the nineteen.
        severity: 1 to 5.
        seed: of what is random in it, with the picture's id.
        settings: whose constants; where left out, CIFAR-10-C's for a data set of pictures below 63 pixels, else
            ImageNet-C's.
    """

    kind: Annotated[str, AfterValidator(_known), IDENTITY]
    severity: Annotated[int, AfterValidator(_there), IDENTITY]
    seed: Annotated[int, IDENTITY] = Field(default=0, ge=0)
    settings: Annotated[Settings | None, IDENTITY] = None

    @property
    def suffix(self) -> str:
        """What it adds to a data set's name: ``~fog:3``, and the seed where that is not 0."""
        return f"~{self.kind}:{self.severity}" + (f":{self.seed}" if self.seed else "")

    @property
    def words(self) -> str:
        """What it adds to a data set's title."""
        seed = f" (seed {self.seed})" if self.seed else ""
        return f"under {self.kind.replace('_', ' ')} of severity {self.severity}{seed}"

    def settings_for(self, shape: tuple[int, ...]) -> Settings:
        """The source of the constants for a picture of (height, width, …) pixels."""
        return self.settings or ("cifar-10-c" if max(shape[:2]) < _SMALL else "imagenet-c")


def split_name(data: str) -> tuple[str, Corruption | None]:
    """The name (or path) of a data set, and the corruption that is asked of it: ``NAME~CORRUPTION:SEVERITY[:SEED]``.

    Raises:
        UserError: something else follows the ``~``; says what was expected.
    """
    found = _NAME.fullmatch(data)
    if found is None or found["asked"].endswith((".yaml", ".yml")):
        return data, None
    kind, *numbers = found["asked"].split(":")
    if len(numbers) not in (1, 2) or not all(number.isascii() and number.isdecimal() for number in numbers):
        raise UserError(f"data set {data!r}: expected {_FORM}")
    asked = {"kind": kind, **dict(zip(("severity", "seed"), map(int, numbers), strict=False))}
    return found["data"], validate(Corruption, asked, f"data set {data!r}")


def is_corrupted(name: str) -> bool:
    """Whether a data set of this name holds corrupted pictures; no other name has a ``~``."""
    return "~" in name


def working_size(shape: tuple[int, ...], settings: Settings) -> tuple[int, int]:
    """(height, width) of a picture of (height, width, …) pixels when it is corrupted.

    With ImageNet-C's constants its shorter side is brought to 256 pixels where it has more; the longer one is rounded
    down, as torchvision does. The constants are in pixels of such a picture: on one of 4,000 a blur of 4 would be none.
    """
    height, width = shape[:2]
    shorter = min(height, width)
    if settings != "imagenet-c" or shorter <= SHORTER_SIDE:
        return height, width
    return SHORTER_SIDE * height // shorter, SHORTER_SIDE * width // shorter


def resized(picture: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    """The picture (H, W) or (H, W, C) at a size (height, width)."""
    if picture.shape[:2] == size:
        return picture
    grey = picture.ndim == 3 and picture.shape[2] == 1
    image = Image.fromarray(picture[..., 0] if grey else picture).resize((size[1], size[0]), how)
    return np.asarray(image).reshape(*size, *picture.shape[2:])
