"""NumPy archives of images and labels."""

import io
import zipfile
import zlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError
from assay.data.files import DataFiles
from assay.data.layouts.base import Contents, FileName, Layout, Sample, array_contents


class Npz(Layout):
    """``file`` holds ``images``, uint8 (N, H, W) or (N, H, W, 3), and ``labels``, integers (N,)."""

    type: Literal["npz"]
    file: FileName
    images: str = "images"
    labels: str = "labels"

    def required(self) -> tuple[str, ...]:
        """The archive."""
        return (self.file,)

    def open(self, files: DataFiles) -> Contents:
        """One sample per row."""
        path = files.path(self.file)
        try:
            with np.load(io.BytesIO(files.read(self.file)), allow_pickle=False) as archive:
                images, labels = archive[self.images], archive[self.labels]
        except KeyError as error:
            raise UserError(f"{path}: {error.args[0]}; name its arrays in the manifest's layout") from error
        except (ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{path}: is not an .npz archive of plain arrays ({error}); save it with numpy.savez"
            ) from error
        self._check(images, labels, str(path))
        return array_contents(images, labels)

    def where(self, sample: Sample) -> str:
        """The label's row."""
        return f"{self.file}, {self.labels}[{sample.reference}]"

    def _check(self, images: npt.NDArray[Any], labels: npt.NDArray[Any], path: str) -> None:
        pictures = images.dtype == np.uint8 and (
            images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
        )
        if not pictures:
            raise UserError(
                f"{path}: {self.images} is {images.dtype} {images.shape}; expected uint8 "
                "(N, H, W) or (N, H, W, 3)"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise UserError(
                f"{path}: {self.labels} is {labels.dtype} {labels.shape}; expected ({len(images)},) integers"
            )
