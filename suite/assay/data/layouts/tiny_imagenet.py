"""The public layout of Tiny-ImageNet-200, with its bounding boxes.

`wnids.txt` names the 200 classes. `train/WNID/images` holds a class's pictures and `train/WNID/WNID_boxes.txt` a
line for each: file name, x_min, y_min, x_max, y_max, tabs between them. `val/images` holds the validation
pictures and `val/val_annotations.txt` a line for each, with the WordNet id after the name.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from assay.common.errors import UserError
from assay.data.files import DataFiles, image_names, stored_path
from assay.data.layouts.base import Contents, Layout, Mask, Sample, open_picture
from assay.data.pixels import ImageError

CLASSES, ANNOTATIONS = "wnids.txt", "val/val_annotations.txt"

Box = tuple[int, int, int, int]
"""x_min, y_min, x_max, y_max in pixels, both ends inside."""


class TinyImageNet(Layout):
    """A class's index is its place among the sorted WordNet ids; a picture's mask is its bounding box.

    Attributes:
        split: train or val (the test pictures carry no labels).
    """

    type: Literal["tiny-imagenet"]
    split: Literal["train", "val"]

    def required(self) -> tuple[str, ...]:
        """The class list, and the annotations of the validation pictures."""
        return (CLASSES,) if self.split == "train" else (CLASSES, ANNOTATIONS)

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The tables and the pictures; () where there are no pictures."""
        if stored_path(folder, CLASSES) is None:
            return ()
        tables = list(self.required())
        if self.split == "train":
            classes = _classes(DataFiles(folder, (CLASSES,)))
            tables += [_box_table(wnid) for wnid in classes]
            pictures = [name for wnid in classes for name in image_names(folder, f"train/{wnid}/images")]
        else:
            pictures = image_names(folder, "val/images")
        return tuple(sorted([*tables, *pictures])) if pictures else ()

    def open(self, files: DataFiles) -> Contents:
        """One sample per picture, in the order of paths; every picture needs its line and every line its picture."""
        labels = {wnid: label for label, wnid in enumerate(_classes(files))}
        found = dict(self._train(files, labels) if self.split == "train" else _val(files, labels))
        tables = {CLASSES, ANNOTATIONS, *map(_box_table, labels)}
        for name in sorted(set(found) ^ (set(files.names) - tables)):
            problem = "has a box but is missing" if name in found else "has no line in its box table"
            raise UserError(f"{files.folder}: the image {name} {problem}; get the data set again")
        samples = [Sample(name, found[name][0], None, name) for name in sorted(found)]
        boxes = {name: box for name, (_, box) in found.items()}
        return Contents(
            tuple(samples), partial(open_picture, files), mask=partial(_mask, files, boxes), file=str
        )

    def left_out(self, files: DataFiles, samples: Sequence[Sample]) -> Mapping[str, int]:
        """Files in the split's picture folders that are no pictures."""
        return files.left_out("outside a folder of pictures", self.split)

    @staticmethod
    def _train(files: DataFiles, labels: dict[str, int]) -> Iterator[tuple[str, tuple[int, Box]]]:
        for wnid, label in labels.items():
            table = _box_table(wnid)
            for where, words in _lines(files, table, 5):
                yield f"train/{wnid}/images/{words[0]}", (label, _box(words[1:], where))


def _val(files: DataFiles, labels: dict[str, int]) -> Iterator[tuple[str, tuple[int, Box]]]:
    for where, words in _lines(files, ANNOTATIONS, 6):
        if words[1] not in labels:
            raise UserError(f"{where}: the class {words[1]!r} is not in {CLASSES}; get the data set again")
        yield f"val/images/{words[0]}", (labels[words[1]], _box(words[2:], where))


def _classes(files: DataFiles) -> list[str]:
    """The WordNet ids, sorted."""
    names = files.read_text(CLASSES).split()
    for name in names:
        if not (name.startswith("n") and name[1:].isdecimal()):
            raise UserError(f"{files.path(CLASSES)}: {name!r} is not a WordNet id; get the data set again")
    return sorted(set(names))


def _box_table(wnid: str) -> str:
    return f"train/{wnid}/{wnid}_boxes.txt"


def _lines(files: DataFiles, name: str, columns: int) -> Iterator[tuple[str, list[str]]]:
    """Each line's place and its words."""
    for number, line in enumerate(files.read_text(name).splitlines(), start=1):
        where, words = f"{files.path(name)}, line {number}", line.split()
        if len(words) != columns:
            raise UserError(
                f"{where}: has {len(words)} columns where {columns} should stand; get the data set again"
            )
        yield where, words


def _box(words: list[str], where: str) -> Box:
    if not all(word.isdecimal() for word in words):
        raise UserError(
            f"{where}: the box {' '.join(words)!r} is not four whole numbers; get the data set again"
        )
    left, top, right, bottom = (int(word) for word in words)
    if left > right or top > bottom:
        raise UserError(f"{where}: the box {' '.join(words)!r} ends before it begins; get the data set again")
    return left, top, right, bottom


def _mask(files: DataFiles, boxes: dict[str, Box], name: str) -> Mask:
    """The box, cut off at the picture's edge."""
    width, height = open_picture(files, name).size
    left, top, right, bottom = boxes[name]
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top : bottom + 1, left : right + 1] = 1
    if not mask.any():
        raise ImageError(
            f"its box {boxes[name]} lies outside its {width} x {height} pixels; get the data set again"
        )
    return mask
