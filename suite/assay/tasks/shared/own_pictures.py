"""A user's own folder of pictures, one folder per class, as a data set for one model: no YAML is written."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.data.manifest import DataManifest
    from assay.models.class_names import ClassNames
    from assay.models.info import ModelInfo

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class OwnFolder:
    """A folder, and the facts of a model that decide how its pictures are read and labelled.

    Attributes:
        path: the folder, as the user names it: its pictures may be asked for corrupted.
        model: the model's name, for messages.
        label_space: of the model's logits.
        num_classes: how many there are.
        channels: of the model's input; a network of one channel sees colour pictures in grey.
        names: what its classes are called, or None where nobody says.
    """

    path: str
    model: str
    label_space: str
    num_classes: int
    channels: int
    names: "ClassNames | None"


def own_folder(path: str, info: "ModelInfo") -> OwnFolder:
    """``path`` as a model with this card reads it."""
    from assay.models.class_names import class_names
    from assay.models.info import IMAGENET, UNSTATED

    names = class_names(info)
    # Only networks of 1,000 classes have names although neither they nor their label space state them.
    taken_for_imagenet = names is not None and not info.classes and info.label_space == UNSTATED
    space = IMAGENET if taken_for_imagenet else info.label_space
    return OwnFolder(path, info.name, space, info.num_classes, info.input_shape[0], names)


def open_pictures(data: str, info: "ModelInfo", roots: Sequence[Path] = ()) -> "Dataset":
    """The pictures that ``--data`` names for a model: a data set by name, a manifest, or a folder of class folders.

    Raises:
        UserError: there is no such thing, or its files or folders are not what they should be.
    """
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    if not is_folder(data):
        return open_dataset(load_manifest(data), roots)
    opened = open_own(own_folder(data, info))
    opened.manifest.require_labels()
    return opened


def is_folder(data: str) -> bool:
    """Whether ``--data`` names a folder; else it names a data set or a manifest, if that is there.

    Raises:
        UserError: it names neither.
    """
    from assay.data.corrupting.corruption import split_name
    from assay.data.manifest import list_manifests

    data, _ = split_name(data)
    if Path(data).is_dir():
        return True
    known = list_manifests()
    if data not in known and not Path(data).is_file():
        nearest = difflib.get_close_matches(data, known, n=3, cutoff=0.6)
        hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
        raise UserError(
            f"no such folder or manifest, and unknown data set {data!r}{hint} (give a folder with one folder per "
            "class, or a name of `assay list data`)"
        )
    return False


def absolute(data: str) -> str:
    """What ``--data`` names, a manifest's path made absolute: a spec's own folder is no start for what a user types."""
    from assay.data.corrupting.corruption import split_name

    plain, corruption = split_name(data)
    if not Path(plain).is_file():
        return data
    return str(Path(plain).resolve()) + (corruption.suffix if corruption else "")


def open_own(own: OwnFolder) -> "Dataset":
    """The folder's pictures, labelled by its folders' names; without labels where it has pictures and no folders.

    Raises:
        UserError: it has neither, no class folder has a picture, or a name means no class or two.
    """
    from assay.data.corrupting.corruption import split_name
    from assay.data.dataset import open_files
    from assay.data.files import DataFiles
    from assay.data.layouts.folder_per_class import class_folders

    path, corruption = split_name(own.path)
    folder = Path(path)
    try:
        labels = _labels(folder, own) if class_folders(folder) else {}
        manifest = _manifest(folder, own, labels)
        manifest = manifest if corruption is None else manifest.corrupted(corruption)
        files = DataFiles(folder, manifest.layout.discover(folder))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    if not files.names and not labels:
        raise UserError(f"{folder}: has no folders; put the pictures of each class into a folder of its name")
    if not files.names:
        raise UserError(f"{folder}: the class folders {_some(list(labels))} have no picture; put some in")
    data = open_files(manifest, files)
    there = {name.split("/", 1)[0] for name in files.names}
    classes = {name: index for name, index in labels.items() if name in there}
    return replace(data, facts=replace(data.facts, classes=classes))


def _labels(folder: Path, own: OwnFolder) -> dict[str, int]:
    """Class folder to class index."""
    from assay.data.layouts.folder_per_class import class_folders

    present = class_folders(folder)
    if own.names is None:
        return _counted_off(folder, present, own)
    found = {name: own.names.classes_of(name) for name in present}
    for name, classes in found.items():
        if len(classes) > 1:
            meant = " or ".join(
                f"{index} ({', '.join(own.names.first[index])})" for index in classes[:_SHOWN]
            )
            raise UserError(
                f"{folder / name}: its name fits several classes, {meant}; rename it to tell which"
            )
    labels = {name: classes[0] for name, classes in found.items() if classes}
    if not labels:
        known = _some([names[-1] for names in own.names.first])
        raise UserError(
            f"{folder}: no folder is named like a class of {own.model} ({own.label_space}): there are "
            f"{_some(present)}; rename them to class names such as {known}, or say in a model card which classes a "
            "folder stands for (`superclasses`, docs/cookbook/own-pictures.md)"
        )
    return labels


def _counted_off(folder: Path, present: list[str], own: OwnFolder) -> dict[str, int]:
    """Labels of folders where classes have no names: numbered as ImageFolder does, or by class numbers."""
    numbers = [int(name) for name in present if name.isascii() and name.isdecimal()]
    all_numbers = len(numbers) == len(present)
    if len(present) == own.num_classes:
        if all_numbers and numbers != sorted(numbers):
            raise UserError(
                f"{folder}: are its folders {_some(present)} numbers of classes, or counted off in alphabetical order? "
                f"Write the numbers with leading zeros (such as {numbers[0]:04d}), so that both are the same"
            )
        return {name: index for index, name in enumerate(present)}
    if all_numbers and max(numbers) < own.num_classes:
        return dict(zip(present, numbers, strict=True))
    raise UserError(
        f"{folder}: has {len(present)} folders ({_some(present)}) where {own.model} has {own.num_classes} classes, "
        "whose names it does not say; give one folder per class, name them by class numbers from 0, or say the names "
        "as the model's `classes`"
    )


def _manifest(folder: Path, own: OwnFolder, labels: dict[str, int]) -> "DataManifest":
    from assay.common.validation import validate
    from assay.data.manifest import DataManifest

    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._") or "pictures"
    grey = {"channels": 1, "to_grey": "convert"} if own.channels == 1 else {}
    document = {
        "schema": 1,
        "name": name,
        "title": f"Own pictures: folder {name}",
        "label_space": own.label_space,
        "num_classes": own.num_classes,
        "licence": "unstated",
        "source": "the user's own folder",
        "get": "ask its owner",
        "layout": {"type": "folder-per-class", "labels": labels} if labels else {"type": "unlabelled"},
        "files": "unlisted",
        **grey,
    }
    return validate(DataManifest, document, f"{own.model} on {folder}")


def _some(names: Sequence[str]) -> str:
    """The first few of ``names``, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
