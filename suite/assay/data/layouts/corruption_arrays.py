"""Corrupted pictures in NumPy arrays, one file per corruption, as CIFAR-10-C and CIFAR-100-C are published."""

import io
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.common.errors import UserError
from assay.data.files import DataFiles
from assay.data.layouts.base import Contents, FileName, Layout, Names, Sample

_SEVERITIES = 5


class _Row(NamedTuple):
    corruption: str
    number: int


class CorruptionArrays(Layout):
    """``CORRUPTION.npy`` holds uint8 (5 N, H, W, 3), severity after severity; ids are CORRUPTION/SEVERITY/NUMBER.

    Attributes:
        labels: the file with (5 N,) integers.
        corruptions: the names of the other files, without their ending.
    """

    type: Literal["corruption-arrays"]
    corruptions: Names
    labels: FileName = "labels.npy"

    def required(self) -> tuple[str, ...]:
        """The labels and every corruption's pictures."""
        return (self.labels, *(f"{name}.npy" for name in self.corruptions))

    def open(self, files: DataFiles) -> Contents:
        """One sample per picture, corruption after corruption."""
        labels = _array(files, self.labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) % _SEVERITIES:
            raise UserError(
                f"{files.path(self.labels)}: is {labels.dtype} {labels.shape}; expected whole numbers, as many of each "
                "of the five severities"
            )
        pictures = {name: self._pictures(files, name, len(labels)) for name in self.corruptions}
        each = len(labels) // _SEVERITIES
        samples = tuple(
            Sample(f"{name}/{row // each + 1}/{row % each:05d}", int(label), None, _Row(name, row))
            for name in self.corruptions
            for row, label in enumerate(labels)
        )
        return Contents(samples, partial(_picture, pictures))

    def where(self, sample: Sample) -> str:
        """The label's row."""
        return f"{self.labels}[{sample.reference.number}]"

    def _pictures(self, files: DataFiles, name: str, count: int) -> npt.NDArray[np.uint8]:
        pictures = _array(files, f"{name}.npy")
        if (
            pictures.dtype != np.uint8
            or pictures.ndim != 4
            or pictures.shape[3] != 3
            or len(pictures) != count
        ):
            raise UserError(
                f"{files.path(f'{name}.npy')}: is {pictures.dtype} {pictures.shape}; expected uint8 "
                f"({count}, height, width, 3)"
            )
        return pictures


def _array(files: DataFiles, name: str) -> npt.NDArray[Any]:
    """The array in a file; left on the disk where it is not packed."""
    path = files.path(name)
    try:
        if path.name.endswith(".npy"):
            return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
        return np.asanyarray(np.load(io.BytesIO(files.read(name)), allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: is no .npy array of plain numbers ({error}); get it again") from error


def _picture(pictures: dict[str, npt.NDArray[np.uint8]], row: _Row) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pictures[row.corruption][row.number]))
