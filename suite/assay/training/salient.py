"""The saliency that a method follows: +1 and -1 for every pixel of every training image, before the training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from assay.atomic import write_atomically
from assay.canonical import canonical_sha256
from assay.errors import UserError
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model
from assay.resources import cache_folder
from assay.saliency import maps
from assay.training.methods import ForegroundSaliency, Method, Salient, TeacherSaliency, WeakSaliency
from assay.training.perturbations import signs_of
from assay.training.pictures import Pictures
from assay.training.recipe import Recipe

FORMAT = 1  # of the stored maps; raised whenever the same teacher would give others
_BATCH = 64


@dataclass(frozen=True)
class Guide:
    """Where a recipe's saliency comes from, found and checked.

    Attributes:
        saliency: the recipe's block, or None for a method without one.
        teacher: the network, where there is one.
    """

    saliency: TeacherSaliency | WeakSaliency | ForegroundSaliency | None
    teacher: LoadedModel | None

    @property
    def identity(self) -> dict[str, str] | None:
        """What of the teacher changes the answer."""
        if self.teacher is None:
            return None
        info = self.teacher.info
        return {"architecture": info.architecture, "weights_sha256": info.weights_sha256}

    def signs(self, pictures: Pictures) -> tuple[Tensor | None, float]:
        """(N, H, W) int8 of +1 and -1 on the pictures' device, and the seconds that making them took.

        A teacher's maps are made once and remembered, with their seconds, in Assay's cache by the hash of all that
        decides them.

        Raises:
            UserError: pictures that cannot be read, or carry no boxes or masks.
        """
        if self.saliency is None:
            return None, 0.0
        if isinstance(self.saliency, TeacherSaliency):
            assert self.teacher is not None
            signs, seconds = _remembered(self.teacher, self.saliency, pictures)
        else:
            began = time.perf_counter()
            signs = _weak(pictures, self.saliency)
            seconds = time.perf_counter() - began
        return signs.to(pictures.device), seconds


def guide_of(recipe: Recipe, device: torch.device) -> Guide:
    """The saliency that a recipe's method follows.

    Raises:
        UserError: the teacher is not named, is unknown, or takes other images than the recipe's network.
    """
    method: Method = recipe.method
    saliency = method.saliency if isinstance(method, Salient) else None
    if not isinstance(saliency, TeacherSaliency):
        return Guide(saliency, None)
    if saliency.teacher is None:
        raise UserError(
            f"{recipe.title}: `method.saliency.teacher` is missing: name the network whose saliency is followed, "
            "with --teacher trained:DIR"
        )
    teacher = load_model(saliency.teacher, device=str(device))
    wanted = (len(recipe.input.mean), *recipe.input.crop)
    if teacher.info.input_shape != wanted:
        raise UserError(
            f"{recipe.title}: the teacher {saliency.teacher} takes images of {teacher.info.input_shape} and the recipe "
            f"trains on {wanted}; choose a teacher for the same images"
        )
    return Guide(saliency, teacher)


def check_teacher(guide: Guide, pictures: Pictures) -> None:
    """Refuse a teacher of other labels than the data's.

    Raises:
        UserError: its label space is another one.
    """
    if guide.teacher is None:
        return
    info, manifest = guide.teacher.info, pictures.dataset.manifest
    if (info.label_space, info.num_classes) != (manifest.label_space, manifest.num_classes):
        raise UserError(
            f"the teacher {info.name} knows {info.num_classes} classes of {info.label_space}, the data set "
            f"{manifest.name} has {manifest.num_classes} of {manifest.label_space}; choose one of the same labels"
        )


def _weak(pictures: Pictures, block: WeakSaliency | ForegroundSaliency) -> Tensor:
    """Signs that need no network, on the CPU."""
    signs_of_rows = (
        pictures.annotated if isinstance(block, WeakSaliency) else partial(_foreground, pictures, block)
    )
    return torch.cat([signs_of_rows(rows) for rows in torch.split(torch.arange(len(pictures)), _BATCH)])


def _foreground(pictures: Pictures, block: ForegroundSaliency, rows: Tensor) -> Tensor:
    inside = pictures.images(rows).amax(dim=1) > float(block.above)
    return inside.to(torch.int8).mul_(2).sub_(1).cpu()


def _remembered(teacher: LoadedModel, block: TeacherSaliency, pictures: Pictures) -> tuple[Tensor, float]:
    """The signs, and the seconds that they took when they were made."""
    path = _product(teacher, block, pictures)
    try:
        with safe_open(path, "pt") as stored:
            return stored.get_tensor("signs"), float(stored.metadata()["seconds"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        began = time.perf_counter()
        signs = _by_teacher(teacher, block, pictures)
        seconds = time.perf_counter() - began
        write_atomically(path, save({"signs": signs}, metadata={"seconds": repr(seconds)}))
        return signs, seconds


def _product(teacher: LoadedModel, block: TeacherSaliency, pictures: Pictures) -> Path:
    key: dict[str, Any] = {
        "product": "teacher-saliency",
        "format": FORMAT,
        "architecture": teacher.info.architecture,
        "weights_sha256": teacher.info.weights_sha256,
        "teacher_preprocessing": teacher.info.preprocessing.model_dump(mode="json"),
        "preprocessing": pictures.preprocessing.model_dump(mode="json"),
        "data_sha256": pictures.sha256,
        "method": block.method,
        "settings": block.settings,
        "threshold": block.threshold,
    }
    return cache_folder() / "saliency" / f"{canonical_sha256(key)}.safetensors"


def _by_teacher(teacher: LoadedModel, block: TeacherSaliency, pictures: Pictures) -> Tensor:
    """Signs of the teacher's maps for the true labels, on the CPU."""
    signs = []
    for rows in torch.split(torch.arange(len(pictures)), _BATCH):
        images, labels = pictures.images(rows), pictures.labels[rows.to(pictures.device)]
        found = maps(teacher.module, images, labels, block.method, batch_size=_BATCH, **block.settings)
        signs.append(signs_of(found, block.threshold).cpu())
    return torch.cat(signs)
