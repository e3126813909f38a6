"""The public binary layout of CIFAR-10 and CIFAR-100 (never the pickled one)."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError
from assay.data.files import DataFiles
from assay.data.layouts.base import Contents, Layout, Names, Sample, array_contents

_PIXELS = 3 * 32 * 32


class CifarBinary(Layout):
    """Records of ``label_bytes`` labels and 3072 pixels (red, green and blue planes of 32 rows of 32).

    Attributes:
        batches: the files in order.
        label_bytes: 1 for CIFAR-10; 2 for CIFAR-100 (coarse, fine); the last one is the label.
    """

    type: Literal["cifar-binary"]
    batches: Names
    label_bytes: Literal[1, 2]

    def required(self) -> tuple[str, ...]:
        """The batches."""
        return self.batches

    def open(self, files: DataFiles) -> Contents:
        """One sample per record, numbered through all batches."""
        records = np.concatenate([self._records(files, name) for name in self.batches])
        planes = records[:, self.label_bytes :].reshape(-1, 3, 32, 32)
        return array_contents(planes.transpose(0, 2, 3, 1), records[:, self.label_bytes - 1])

    def where(self, sample: Sample) -> str:
        """The record's number."""
        return f"{', '.join(self.batches)}, record {sample.reference}"

    def _records(self, files: DataFiles, name: str) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(files.read(name), np.uint8)
        size = self.label_bytes + _PIXELS
        if len(data) == 0 or len(data) % size:
            raise UserError(
                f"{files.path(name)}: {len(data)} bytes are no whole number of {size}-byte records"
            )
        return data.reshape(-1, size)
