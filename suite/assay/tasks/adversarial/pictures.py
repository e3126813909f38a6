"""The pictures that a run saves: their names, their pixels as 8-bit PNGs, and sheets of one image over eps.

Nothing here knows of any attack. Torch is imported only where pixels are written or read, because readers of results
need the names alone.
"""

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from torch import Tensor

_CELL = 112  # pixels, the side of a picture
_TEXT = 15  # pixels, the height of a line of text
_GAP = 6


def png_name(series: str, eps: Fraction, unit_id: str) -> str:
    """The adversarial image of one unit, attack and radius; the unit's id with odd characters escaped."""
    return f"adversarial/{series}/{str(eps).replace('/', '_')}/{quote(unit_id, safe='')}.png"


def sheet_name(unit_id: str) -> str:
    """The sheet of one unit's adversarial images."""
    return f"sheets/{quote(unit_id, safe='')}.png"


def rounded(images: "Tensor") -> "Tensor":
    """Images in [0, 1] with each pixel at the nearest of 0/255 .. 255/255."""
    return (images * 255).round().clamp(0, 255) / 255


Adversarial = Mapping[tuple[str, Fraction], tuple["Tensor", "Tensor"]]
"""By series and radius: an image's adversarial image, (C, H, W) in [0, 1], and its logits, (K,)."""


def sheet_png(clean: "Tensor", label: int, adversarial: "Adversarial") -> bytes:
    """The sheet of one image as a PNG: per attack one line of images and one of differences, per radius one column.

    Args:
        clean: the image, (C, H, W) in [0, 1].
        label: its class.
        adversarial: the order of the series is that of the sheet's lines.
    """
    methods = list(dict.fromkeys(series for series, _ in adversarial))
    radii = sorted({eps for _, eps in adversarial})
    wide, high = _CELL + _GAP, 2 * _CELL + 4 * _TEXT + _GAP
    sheet = Image.new("RGB", (wide * len(radii) + _GAP, high * len(methods) + _GAP), "white")
    for line, series in enumerate(methods):
        for column, eps in enumerate(radii):
            corner = _GAP + column * wide, _GAP + line * high
            image, logits = adversarial[series, eps]
            confidence, answer = logits.softmax(0).max(0)
            mark = "right" if int(answer) == label else "WRONG"
            said = f"{int(answer)} ({float(confidence):.0%}) {mark}"
            _draw_cell(sheet, corner, (f"{series}, eps {eps}", said), (image, image - clean))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    words: tuple[str, str],
    pixels: tuple["Tensor", "Tensor"],
) -> None:
    """Title and answer, the image, its amplified difference (C, H, W), and by how much it is amplified."""
    from assay.attacks.picture import amplified

    left, top = corner
    (title, said), (image, change) = words, pixels
    amplified_change, factor = amplified(change)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    colour = "firebrick" if said.endswith("WRONG") else "black"
    pen.text((left, top), title, fill="black", font=font)
    pen.text((left, top + _TEXT), said, fill=colour, font=font)
    sheet.paste(_picture(image), (left, top + 2 * _TEXT))
    sheet.paste(_picture(amplified_change), (left, top + 2 * _TEXT + _CELL))
    words_below = "no change" if factor is None else f"x {factor:.0f}"
    pen.text((left, top + 2 * _TEXT + 2 * _CELL), words_below, fill="black", font=font)


def _picture(image: "Tensor") -> Image.Image:
    """An image of one or three channels at the cell's size; small ones are enlarged pixel by pixel."""
    pixels: NDArray[np.uint8] = (
        (image.detach().cpu().clamp(0, 1) * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0)
    )
    pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    small = max(pixels.shape[:2]) < _CELL
    how = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
    return Image.fromarray(pixels).resize((_CELL, _CELL), how)
