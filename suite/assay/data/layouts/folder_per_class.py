"""One folder a class, image files in it."""

from pathlib import Path
from typing import Literal

from assay.data.files import DataFiles, image_names
from assay.data.layouts.base import Contents, Layout, Names, Sample, file_contents
from assay.errors import UserError


class FolderPerClass(Layout):
    """A picture's class is the name of the top folder that it is in.

    Attributes:
        classes: the folders' names in the order of class indices, as a list or as the name of a text file
            beside the manifest (one a line). Without it the folders present are counted off in sorted order,
            and there must be as many as the manifest has classes, so that a missing one shifts no label.
    """

    type: Literal["folder-per-class"]
    classes: Names | None = None

    def declared_classes(self) -> int | None:
        """The number of ``classes``."""
        return None if self.classes is None else len(self.classes)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The image files in the class folders; files that are no images are not part of the data set."""
        if not folder.is_dir():
            return ()
        present = sorted(
            path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
        known = (
            present if self.classes is None else [name for name in self.classes if (folder / name).is_dir()]
        )
        unknown = sorted(set(present) - set(known))
        if known and unknown:
            raise UserError(
                f"{folder / unknown[0]}: no such class in the manifest; add it or move the folder away"
            )
        return tuple(sorted(name for class_name in known for name in image_names(folder, class_name)))

    def open(self, files: DataFiles) -> Contents:
        """One sample a file, in the order of paths."""
        present = sorted({_class_of(name) for name in files.names})
        index = {name: number for number, name in enumerate(self.classes or present)}
        samples = []
        for name in files.names:
            if _class_of(name) not in index:
                raise UserError(f"{name}: no class {_class_of(name)!r} in the manifest; add it to `classes`")
            samples.append(Sample(name, index[_class_of(name)], None, name))
        return file_contents(files, samples, classes_found=None if self.classes else len(present))


def _class_of(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""
