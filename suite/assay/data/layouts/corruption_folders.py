"""Corrupted pictures in folders: CORRUPTION/SEVERITY/CLASS/FILE, as ImageNet-C and ImageNet-3DCC are published."""

from pathlib import Path
from typing import Literal

from assay.common.errors import UserError
from assay.data.files import DataFiles, image_names
from assay.data.layouts.base import Contents, Layout, Names, Sample, file_contents
from assay.data.layouts.folder_per_class import class_folders

_SEVERITIES = ("1", "2", "3", "4", "5")


class CorruptionFolders(Layout):
    """A sample's id is its path, which begins with corruption and severity.

    Attributes:
        classes: the class folders' names in the order of class indices, as a list or as the name of a text file beside
            the manifest (one per line).
    """

    type: Literal["corruption-folders"]
    classes: Names

    def declared_classes(self) -> int | None:
        """The number of ``classes``."""
        return len(self.classes)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The image files in the folders 1 to 5 of every folder that has such; any other is no corruption."""
        if not folder.is_dir():
            return ()
        levels = [
            f"{corruption}/{severity}"
            for corruption in class_folders(folder)
            for severity in class_folders(folder / corruption)
            if severity in _SEVERITIES
        ]
        return tuple(name for level in levels for name in image_names(folder, level))

    def open(self, files: DataFiles) -> Contents:
        """One sample per file, in the order of paths.

        Raises:
            UserError: a file lies in no class folder that the manifest names.
        """
        index = {name: number for number, name in enumerate(self.classes)}
        samples = []
        for name in files.names:
            parts = name.split("/")
            if len(parts) < 4 or parts[2] not in index:
                raise UserError(
                    f"{files.path(name)}: does not lie in CORRUPTION/SEVERITY/CLASS with a class of the manifest; "
                    "move it away, or correct `classes`"
                )
            samples.append(Sample(name, index[parts[2]], None, name))
        return file_contents(files, samples)
