"""Pictures that nobody has labelled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from assay.data.files import DataFiles, all_names, image_names, why_left_out
from assay.data.layouts.base import UNLABELLED, Contents, Layout, Sample, file_contents


class Unlabelled(Layout):
    """All image files in a folder; what they show, no one says. Folders inside of it are left out."""

    type: Literal["unlabelled"]

    @property
    def labelled(self) -> bool:
        """No."""
        return False

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The image files; others are not part of the data set."""
        return tuple(name for name in image_names(folder, ".") if "/" not in name) if folder.is_dir() else ()

    def open(self, files: DataFiles) -> Contents:
        """One sample per file, in the order of names."""
        return file_contents(files, [Sample(name, UNLABELLED, None, name) for name in files.names])

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """All other files."""
        others = sorted(set(all_names(files.folder)) - set(files.names))
        return why_left_out(files.folder, others, "in a folder inside")
