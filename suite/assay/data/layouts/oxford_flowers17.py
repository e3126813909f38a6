"""The public layout of Oxford's 17 flower categories (Nilsback and Zisserman 2006), with its segmentations.

`jpg/image_0001.jpg` to `image_1360.jpg` are 80 pictures per class, class after class. `datasplits.mat` holds three
divisions of their numbers: trn1, val1, tst1 to trn3, val3, tst3. `trimaps/image_NNNN.png` marks, for some of the
pictures, the flower (dark red), the background and an undecided seam.
"""

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from assay.common.errors import UserError
from assay.data.files import DataFiles, stored_path
from assay.data.layouts.base import Contents, Layout, Mask, Names, Sample, open_picture
from assay.data.pixels import ImageError

SPLITS, CLASSES, PER_CLASS = "datasplits.mat", 17, 80
_FLOWER = (128, 0, 0)


class OxfordFlowers17(Layout):
    """The pictures of some parts of a division; a picture's mask is the flower in its trimap, where it has one.

    Attributes:
        parts: such as trn1 and val1.
    """

    type: Literal["oxford-flowers-17"]
    parts: Names

    def required(self) -> tuple[str, ...]:
        """The divisions."""
        return (SPLITS,)

    def declared_classes(self) -> int:
        """17."""
        return CLASSES

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The divisions, the parts' pictures, and those of their trimaps that are there."""
        if stored_path(folder, SPLITS) is None:
            return ()
        numbers = self._numbers(DataFiles(folder, (SPLITS,)))
        trimaps = [_trimap(number) for number in numbers]
        there = [name for name in trimaps if stored_path(folder, name) is not None]
        return tuple(sorted([SPLITS, *map(_picture, numbers), *there]))

    def open(self, files: DataFiles) -> Contents:
        """One sample per picture, in the order of numbers."""
        numbers = self._numbers(files)
        absent = sorted(set(map(_picture, numbers)) - set(files.names))
        if absent:
            raise UserError(f"{files.folder / absent[0]}: no such file; get the data set again")
        samples = [Sample(_picture(each), (each - 1) // PER_CLASS, None, each) for each in numbers]
        there = frozenset(files.names)
        segmented = any(_trimap(number) in there for number in numbers)
        mask = partial(_mask, files, there) if segmented else None
        return Contents(
            tuple(samples), lambda number: open_picture(files, _picture(number)), mask=mask, file=_picture
        )

    def where(self, sample: Sample) -> str:
        """The picture's number in the divisions."""
        return f"{SPLITS}, number {sample.reference}"

    def _numbers(self, files: DataFiles) -> list[int]:
        """The parts' picture numbers, ascending."""
        from scipy.io import loadmat

        path = files.path(SPLITS)
        try:
            document = loadmat(cast("Any", BytesIO(files.read(SPLITS))))  # its types name paths only
        except Exception as error:  # scipy may raise anything on a broken file
            raise UserError(f"{path}: is not a MATLAB file ({error}); get it again") from error
        found: list[int] = []
        for part in self.parts:
            if part not in document:
                known = ", ".join(name for name in document if not name.startswith("__"))
                raise UserError(f"{path}: has no part {part!r}; it has {known}; correct `parts`")
            found += _whole_numbers(document[part], f"{path}: part {part}")
        return sorted(found)


def _whole_numbers(values: object, where: str) -> list[int]:
    array = np.asarray(values)
    numbers = array.ravel() if array.dtype.kind in "iuf" else np.array([-1.0])
    if not np.isin(numbers, np.arange(1, CLASSES * PER_CLASS + 1)).all():
        raise UserError(f"{where}: expected numbers of pictures in 1..{CLASSES * PER_CLASS}; get it again")
    return [int(number) for number in numbers]


def _picture(number: int) -> str:
    return f"jpg/image_{number:04d}.jpg"


def _trimap(number: int) -> str:
    return f"trimaps/image_{number:04d}.png"


def _mask(files: DataFiles, there: frozenset[str], number: int) -> Mask | None:
    """The flower's pixels, or None for a picture without a trimap."""
    if _trimap(number) not in there:
        return None
    picture = open_picture(files, _picture(number))
    try:
        trimap = open_picture(files, _trimap(number))
        colours = np.asarray(trimap.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{_trimap(number)}: cannot be decoded ({error}); get the trimaps again") from error
    if trimap.size != picture.size:
        raise ImageError(
            f"{_trimap(number)}: is {trimap.size} where the picture is {picture.size}; get the trimaps again"
        )
    mask: Mask = (colours == _FLOWER).all(axis=2).astype(np.uint8)
    if not mask.any():
        raise ImageError(
            f"{_trimap(number)}: has no pixel of the flower's colour, RGB {_FLOWER}; get the trimaps again"
        )
    return mask
