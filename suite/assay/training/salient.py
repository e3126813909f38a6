"""The saliency that a method follows: +1 and -1 for every pixel of every training image, before the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.common.errors import UserError
from assay.models.foreign import NamePolicy, load_named
from assay.models.loaded import LoadedModel
from assay.training.methods import ForegroundSaliency, Method, Salient, TeacherSaliency, WeakSaliency
from assay.training.pictures import TrainingPictures
from assay.training.recipe import Recipe
from assay.training.reports import silent
from assay.training.teacher import identity_of_teacher, teacher_signs

_BATCH = 64


@dataclass(frozen=True)
class SaliencySource:
    """Where a recipe's saliency comes from, found and checked.

    Attributes:
        saliency: the recipe's block, or None for a method without one.
        teacher: the network, where there is one.
    """

    saliency: TeacherSaliency | WeakSaliency | ForegroundSaliency | None
    teacher: LoadedModel | None

    @property
    def identity(self) -> dict[str, Any] | None:
        """What changes the answer: the teacher, and how it is asked."""
        if self.teacher is None:
            return None
        assert isinstance(self.saliency, TeacherSaliency)
        return identity_of_teacher(self.teacher, self.saliency)

    def signs(
        self, pictures: TrainingPictures, say: Callable[[str], None] = silent
    ) -> tuple[Tensor | None, float]:
        """int8 of +1 and -1 on the pictures' device, and the seconds that making them took.

        They are (N, C, H, W), one sign per component, where a teacher's method gives one number per channel, and else
        (N, H, W), one sign for all channels of a pixel. A teacher's are made once and remembered, with their seconds,
        in Assay's cache by the hash of all that decides them; where the cache cannot be written they are only used.

        Args:
            pictures: the training images.
            say: called with a sentence about every 10 seconds while a teacher's signs are made.

        Raises:
            UserError: pictures that cannot be read, or carry no boxes or masks.
        """
        if self.saliency is None:
            return None, 0.0
        if isinstance(self.saliency, TeacherSaliency):
            assert self.teacher is not None
            found = teacher_signs(self.teacher, self.saliency, pictures, say)
            return found.values.to(pictures.device), found.seconds
        began = time.perf_counter()
        signs = _weak(pictures, self.saliency)
        seconds = time.perf_counter() - began
        return signs.to(pictures.device), seconds


def find_saliency_source(recipe: Recipe, device: torch.device, trust: NamePolicy) -> SaliencySource:
    """The saliency that a recipe's method follows; ``trust`` says how far the recipe's names are followed.

    Raises:
        UserError: the teacher is not named, unknown or not followed, or takes other images than the recipe's network.
    """
    method: Method = recipe.method
    saliency = method.saliency if isinstance(method, Salient) else None
    if not isinstance(saliency, TeacherSaliency):
        return SaliencySource(saliency, None)
    if saliency.teacher is None:
        raise UserError(
            f"{recipe.title}: `method.saliency.teacher` is missing: name the network whose saliency is followed, "
            "with --teacher trained:DIR"
        )
    where = f"{recipe.title}: `method.saliency.teacher`"
    teacher = load_named(saliency.teacher, where, trust, device=str(device), option="--teacher")
    wanted = (len(recipe.input.mean), *recipe.input.crop)
    if teacher.info.input_shape != wanted:
        raise UserError(
            f"{recipe.title}: the teacher {saliency.teacher} takes images of {teacher.info.input_shape} and the recipe "
            f"trains on {wanted}; choose a teacher for the same images"
        )
    return SaliencySource(saliency, teacher)


def check_teacher(source: SaliencySource, pictures: TrainingPictures) -> None:
    """Refuse a teacher of other labels than the data's.

    Raises:
        UserError: its label space is another one.
    """
    if source.teacher is None:
        return
    info, manifest = source.teacher.info, pictures.dataset.manifest
    if (info.label_space, info.num_classes) != (manifest.label_space, manifest.num_classes):
        raise UserError(
            f"the teacher {info.name} knows {info.num_classes} classes of {info.label_space}, the data set "
            f"{manifest.name} has {manifest.num_classes} of {manifest.label_space}; choose one of the same labels"
        )


def _weak(pictures: TrainingPictures, block: WeakSaliency | ForegroundSaliency) -> Tensor:
    """Signs that need no network, on the CPU."""
    signs_of_rows = (
        pictures.annotated if isinstance(block, WeakSaliency) else partial(_foreground, pictures, block)
    )
    return torch.cat([signs_of_rows(rows) for rows in torch.split(torch.arange(len(pictures)), _BATCH)])


def _foreground(pictures: TrainingPictures, block: ForegroundSaliency, rows: Tensor) -> Tensor:
    inside = pictures.images(rows).amax(dim=1) > float(block.above)
    return inside.to(torch.int8).mul_(2).sub_(1).cpu()
