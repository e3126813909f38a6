"""The public layout of Broden (Bau et al., Network Dissection): pictures with several concepts each.

A folder holds `index.csv` (one row per image, one column per category), `label.csv` (number, name) and `images/`. An
entry of a category column is a list separated by semicolons. A number labels the whole image. A file name is a mask
under `images/` whose pixels hold the label number as red + 256 x green, 0 for none.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from assay.common.errors import UserError
from assay.data.files import DataFiles, stored_path
from assay.data.layouts.base import Contents, Layout, Names, Sample, file_contents, open_picture

INDEX, LABELS = "index.csv", "label.csv"


class Broden(Layout):
    """A concept's index is its label number minus one; a picture that shows no concept is left out.

    Attributes:
        categories: the categories whose labels are concepts.
    """

    type: Literal["broden"]
    categories: Names = ("object", "part", "texture")

    def required(self) -> tuple[str, ...]:
        """The two tables."""
        return (INDEX, LABELS)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The tables, the pictures that have an entry in the categories, and the masks."""
        if stored_path(folder, INDEX) is None:
            return ()
        files = DataFiles(folder, self.required())
        named = {name for row in self._rows(files) for name in (_picture(row), *self._masks(row))}
        return tuple(sorted({*self.required(), *named}))

    def open(self, files: DataFiles) -> Contents:
        """One sample per picture, in the index's order."""
        names = {_number(row["number"], LABELS) for row in _read_table(files, LABELS, ["number", "name"])}
        samples = []
        for row in self._rows(files):
            concepts = self._concepts(row, files)
            nameless = sorted(concepts - names)
            if nameless:
                raise UserError(
                    f"image {row['image']}: has label {nameless[0]}, which {LABELS} does not name"
                )
            if concepts:
                indices = tuple(number - 1 for number in sorted(concepts))
                samples.append(Sample(row["image"], indices[0], None, _picture(row), indices))
        return file_contents(files, samples)

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """The index's pictures that show no concept."""
        without = len(self._all_rows(files)) - len(samples)
        return {f"shows no {' or '.join(self.categories)}": without} if without else {}

    def _rows(self, files: DataFiles) -> Iterator[dict[str, str]]:
        rows = self._all_rows(files)
        return (row for row in rows if any(row[category] for category in self.categories))

    def _all_rows(self, files: DataFiles) -> list[dict[str, str]]:
        return _read_table(files, INDEX, ["image", *self.categories])

    def _entries(self, row: dict[str, str]) -> list[str]:
        return [item for category in self.categories for item in row[category].split(";") if item]

    def _masks(self, row: dict[str, str]) -> list[str]:
        return [f"images/{item}" for item in self._entries(row) if not item.isdecimal()]

    def _concepts(self, row: dict[str, str], files: DataFiles) -> set[int]:
        """The label numbers of one row, 0 (unlabelled) left out."""
        found = {int(item) for item in self._entries(row) if item.isdecimal()}
        return found.union(*(_mask_labels(files, name) for name in self._masks(row))) - {0}


def _picture(row: dict[str, str]) -> str:
    return f"images/{row['image']}"


def _read_table(files: DataFiles, name: str, columns: list[str]) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(files.read_text(name), newline=""))
    missing = [column for column in columns if column not in (table.fieldnames or ())]
    if missing:
        raise UserError(
            f"{files.path(name)}: has no column '{missing[0]}'; is this folder in Broden's layout?"
        )
    return list(table)


def _number(text: str, table: str) -> int:
    if not text.isdecimal():
        raise UserError(f"{table}: has '{text}' where a label number should stand; get the data set again")
    return int(text)


def _mask_labels(files: DataFiles, name: str) -> set[int]:
    pixels = np.asarray(open_picture(files, name).convert("RGB"), dtype=np.int64)
    return set(np.unique(pixels[..., 0] + 256 * pixels[..., 1]).tolist())
