"""One folder of image files, and a text file of their labels."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from assay.common.errors import UserError
from assay.data.files import DataFiles, image_names, stored_path
from assay.data.layouts.base import Contents, FileName, Layout, Names, Sample, file_contents, parse_label


class FlatWithLabels(Layout):
    """A line of ``labels`` is a file's name, spaces, and its class.

    Attributes:
        labels: the text file.
        images: the folder of the image files; without it, the data folder itself.
        classes: names in the order of class indices (a list, or a text file beside the manifest); a label may
            then be a name instead of an index.
    """

    type: Literal["flat-with-labels"]
    labels: FileName
    images: FileName | None = None
    classes: Names | None = None

    def required(self) -> tuple[str, ...]:
        """The label file."""
        return (self.labels,)

    def declared_classes(self) -> int | None:
        """The number of ``classes``."""
        return None if self.classes is None else len(self.classes)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The label file and the image files; () where there are no images."""
        if stored_path(folder, self.labels) is None:
            return ()
        images = image_names(folder, self.images or ".")
        return tuple(sorted([self.labels, *images])) if images else ()

    def open(self, files: DataFiles) -> Contents:
        """One sample per file, in the order of names; every file needs its line and every line its file."""
        where = files.path(self.labels)
        samples = sorted(self._lines(files), key=lambda sample: sample.unit_id)
        labelled = {sample.reference for sample in samples}
        present = set(files.names) - {self.labels}
        for name in sorted(labelled ^ present):
            problem = "has a label but is missing" if name in labelled else "has no label"
            raise UserError(f"{where}: the image {name} {problem}; make the folder and the label file agree")
        return file_contents(files, samples)

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """The other pictures among the images."""
        return files.left_out("no label", self.images or ".")

    def where(self, sample: Sample) -> str:
        """The label file and the image's name."""
        return f"{self.labels}, the line of {sample.reference}"

    def _lines(self, files: DataFiles) -> Iterator[Sample]:
        prefix = f"{self.images}/" if self.images else ""
        classes = {name: index for index, name in enumerate(self.classes or ())}
        for number, line in enumerate(files.read_text(self.labels).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{files.path(self.labels)}, line {number}"
            parts = line.rsplit(maxsplit=1)
            if len(parts) != 2:
                raise UserError(f"{where}: expected a file's name and its label, found {line.strip()!r}")
            name = prefix + parts[0].strip()
            yield Sample(name, parse_label(parts[1], where, classes), None, name)
