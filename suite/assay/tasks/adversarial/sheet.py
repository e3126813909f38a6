"""A sheet of one image's adversarial images over eps, with amplified differences and the model's answers."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from assay.tasks.adversarial.block import Block
from assay.tasks.adversarial.levels import Outcome
from assay.tasks.adversarial.names import sheet_name

_CELL = 112  # pixels, the side of a picture
_TEXT = 15  # pixels, the height of a line of text
_GAP = 6


def sheet_files(
    block: Block, outcomes: Mapping[tuple[str, Fraction], Outcome], rows: Sequence[int]
) -> dict[int, dict[str, bytes]]:
    """For each of the block's ``rows`` its sheet as a file.

    Args:
        block: the images.
        outcomes: by series and radius; the order of the series is that of the sheet's lines.
        rows: which images.
    """
    return {row: {sheet_name(block.unit_ids[row]): _sheet(block, outcomes, row)} for row in rows}


def _sheet(block: Block, outcomes: Mapping[tuple[str, Fraction], Outcome], row: int) -> bytes:
    """For each attack a line of images and a line of differences, a column for each radius."""
    methods = list(dict.fromkeys(series for series, _ in outcomes))
    radii = sorted({eps for _, eps in outcomes})
    wide, high = _CELL + _GAP, 2 * _CELL + 4 * _TEXT + _GAP
    sheet = Image.new("RGB", (wide * len(radii) + _GAP, high * len(methods) + _GAP), "white")
    for line, series in enumerate(methods):
        for column, eps in enumerate(radii):
            corner = _GAP + column * wide, _GAP + line * high
            _draw_cell(sheet, corner, _cell(block, outcomes[series, eps], row, f"{series}, eps {eps}"))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


Cell = tuple[Tensor, Tensor, tuple[str, str, str]]
"""An image and its amplified difference, (C, H, W) in [0, 1], and the lines: title, answer, amplification."""


def _cell(block: Block, outcome: Outcome, row: int, title: str) -> Cell:
    change = outcome.images[row] - block.images[row]
    largest = float(change.abs().max())
    amplified = 0.5 + 0.5 * change / largest if largest else change + 0.5
    confidence, answer = outcome.logits[row].softmax(0).max(0)
    mark = "right" if int(answer) == int(block.labels[row]) else "WRONG"
    said = f"{int(answer)} ({float(confidence):.0%}) {mark}"
    return outcome.images[row], amplified, (title, said, f"x {0.5 / largest:.0f}" if largest else "no change")


def _draw_cell(sheet: Image.Image, corner: tuple[int, int], cell: Cell) -> None:
    left, top = corner
    image, amplified, (title, said, factor) = cell
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    colour = "firebrick" if said.endswith("WRONG") else "black"
    pen.text((left, top), title, fill="black", font=font)
    pen.text((left, top + _TEXT), said, fill=colour, font=font)
    sheet.paste(_picture(image), (left, top + 2 * _TEXT))
    sheet.paste(_picture(amplified), (left, top + 2 * _TEXT + _CELL))
    pen.text((left, top + 2 * _TEXT + 2 * _CELL), factor, fill="black", font=font)


def _picture(image: Tensor) -> Image.Image:
    """An image of one or three channels at the cell's size; small ones are enlarged pixel by pixel."""
    pixels: NDArray[np.uint8] = (
        (image.detach().cpu().clamp(0, 1) * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0)
    )
    pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    small = max(pixels.shape[:2]) < _CELL
    how = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
    return Image.fromarray(pixels).resize((_CELL, _CELL), how)
