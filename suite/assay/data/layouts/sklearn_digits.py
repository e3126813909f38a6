"""The 8x8 digits that scikit-learn ships."""

import gzip
import zlib
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from assay.common.errors import UserError
from assay.data.files import DataFiles
from assay.data.layouts.base import Contents, FileName, Layout, Sample, array_contents

_SIDE, _TOP = 8, 16


class SklearnDigits(Layout):
    """``file``: a packed CSV, one row of 64 intensities in 0..16 and the digit.

    An intensity v becomes the nearest of 0..255, ``floor(v * 255 / 16 + 1/2)``: 0 stays 0, 8 becomes 128, 16
    becomes 255. The 17 values stay apart, so that no information is lost.

    Attributes:
        rows: the first row, from 0, and the one after the last; None for all. A picture keeps its id in each part.
    """

    type: Literal["sklearn-digits"]
    file: FileName
    # Left out of the hash where it says nothing: all rows are the data set that they were before there were parts.
    rows: Annotated[
        tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]] | None,
        Field(strict=False, exclude_if=lambda rows: rows is None),
    ] = None

    def required(self) -> tuple[str, ...]:
        """The packed CSV."""
        return (self.file,)

    def open(self, files: DataFiles) -> Contents:
        """One sample per row."""
        path = files.path(self.file)
        try:
            text = gzip.decompress(files.read(self.file)).decode("ascii")
            rows = np.array([line.split(",") for line in text.splitlines()], dtype=np.float64)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise UserError(
                f"{path}: is not a packed CSV of numbers ({error}); reinstall scikit-learn"
            ) from error
        whole = rows.astype(np.int64)
        intensities = whole[:, :-1] if rows.ndim == 2 else whole
        if (
            rows.ndim != 2
            or rows.shape[1] != _SIDE**2 + 1
            or (whole != rows).any()
            or not _in_range(intensities)
        ):
            raise UserError(
                f"{path}: expected 64 intensities in 0..16 and a digit in a row; reinstall scikit-learn"
            )
        pixels = (intensities * 255 + _TOP // 2) // _TOP
        contents = array_contents(pixels.astype(np.uint8).reshape(-1, _SIDE, _SIDE), whole[:, -1])
        first, after = self.rows or (0, len(contents.samples))
        return replace(contents, samples=contents.samples[first:after])

    def where(self, sample: Sample) -> str:
        """The row."""
        return f"{self.file}, row {sample.reference}"


def _in_range(intensities: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    return bool(((intensities >= 0) & (intensities <= _TOP)).all())
