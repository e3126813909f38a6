"""The images of a recipe: chosen, prepared, and handed out in batches."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.fields import identity_of
from assay.data.dataset import Dataset, Sample, open_dataset
from assay.data.manifest import load_manifest
from assay.models.info import Preprocessing
from assay.models.pictures import prepared
from assay.training.recipe import Recipe, Selection

MEMORY_BYTES = 2 * 2**30  # larger sets are decoded batch by batch


@dataclass
class TrainingPictures:
    """Some of a data set's images at a network's size.

    Attributes:
        dataset: where they come from.
        selection: which of them.
        samples: in the data set's order.
        labels: (N,) int64.
        levels: pixels are rounded to multiples of 1/levels (:class:`assay.training.recipe.Input`).
    """

    dataset: Dataset
    selection: Selection
    samples: tuple[Sample, ...]
    preprocessing: Preprocessing
    labels: Tensor
    device: torch.device
    levels: int | None = None
    _kept: Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def sha256(self) -> str:
        """Of the data and the choice."""
        return canonical_sha256([self.dataset.sha256, identity_of(self.selection)])

    def images(self, rows: Tensor) -> Tensor:
        """The images of some rows, (n, C, H, W) float32 in [0, 1] on the device.

        Raises:
            UserError: a picture cannot be read, or does not fit the network's input.
        """
        if self._kept is None:
            pixels = self._decoded(rows.tolist()).to(self.device)
        else:
            pixels = self._kept[rows.to(self.device)]
        pixels = pixels.to(torch.float32).div_(255)
        return pixels if self.levels is None else pixels.mul_(self.levels).round_().div_(self.levels)

    def annotated(self, rows: Tensor) -> Tensor:
        """(n, H, W) int8: +1 inside the boxes or masks that the data set carries, -1 outside, 0 for images without.

        Raises:
            UserError: it carries none, or one cannot be read.
        """
        if not self.dataset.has_masks:
            raise UserError(
                f"data set {self.dataset.manifest.name} has no boxes and no masks; "
                "choose another `saliency.source`"
            )
        return torch.from_numpy(np.stack([self._annotated(row) for row in rows.tolist()]))

    def _annotated(self, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        sample, size = self.samples[row], self.preprocessing.crop
        mask = self.dataset.mask(sample)
        if mask is None:
            return np.zeros(size, np.int8)
        as_image = self.preprocessing.model_copy(
            update={"interpolation": "nearest", "mean": (0.0,), "std": (1.0,)}
        )
        inside = prepared(
            mask[:, :, None], as_image, f"the mask of image {sample.unit_id}: the recipe's input"
        )
        return np.where(inside[0] > 0, 1, -1).astype(np.int8)

    def keep(self) -> None:
        """Decode all images now, if they fit the memory.

        Raises:
            UserError: as :meth:`images`.
        """
        first = self._decoded([0])
        if first.numel() * len(self) <= MEMORY_BYTES:
            self._kept = self._decoded(range(len(self))).to(self.device)

    def _decoded(self, rows: Sequence[int]) -> Tensor:
        """(n, C, H, W) uint8 on the CPU."""
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            return torch.from_numpy(np.stack(list(pool.map(self._prepared, rows))))

    def _prepared(self, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        sample = self.samples[row]
        name = f"image {sample.unit_id} of {self.dataset.manifest.name}: the recipe's input"
        return prepared(self.dataset.image(sample), self.preprocessing, name)


def open_pictures(
    recipe: Recipe, roots: Sequence[Path], relative_to: Path | None, device: torch.device
) -> tuple[TrainingPictures, TrainingPictures]:
    """Training and test images.

    Raises:
        UserError: unknown or missing data, a selection that leaves none, labels of two kinds.
    """
    train, test = (
        _open(choice, recipe, roots, relative_to, device) for choice in (recipe.data.train, recipe.data.test)
    )
    spaces = [
        (part.dataset.manifest.label_space, part.dataset.manifest.num_classes) for part in (train, test)
    ]
    if spaces[0] != spaces[1]:
        raise UserError(
            f"{recipe.title}: `data.train` has the labels {spaces[0][0]} ({spaces[0][1]} classes) and `data.test` "
            f"{spaces[1][0]} ({spaces[1][1]}); choose two parts of one data set"
        )
    return train, test


def _open(
    selection: Selection,
    recipe: Recipe,
    roots: Sequence[Path],
    relative_to: Path | None,
    device: torch.device,
) -> TrainingPictures:
    dataset = open_dataset(load_manifest(selection.manifest, relative_to), roots)
    samples = chosen(dataset.samples, selection)
    if not samples:
        raise UserError(
            f"{recipe.title}: no image is left of data set {dataset.manifest.name} ({len(dataset.samples)} images) "
            f"after `skip: {selection.skip}`; choose a smaller number"
        )
    labels = torch.tensor([sample.label for sample in samples], device=device)
    return TrainingPictures(
        dataset, selection, samples, recipe.input.preprocessing, labels, device, recipe.input.levels
    )


def chosen(samples: Sequence[Sample], selection: Selection) -> tuple[Sample, ...]:
    """The samples that a selection takes, in their order."""
    left = samples[selection.skip :]
    if selection.per_class is not None:
        taken: dict[int, int] = {}
        few = []
        for sample in left:
            taken[sample.label] = taken.get(sample.label, 0) + 1
            if taken[sample.label] <= selection.per_class:
                few.append(sample)
        left = few
    return tuple(left[: selection.first])
