"""Labelled pictures beside the shapes, to fit a network's temperature on. No torch."""

from dataclasses import dataclass, field, replace

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.data.dataset import Dataset
from assay.tasks.srvr.shapes import ShapeSet


@dataclass(frozen=True)
class FittingPictures:
    """A data set that is known by its hash."""

    sha256: str
    dataset: Dataset = field(compare=False)


def with_labelled(shapes: ShapeSet, labelled: Dataset) -> ShapeSet:
    """The same shapes with labelled pictures; the hash of the whole covers them.

    Raises:
        UserError: the pictures' labels are not the shapes'.
    """
    wanted, found = shapes.manifest.label_space, labelled.manifest.label_space
    if wanted != found:
        raise UserError(
            f"labelled: the labels of {labelled.manifest.name} are {found}, those of the shapes "
            f"{shapes.manifest.name} are {wanted}; name labelled pictures of {wanted}"
        )
    both = canonical_sha256({"shapes": shapes.sha256, "labelled": labelled.sha256})
    return replace(shapes, sha256=both, labelled=labelled)
