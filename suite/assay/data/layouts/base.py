"""What every layout does: from a folder's files to samples and their pictures."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from pydantic import AfterValidator, Field

from assay.common.errors import UserError
from assay.common.validation import StrictModel
from assay.data.files import DataFiles, is_safe_name
from assay.data.pixels import ImageError


def _safe(name: str) -> str:
    if not is_safe_name(name):
        raise ValueError("expected a relative path with forward slashes and without `..`")
    return name


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"expected distinct names, but {name!r} occurs twice")
        seen.add(name)
    return names


FileName = Annotated[str, AfterValidator(_safe)]
# YAML has lists only; strict models would refuse them as tuples.
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1), AfterValidator(_distinct)]


# Left out of the hash where it says nothing: all rows are the data set that they were before there were parts.
Rows = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]] | None,
    Field(strict=False, exclude_if=lambda rows: rows is None),
]
"""The first row of a part, counted from 0, and the row after its last; None for all rows."""

UNLABELLED = -1
"""The label of a picture that has none; only a layout without labels gives it."""


class Sample(NamedTuple):
    """One picture.

    Attributes:
        unit_id: stable and unique in its data set.
        label: 0-based class index, or :data:`UNLABELLED`.
        target: 0-based class that a targeted attack aims at, where the data set names one.
        reference: how the layout finds the picture; opaque to everyone else.
        concepts: all that the picture shows, ascending, where the data set says so; ``label`` is then the first.
    """

    unit_id: str
    label: int
    target: int | None
    reference: Any
    concepts: tuple[int, ...] = ()


Mask = npt.NDArray[np.uint8]
"""(H, W), 1 inside a picture's object and 0 outside."""


@dataclass(frozen=True)
class Contents:
    """What a layout found.

    Attributes:
        samples: in a stable order.
        picture: a sample's reference to its picture; raises ImageError.
        classes_found: how many classes there are, where labels are numbers of the folders that are there.
        mask: a sample's reference to where its object is, or None for a sample without; raises ImageError. None
            where the data set says so of no sample.
        file: a sample's reference to the name of its picture's own file; None where pictures share files.
    """

    samples: tuple[Sample, ...]
    picture: Callable[[Any], Image.Image]
    classes_found: int | None = None
    mask: Callable[[Any], Mask | None] | None = None
    file: Callable[[Any], str] | None = None


class Layout(StrictModel, ABC):
    """How files hold pictures; subclasses add ``type`` and their keys."""

    @property
    def labelled(self) -> bool:
        """Whether its pictures have labels."""
        return True

    def required(self) -> tuple[str, ...]:
        """The files without which there is no such data set."""
        return ()

    def declared_classes(self) -> int | None:
        """How many classes the layout itself names; None where it names none."""
        return None

    def discover(self, folder: Path) -> tuple[str, ...]:
        """All files of the data set in ``folder``, sorted, where no manifest lists them; () if none is there.

        Raises:
            UserError: a file that names the others cannot be understood.
        """
        return tuple(sorted(self.required())) if folder.is_dir() else ()

    @abstractmethod
    def open(self, files: DataFiles) -> Contents:
        """The samples in ``files``.

        Raises:
            UserError: a file is not what the layout says.
        """

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """How many pictures in the folder are no samples, by reason; asked where no manifest lists the files."""
        return {}

    def where(self, sample: Sample) -> str:
        """The place of a sample's label, for messages."""
        return f"{sample.reference}"


def open_picture(files: DataFiles, name: str) -> Image.Image:
    """The image file ``name``, not yet decoded.

    Raises:
        ImageError: it is missing or no image format.
    """
    try:
        return Image.open(io.BytesIO(files.read(name)))
    except UserError as error:
        raise ImageError(str(error)) from error
    except UnidentifiedImageError as error:
        raise ImageError("is not an image file of a known format; replace the file") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"cannot be opened ({error}); replace the file") from error


def file_contents(files: DataFiles, samples: Sequence[Sample], classes_found: int | None = None) -> Contents:
    """Contents whose references are names of image files."""
    return Contents(tuple(samples), partial(open_picture, files), classes_found, file=str)


def array_contents(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> Contents:
    """Contents in arrays; a sample's id is its zero-padded row.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        labels: integers (N,).
    """
    width = max(5, len(str(len(labels) - 1)))
    samples = (Sample(f"{row:0{width}d}", int(label), None, row) for row, label in enumerate(labels))
    return Contents(tuple(samples), partial(_array_picture, images))


def part(contents: Contents, rows: tuple[int, int] | None, where: Path) -> Contents:
    """The samples of some rows alone; each keeps its id.

    Args:
        contents: one sample per row.
        rows: of :data:`Rows`.
        where: the file, for messages.

    Raises:
        UserError: there are no such rows.
    """
    if rows is None:
        return contents
    first, after = rows
    count = len(contents.samples)
    if not first < after <= count:
        raise UserError(
            f"{where}: the manifest's `rows` are [{first}, {after}] of {count}; name the first row, from 0, and the "
            "one after the last"
        )
    return replace(contents, samples=contents.samples[first:after])


def _array_picture(images: npt.NDArray[np.uint8], row: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(images[row]))


def parse_label(text: str, where: str, classes: Mapping[str, int] | None = None) -> int:
    """A label written as a whole number, or as a name in ``classes``.

    Raises:
        UserError: it is neither.
    """
    if classes and text in classes:
        return classes[text]
    try:
        return int(text)
    except ValueError:
        names = " or a class that the manifest names" if classes else ""
        raise UserError(f"{where}: the label is {text!r}; expected a whole number{names}") from None
