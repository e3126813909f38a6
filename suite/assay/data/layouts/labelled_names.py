"""Image files whose names hold their labels."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from assay.common.errors import UserError
from assay.data.files import DataFiles, image_names
from assay.data.layouts.base import Contents, Layout, Sample, file_contents, parse_label


def _with_label_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from error
    if "label" not in groups:
        raise ValueError("expected a regular expression with a group (?P<label>…)")
    return pattern


class LabelledNames(Layout):
    """``pattern`` matches a file's whole relative name; its group ``label`` is the class index."""

    type: Literal["labelled-names"]
    pattern: Annotated[str, AfterValidator(_with_label_group)]

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The image files whose names match."""
        return tuple(name for name in image_names(folder) if re.fullmatch(self.pattern, name))

    def open(self, files: DataFiles) -> Contents:
        """One sample per file, in the order of names."""
        return file_contents(files, [self._sample(name) for name in files.names])

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """The other pictures in the folder."""
        return files.left_out("name does not match the pattern")

    def _sample(self, name: str) -> Sample:
        match = re.fullmatch(self.pattern, name)
        if match is None:
            raise UserError(
                f"{name}: does not match the layout's pattern {self.pattern!r}; correct one of them"
            )
        return Sample(name, parse_label(match["label"], name), None, name)
