"""What every family over labelled images needs: where data are looked for, and whether a model speaks their labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from assay.common.errors import UserError
from assay.models.foreign import NOBODY, NamePolicy

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.data.manifest import DataManifest
    from assay.models.info import ModelInfo
    from assay.tasks.shared.own_pictures import OwnFolder


@dataclass(frozen=True)
class DataSource:
    """Where a spec's data are looked for.

    Attributes:
        manifest: its name or path.
        relative_to: the spec's own folder.
        roots: the data roots.
        own: the user's own folder of pictures instead of a manifest.
        trust: how far the names of models in the spec are followed.
    """

    manifest: str
    relative_to: Any
    roots: tuple[Any, ...]
    own: "OwnFolder | None" = None
    trust: NamePolicy = NOBODY


class Labelled(Protocol):
    """Data with a manifest that says what the labels mean."""

    @property
    def manifest(self) -> "DataManifest":
        """What the data are."""
        ...


def open_images(source: DataSource) -> "Dataset":
    """The data set that a spec names, or the user's own folder.

    Raises:
        UserError: unknown manifest, missing or altered files, labels outside the label space, folders of no class.
    """
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    if source.own is not None:
        from assay.tasks.shared.own_pictures import open_own

        return open_own(source.own)
    return open_dataset(load_manifest(source.manifest, source.relative_to), source.roots, unlabelled=True)


def label_space_mismatch(model: "ModelInfo", data: Labelled) -> str | None:
    """Why a model cannot be scored against these labels, or None.

    A model that does not declare its label space is taken at its number of classes.

    Raises:
        UserError: the model declares the data's label space, but has another number of classes.
    """
    from assay.models.info import UNSTATED

    wanted, classes = data.manifest.label_space, data.manifest.num_classes
    if model.label_space not in (wanted, UNSTATED):
        return f"the data's labels are {wanted}, the model's are {model.label_space}"
    if model.num_classes != classes and model.label_space == wanted:
        raise UserError(
            f"model {model.name}: returns {model.num_classes} logits, but its label space {wanted} has "
            f"{classes} classes; correct its last layer or its `label_space`"
        )
    if model.num_classes != classes:
        return f"the data have {classes} classes, the model has {model.num_classes}"
    return None


def refuse_unfit(model: "ModelInfo", data: Any) -> None:
    """Refuse a network that takes none of three pictures: the first, one in the middle and the last.

    Data that are no pictures are passed over; a picture that cannot be read is its unit's own error.

    Raises:
        UserError: what the network says of the first of them.
    """
    from assay.data.dataset import Dataset
    from assay.data.pixels import ImageError
    from assay.models.pictures import prepared

    samples = data.samples if isinstance(data, Dataset) else ()
    refusals = []
    for place in sorted({0, len(samples) // 2, len(samples) - 1}) if samples else ():
        try:
            prepared(data.image(samples[place]), model.preprocessing, model.name)
        except ImageError:
            continue
        except UserError as error:
            refusals.append(error)
        else:
            return
    if refusals:
        raise refusals[0]
