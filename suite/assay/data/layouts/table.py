"""A CSV table of image files, labels and (where it has them) targets."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from assay.common.errors import UserError
from assay.data.files import (
    DataFiles,
    all_names,
    is_safe_name,
    pictures_among,
    stored_path,
    why_left_out,
)
from assay.data.layouts.base import Contents, FileName, Layout, Sample, file_contents, parse_label


class TableLayout(Layout):
    """One row per picture.

    Attributes:
        table: the CSV file, with a header.
        file_column: the column of image files.
        file_path: the file's relative path, ``{}`` standing for the column's text (``images/{}.png``).
        label_column: the column of class indices.
        target_column: the column of targets, or none.
        first_label: what the table calls class 0 (1 in tables that count from 1).
    """

    type: Literal["table"]
    table: FileName
    file_column: str = "file"
    file_path: str = "{}"
    label_column: str = "label"
    target_column: str | None = None
    first_label: int = 0

    def required(self) -> tuple[str, ...]:
        """The table."""
        return (self.table,)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The table and every file that it names."""
        if stored_path(folder, self.table) is None:
            return ()
        rows = self._rows(DataFiles(folder, (self.table,)))
        return tuple(sorted({self.table, *(sample.reference for sample in rows)}))

    def open(self, files: DataFiles) -> Contents:
        """One sample per row, in the table's order."""
        samples = list(self._rows(files))
        named = {sample.reference for sample in samples}
        listed = set(files.names) - {self.table}
        for name in sorted(named ^ listed):
            problem = (
                "is in the table but not in the manifest's `files`"
                if name in named
                else "has no row in the table"
            )
            raise UserError(f"{files.path(self.table)}: {name} {problem}; make them agree")
        return file_contents(files, samples)

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """The other pictures in the folders that the table names."""
        folders = {PurePosixPath(name).parent for name in files.names if name != self.table}
        there = [
            name for name in pictures_among(all_names(files.folder)) if PurePosixPath(name).parent in folders
        ]
        return why_left_out(files.folder, set(there) - set(files.names), "no row in the table")

    def where(self, sample: Sample) -> str:
        """The table and the row's file."""
        return f"{self.table}, the row of {sample.reference}"

    def _rows(self, files: DataFiles) -> Iterator[Sample]:
        where = files.path(self.table)
        reader = csv.DictReader(io.StringIO(files.read_text(self.table), newline=""))
        columns = [self.file_column, self.label_column, *([self.target_column] if self.target_column else [])]
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise UserError(
                    f"{where}: has no column {column!r}; it has {', '.join(reader.fieldnames or ['none'])}"
                )
        try:
            for row in reader:
                yield self._sample(row, f"{where}, line {reader.line_num}")
        except csv.Error as error:
            raise UserError(
                f"{where}, line {reader.line_num}: is not CSV ({error}); correct the table"
            ) from error

    def _sample(self, row: dict[str, str | None], where: str) -> Sample:
        name = self.file_path.replace("{}", row[self.file_column] or "")
        if not is_safe_name(name):
            raise UserError(
                f"{where}: the file {name!r} is not a relative path inside the data folder; correct it"
            )
        label = self._index(row[self.label_column], where)
        target = self._index(row[self.target_column], where) if self.target_column else None
        return Sample(name, label, target, name)

    def _index(self, text: str | None, where: str) -> int:
        return parse_label(text or "", where) - self.first_label
