"""The idx files of the MNIST family."""

import math
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from assay.common.errors import UserError
from assay.data.files import DataFiles
from assay.data.layouts.base import Contents, FileName, Layout, Rows, Sample, array_contents, part

_UNSIGNED_BYTE = 0x08


def _unpacked(name: str) -> str:
    if name.endswith(".gz"):
        raise ValueError(
            "expected the name without .gz (both forms are found, and the content's hash is the same)"
        )
    return name


IdxName = Annotated[FileName, AfterValidator(_unpacked)]


class Idx(Layout):
    """``images``: idx3 (N, H, W), and ``labels``: idx1 (N,); both of unsigned bytes, raw or packed.

    Attributes:
        rows: a part of the data set.
    """

    type: Literal["idx"]
    images: IdxName
    labels: IdxName
    rows: Rows = None

    def required(self) -> tuple[str, ...]:
        """Images and labels."""
        return (self.images, self.labels)

    def open(self, files: DataFiles) -> Contents:
        """One sample per row."""
        images = read_idx(files, self.images, dimensions=3)
        labels = read_idx(files, self.labels, dimensions=1)
        if len(images) != len(labels):
            raise UserError(
                f"{files.path(self.labels)}: {len(labels)} labels for {len(images)} images; get both again"
            )
        return part(array_contents(images, labels), self.rows, files.path(self.images))

    def where(self, sample: Sample) -> str:
        """The label's row."""
        return f"{self.labels}, row {sample.reference}"


def read_idx(files: DataFiles, name: str, dimensions: int) -> npt.NDArray[Any]:
    """The idx array: 0, 0, type code, number of dimensions; the size of each as big-endian uint32; the values.

    Raises:
        UserError: the file is not an idx file of unsigned bytes with so many dimensions.
    """
    data = files.read(name)
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise UserError(
            f"{files.path(name)}: is not an idx file of bytes in {dimensions} dimension(s); get it again"
        )
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    if len(data) - header != math.prod(shape):
        raise UserError(
            f"{files.path(name)}: holds {len(data) - header} values where its header says "
            f"{math.prod(shape)}; get it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
