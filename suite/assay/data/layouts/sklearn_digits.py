"""The 8x8 digits that scikit-learn ships."""

import gzip
import zlib
from typing import Literal

import numpy as np

from assay.common.errors import UserError
from assay.data.files import DataFiles
from assay.data.layouts.base import Contents, FileName, Layout, Rows, Sample, array_contents, part

_SIDE, _TOP = 8, 16


class SklearnDigits(Layout):
    """``file``: a packed CSV, one row of 64 intensities in 0..16 and the digit.

    An intensity v becomes the nearest of 0..255, ``floor(v * 255 / 16 + 1/2)``: 0 stays 0, 8 becomes 128, 16
    becomes 255. The 17 values stay apart, so that no information is lost.

    Attributes:
        rows: a part of the data set.
    """

    type: Literal["sklearn-digits"]
    file: FileName
    rows: Rows = None

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
        return part(contents, self.rows, path)

    def where(self, sample: Sample) -> str:
        """The row."""
        return f"{self.file}, row {sample.reference}"


def _in_range(intensities: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    return bool(((intensities >= 0) & (intensities <= _TOP)).all())
