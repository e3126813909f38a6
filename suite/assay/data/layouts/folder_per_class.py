"""One folder per class, with image files in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.common.errors import UserError
from assay.data.files import DataFiles, all_names, image_names, pictures_among, why_left_out
from assay.data.layouts.base import Contents, Layout, Names, Sample, file_contents

Labels = Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(min_length=1)]


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in ``folder``, sorted; hidden ones are left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


class FolderPerClass(Layout):
    """A picture's class is the name of the top folder that it is in.

    Attributes:
        classes: the folders' names in the order of class indices, as a list or as the name of a text file
            beside the manifest (one per line). Without it the folders present are numbered in sorted order. There must
            be as many as the manifest has classes, so that a missing one shifts no label.
        labels: instead, folder to class index; a folder that it does not name is left out, and counted.
        only: the pictures that are the data set, as FOLDER/FILE, as a list or as the name of a text file beside the
            manifest (one per line). Without it, all that are there.
    """

    type: Literal["folder-per-class"]
    classes: Names | None = None
    # Not in a dump where it is not given, so that older data sets keep their hash.
    labels: Annotated[Labels | None, Field(exclude_if=lambda value: value is None)] = None

    only: Annotated[Names | None, Field(exclude_if=lambda value: value is None)] = None

    @model_validator(mode="after")
    def _one_naming(self) -> Self:
        if self.classes is not None and self.labels is not None:
            raise ValueError("give `classes` or `labels`, not both")
        return self

    def declared_classes(self) -> int | None:
        """The number of ``classes``."""
        return None if self.classes is None else len(self.classes)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The image files in the class folders; files that are no images are not part of the data set."""
        if not folder.is_dir():
            return ()
        if self.only is not None:
            return tuple(sorted(self.only))
        present = class_folders(folder)
        if self.labels is not None:
            known = [name for name in present if name in self.labels]
        elif self.classes is not None:
            known = [name for name in self.classes if name in present]
            unknown = sorted(set(present) - set(known))
            if known and unknown:
                raise UserError(
                    f"{folder / unknown[0]}: no such class in the manifest; add it or move the folder away"
                )
        else:
            known = present
        return tuple(sorted(name for class_name in known for name in image_names(folder, class_name)))

    def open(self, files: DataFiles) -> Contents:
        """One sample per file, in the order of paths."""
        present = sorted({_class_of(name) for name in files.names})
        index = self.labels or {name: number for number, name in enumerate(self.classes or present)}
        samples = []
        for name in files.names:
            if _class_of(name) not in index:
                raise UserError(f"{name}: no class {_class_of(name)!r} in the manifest; add it to `classes`")
            samples.append(Sample(name, index[_class_of(name)], None, name))
        counted = self.classes is None and self.labels is None
        return file_contents(files, samples, classes_found=len(present) if counted else None)

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """All other files in the class folders, and the pictures in other folders or in none."""
        known = self.labels or dict.fromkeys(self.classes or class_folders(files.folder))
        others: dict[str, list[str]] = {}
        for name in sorted(set(all_names(files.folder)) - set(files.names)):
            place = _class_of(name)
            inside = place in known
            if inside or pictures_among([name]):
                others.setdefault("" if inside else place, []).append(name)
        found: dict[str, int] = {}
        for place, names in others.items():
            reason = f"folder {place!r} is no class" if place else "in no class folder"
            for why, count in why_left_out(files.folder, names, reason).items():
                found[why] = found.get(why, 0) + count
        return found


def _class_of(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""
