"""The rectangle that a patch covers, and its grey."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.common.errors import UserError


@dataclass(frozen=True)
class Square:
    """A rectangle of pixels, in pixels or in per cent of the picture's height (rows) and width (columns).

    Attributes:
        row: first row.
        column: first column.
        height: rows.
        width: columns.
        per_cent: whether the four are per cent, rounded to whole pixels.
    """

    row: int
    column: int
    height: int
    width: int
    per_cent: bool = False

    def mask(self, image: Tensor) -> Tensor:
        """Ones on the rectangle, zeros elsewhere, of the image's shape.

        Raises:
            UserError: the rectangle is empty or reaches outside the image.
        """
        rows, columns = image.shape[-2:]
        place = self._in_pixels(rows, columns) if self.per_cent else self
        bottom, right = place.row + place.height, place.column + place.width
        if (
            min(place.row, place.column) < 0
            or min(place.height, place.width) < 1
            or bottom > rows
            or right > columns
        ):
            raise UserError(
                f"the patch of {place.height}x{place.width} pixels at row {place.row}, column {place.column} is "
                f"not inside the image of {rows}x{columns} pixels: move or shrink it"
            )
        mask = torch.zeros_like(image)
        mask[..., place.row : bottom, place.column : right] = 1
        return mask

    def _in_pixels(self, rows: int, columns: int) -> Square:
        return Square(
            round(self.row * rows / 100), round(self.column * columns / 100),
            round(self.height * rows / 100), round(self.width * columns / 100),
        )  # fmt: skip

    def __str__(self) -> str:
        unit = "%" if self.per_cent else ""
        return f"{self.row}{unit}:{self.column}{unit}:{self.height}{unit}x{self.width}{unit}"


def grey_values(grey: tuple[float, ...], image: Tensor) -> Tensor:
    """Grey values, one or one per channel, as `(C, 1, 1)` or `(1, 1, 1)` of the image's type.

    Raises:
        UserError: their number is not 1 and not that of the image's channels.
    """
    channels = image.shape[-3]
    if len(grey) not in (1, channels):
        raise UserError(
            f"the patch has {len(grey)} grey values for {channels} channels: give one, or one per channel"
        )
    return torch.tensor(grey, dtype=image.dtype, device=image.device)[:, None, None]
