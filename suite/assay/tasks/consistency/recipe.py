"""What decides an adversarial set: the data, the networks and the attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assay.attacks.ensemble import Classifier, least_likely_targets
from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.fields import identity_of
from assay.common.resources import cache_folder
from assay.data.dataset import Dataset, Sample
from assay.models.foreign import load_named
from assay.models.info import UNSTATED
from assay.models.loaded import LoadedModel
from assay.tasks.consistency.sets import STORED_RESIZE, naming_the_set
from assay.tasks.consistency.spec import EnsembleSpec
from assay.tasks.shared.images import DataSource, label_space_mismatch, refuse_unfit

FORMAT = 1  # of the product; changed whenever the same recipe would give other images


def reads_stored(model: LoadedModel) -> LoadedModel:
    """The model as it reads stored adversarial images: resized directly to its input where sizes differ."""
    return model.with_resize(STORED_RESIZE)


@dataclass(frozen=True, eq=False)
class AdversarialSetRecipe:
    """All that decides an adversarial set."""

    spec: EnsembleSpec
    data: Dataset
    members: Sequence[LoadedModel]
    held_out: Sequence[LoadedModel]

    @property
    def frame(self) -> LoadedModel:
        """The member that prepares the images: the one with the smallest input, the first if two tie.

        Every other member then enlarges, where the attack's bilinear resize and Pillow's agree; to shrink they
        would filter differently, and part of the perturbation would be lost between attack and storage.
        """
        return min(self.members, key=lambda model: model.info.input_shape[1] * model.info.input_shape[2])

    @cached_property
    def key(self) -> str:
        """SHA-256 of what makes the set."""
        return canonical_sha256(
            {
                "product": "ensemble-attack",
                "format": FORMAT,
                "data_sha256": self.data.sha256,
                "members": [_identity(model) for model in self.members],
                "held_out": [_identity(model) for model in self.held_out],
                "attack": identity_of(self.spec),
            }
        )

    @property
    def versions(self) -> int:
        """How many adversarial images each source gets."""
        return 1 if self.spec.targets == "given" else self.spec.targets

    @property
    def folder(self) -> Path:
        """Where the set lies."""
        return cache_folder() / "products" / self.key

    def targets(self, classifiers: Sequence[Classifier], images: Tensor, samples: Sequence[Sample]) -> Tensor:
        """(N, K) int64: the classes that each image is sent to, never its own."""
        if self.spec.targets == "given":
            return torch.tensor([[sample.target] for sample in samples], device=images.device)
        ranked = least_likely_targets(classifiers, images, self.spec.targets + 1)
        if self.data.manifest.label_space != self.members[0].info.label_space:
            return ranked[:, : self.spec.targets]  # labels mean something else, so none is a target's
        kept = [
            row[row != sample.label][: self.spec.targets] for row, sample in zip(ranked, samples, strict=True)
        ]
        return torch.stack(kept)


def _identity(model: LoadedModel) -> dict[str, Any]:
    return {"name": model.info.name, **model.info.identity()}


def read_recipe(spec: EnsembleSpec, data: Dataset, source: DataSource) -> AdversarialSetRecipe:
    """Load the members and check that they can make a set from these data.

    Args:
        spec: names the members.
        data: the source images.
        source: the spec's folder, where relative paths in ``trained:DIR`` and ``onnx:FILE`` start, and how far its
            names are followed.

    Raises:
        UserError: unknown models, or names that are not followed; missing weights; members with different labels or
            channels, or other labels than the data; more targets than other classes; no targets where they should be
            given; a member that takes none of the pictures.
    """
    folder = Path(source.relative_to)
    loaded = {
        name: load_named(name, "adversarial", source.trust, folder=folder, option="--trust")
        for name in (*spec.ensemble, *spec.held_out)
    }
    recipe = AdversarialSetRecipe(
        spec, data, [loaded[name] for name in spec.ensemble], [loaded[name] for name in spec.held_out]
    )
    first = recipe.members[0].info
    for model in loaded.values():
        info = model.info
        mine, theirs = (info.label_space, info.num_classes), (first.label_space, first.num_classes)
        if mine != theirs:
            raise UserError(
                f"adversarial: ensemble members have different label spaces: {first.name} has {theirs[1]} classes of "
                f"{theirs[0]}, {info.name} has {mine[1]} of {mine[0]}; choose models of one label space"
            )
        if info.input_shape[0] != first.input_shape[0]:
            raise UserError(
                f"adversarial: {first.name} takes {first.input_shape[0]} channels and {info.name} "
                f"{info.input_shape[0]}; choose models that take the same kind of image"
            )
    _check_targets(recipe)
    with naming_the_set():
        refuse_unfit(recipe.frame.info, data)
    return recipe


def _check_targets(recipe: AdversarialSetRecipe) -> None:
    data, first, wanted = recipe.data, recipe.members[0].info, recipe.spec.targets
    mismatch = None if data.samples[0].concepts else label_space_mismatch(first, data)
    if mismatch:
        raise UserError(f"adversarial: the ensemble does not fit data set {data.manifest.name}: {mismatch}")
    if wanted == "given":
        bad = [sample for sample in data.samples if sample.target in (None, sample.label)]
        if bad or first.label_space not in (data.manifest.label_space, UNSTATED):
            where = f" (first: {bad[0].unit_id})" if bad else ""
            raise UserError(
                f"adversarial: data set {data.manifest.name} does not give every image a target class other than its "
                f"own{where}; give a number of least-likely `targets` instead"
            )
    elif wanted > first.num_classes - 2:
        raise UserError(
            f"adversarial: {wanted} targets do not fit {first.num_classes} classes; "
            f"give `targets` from 1 to {first.num_classes - 2}"
        )
