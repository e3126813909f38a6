"""What every family over labelled images needs: the data set, its units, and whether a model speaks its labels."""

from typing import TYPE_CHECKING

from assay.data.dataset import Dataset, open_dataset
from assay.data.manifest import load_manifest
from assay.tasks.base import DataSource, Unit

if TYPE_CHECKING:
    from assay.models.info import ModelInfo

UNKNOWN_LABELS = "unknown"  # the label space of a user's own model that does not declare one


def open_images(source: DataSource) -> Dataset:
    """The data set that a spec names.

    Raises:
        UserError: unknown manifest, missing or altered files, labels outside the label space.
    """
    return open_dataset(load_manifest(source.manifest, source.relative_to), source.roots)


def image_units(data: Dataset) -> list[Unit]:
    """One unit an image, in the data set's order."""
    return [Unit(sample.unit_id, sample) for sample in data.samples]


def label_space_mismatch(model: "ModelInfo", data: Dataset) -> str | None:
    """Why a model cannot be scored against these labels, or None.

    A model that does not declare its label space is taken at its number of classes.
    """
    wanted, classes = data.manifest.label_space, data.manifest.num_classes
    if model.label_space not in (wanted, UNKNOWN_LABELS):
        return f"the data's labels are {wanted}, the model's are {model.label_space}"
    if model.num_classes != classes:
        return f"the data have {classes} classes, the model has {model.num_classes}"
    return None
