"""Reader of the Broden data set's public layout (Bau et al., Network Dissection).

A folder holds `index.csv` (one row an image; a column a category), `label.csv` (number, name), a table
`c_<category>.csv` for each category (the numbers it uses) and `images/`. An entry of a category column is a
list separated by semicolons: a number labels the whole image, a file name is a mask under `images/` whose
pixels hold the label number as red + 256 x green, 0 for none.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from assay.errors import UserError

CATEGORIES = ("object", "part", "texture")


@dataclass(frozen=True)
class BrodenImage:
    """One image and what it contains.

    Attributes:
        path: of the image file.
        split: `train` or `val`.
        concepts: ascending indices into `Broden.concepts`.
    """

    path: Path
    split: str
    concepts: tuple[int, ...]


@dataclass(frozen=True)
class Broden:
    """Concept names in ascending label number, and the images that have any of them, in index order."""

    concepts: tuple[str, ...]
    images: tuple[BrodenImage, ...]


def read_broden(root: Path, categories: Sequence[str] = CATEGORIES) -> Broden:
    """Read a folder in Broden's layout.

    Args:
        root: the folder that holds `index.csv`.
        categories: the categories whose labels are concepts.

    Raises:
        UserError: a table, column, mask or label is missing or malformed; the message names it.
    """
    rows = _read_table(root / "index.csv", ["image", "split", *categories])
    names = {
        _number(row["number"], root / "label.csv"): row["name"]
        for row in _read_table(root / "label.csv", ["number", "name"])
    }
    numbers = sorted(set().union(*(_category_numbers(root, category) for category in categories)))
    nameless = [number for number in numbers if number not in names]
    if nameless:
        raise UserError(f"{root / 'label.csv'} has no name for label {nameless[0]} of a category table")
    order = {number: index for index, number in enumerate(numbers)}
    images = []
    for row in rows:
        found = set().union(*(_labels(root, row[category]) for category in categories))
        stray = sorted(found - order.keys())
        if stray:
            raise UserError(f"image {row['image']} of {root} has label {stray[0]}, in no category table")
        if found:
            concepts = tuple(sorted(order[number] for number in found))
            images.append(BrodenImage(root / "images" / row["image"], row["split"], concepts))
    return Broden(tuple(names[number] for number in numbers), tuple(images))


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [column for column in columns if column not in (table.fieldnames or ())]
            if missing:
                raise UserError(f"{path} has no column '{missing[0]}'; is this folder in Broden's layout?")
            return list(table)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); is this Broden's folder?") from error


def _number(text: str, path: Path) -> int:
    if not text.isdecimal():
        raise UserError(f"{path} has '{text}' where a label number should stand")
    return int(text)


def _category_numbers(root: Path, category: str) -> set[int]:
    path = root / f"c_{category}.csv"
    return {_number(row["number"], path) for row in _read_table(path, ["number"])}


def _labels(root: Path, entry: str) -> set[int]:
    """The label numbers of one cell of the index, 0 (unlabelled) left out."""
    found: set[int] = set()
    for item in filter(None, entry.split(";")):
        found |= {int(item)} if item.isdecimal() else _mask_labels(root / "images" / item)
    return found - {0}


def _mask_labels(path: Path) -> set[int]:
    try:
        with Image.open(path) as mask:
            pixels = np.asarray(mask.convert("RGB"), dtype=np.int64)
    except OSError as error:
        raise UserError(
            f"concept mask {path} is missing or not an image; fetch the data set again"
        ) from error
    return set(np.unique(pixels[..., 0] + 256 * pixels[..., 1]).tolist())
