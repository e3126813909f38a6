"""A sheet of one image under every corruption, with the network's answer below each."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from assay.models.class_names import class_names
from assay.models.info import ModelInfo

_CELL = 150  # pixels, the side of a picture
_TEXT = 15  # pixels, the height of a line of text
_GAP = 8
_COLUMNS = 5
_LETTERS = 24  # of an answer


class SheetPicture(NamedTuple):
    """A picture (C, H, W) in [0, 1] with its title, and the answer to it."""

    title: str
    picture: Tensor
    answer: int
    right: bool


def sheet(pictures: Sequence[SheetPicture], model: ModelInfo) -> bytes:
    """The pictures in rows, as a PNG."""
    wide, high = _CELL + _GAP, _CELL + 2 * _TEXT + _GAP
    rows = -(-len(pictures) // _COLUMNS)
    found = Image.new("RGB", (wide * min(len(pictures), _COLUMNS) + _GAP, high * rows + _GAP), "white")
    pen, font = ImageDraw.Draw(found), ImageFont.load_default(11)
    names = _names(model)
    for place, shown in enumerate(pictures):
        left, top = _GAP + place % _COLUMNS * wide, _GAP + place // _COLUMNS * high
        pen.text((left, top), shown.title, fill="black", font=font)
        found.paste(_drawn(shown.picture), (left, top + _TEXT))
        said = names[shown.answer] if names else f"class {shown.answer}"
        said = said if len(said) <= _LETTERS else said[: _LETTERS - 1] + "…"
        colour = "#1a7f37" if shown.right else "firebrick"
        pen.text((left, top + _TEXT + _CELL), said, fill=colour, font=font)
    buffer = io.BytesIO()
    found.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _names(model: ModelInfo) -> list[str]:
    """Each class's name for people; [] where none is stated."""
    known = class_names(model)
    return (
        []
        if known is None
        else [next((name for name in names if not _is_wnid(name)), names[0]) for names in known.first]
    )


def _is_wnid(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdecimal()


def _drawn(picture: Tensor) -> Image.Image:
    """The picture in a cell, its sides in proportion; small ones are enlarged pixel by pixel."""
    pixels: NDArray[np.uint8] = (
        (picture.clamp(0, 1) * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0)
    )
    pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    height, width = pixels.shape[:2]
    scale = _CELL / max(height, width)
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    return Image.fromarray(pixels).resize((max(round(width * scale), 1), max(round(height * scale), 1)), how)
