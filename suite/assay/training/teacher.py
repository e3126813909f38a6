"""A teacher's saliency of the training images: made once, with progress reports, and stored as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from assay.common.atomic import write_atomically
from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.resources import cache_folder
from assay.models.loaded import LoadedModel
from assay.saliency import channel_maps
from assay.saliency.settings import settings_of
from assay.training.methods import TeacherSaliency
from assay.training.perturbations import signs_of
from assay.training.pictures import TrainingPictures

FORMAT = 2  # of the signs; raised whenever the same teacher would give others
SAY_SECONDS = 10.0  # between two sentences on how far it is
KEEP_SECONDS = 30.0  # of work between two writes: what a kill loses
_BATCH = 64


def identity_of_teacher(teacher: LoadedModel, block: TeacherSaliency) -> dict[str, Any]:
    """What decides a teacher's saliency of an image; settings that are left out stand with their defaults."""
    return {
        "format": FORMAT,
        **teacher.info.identity(),
        "method": block.method,
        "settings": settings_of(block.method, block.settings).model_dump(mode="json"),
    }


@dataclass(frozen=True)
class Signs:
    """The signs of some images, one after another.

    Attributes:
        values: int8 of +1 and -1 on the CPU: (n, C, H, W) where the method gives one number per channel, else (n, H,
            W).
        seconds: how long making them took.
    """

    values: Tensor
    seconds: float


def teacher_signs(
    teacher: LoadedModel, block: TeacherSaliency, pictures: TrainingPictures, say: Callable[[str], None]
) -> Signs:
    """The signs of the teacher's saliency of all pictures, for their true labels.

    They are stored in Assay's cache while they are made, so that a kill loses little of them.

    Args:
        teacher: the network.
        block: how it is asked.
        pictures: of the teacher's input shape.
        say: called with a sentence on how far it is, about every :data:`SAY_SECONDS`.

    Raises:
        UserError: a picture cannot be read, or the method cannot explain the network.
    """
    memory = _Memory(_folder(teacher, block, pictures), say)
    progress = _SignProgress(f"{block.method} of the teacher {teacher.info.name}", len(pictures), say)
    parts: list[Signs] = []
    done = 0
    while done < len(pictures):
        part = memory.read(done, len(pictures) - done)
        if part is None:
            part = _made(teacher, block, pictures, done, progress)
            memory.write(done, part)
        parts.append(part)
        done += len(part.values)
    return Signs(torch.cat([part.values for part in parts]), sum(part.seconds for part in parts))


def _folder(teacher: LoadedModel, block: TeacherSaliency, pictures: TrainingPictures) -> Path:
    key = {
        "product": "teacher-saliency",
        "teacher": identity_of_teacher(teacher, block),
        "threshold": block.threshold,
        "preprocessing": pictures.preprocessing.model_dump(mode="json"),
        "data_sha256": pictures.sha256,
    }
    return cache_folder() / "saliency" / canonical_sha256(key)


def _made(
    teacher: LoadedModel,
    block: TeacherSaliency,
    pictures: TrainingPictures,
    start: int,
    progress: _SignProgress,
) -> Signs:
    """The signs from the picture ``start`` on: of all that are left, or of as many as there is time for."""
    began, found = time.perf_counter(), []
    for rows in torch.split(torch.arange(start, len(pictures)), _BATCH):
        images, labels = pictures.images(rows), pictures.labels[rows.to(pictures.device)]
        saliency = channel_maps(
            teacher.module, images, labels, block.method, batch_size=_BATCH, **block.settings
        )
        found.append(signs_of(saliency, block.threshold).cpu())
        progress.made(len(rows), int(rows[-1]) + 1)
        if time.perf_counter() - began >= KEEP_SECONDS:
            break
    return Signs(torch.cat(found), time.perf_counter() - began)


class _Memory:
    """Parts of a teacher's signs in a folder, each under the number of its first picture.

    It only saves time: a part that cannot be read is made again, and one that cannot be written is lost.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._writable = True

    def read(self, start: int, left: int) -> Signs | None:
        """The part that begins at ``start``, where there is a whole one of at most ``left`` pictures."""
        try:
            with safe_open(self._path(start), "pt") as stored:
                part = Signs(stored.get_tensor("signs"), float(stored.metadata()["seconds"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None
        return part if 0 < len(part.values) <= left else None

    def write(self, start: int, part: Signs) -> None:
        """Store a part; a folder that cannot be written is reported once and not tried again."""
        if not self._writable:
            return
        content = save({"signs": part.values}, metadata={"seconds": repr(part.seconds)})
        try:
            write_atomically(self._path(start), content)
        except UserError as error:
            self._writable = False
            reason = getattr(error.__cause__, "strerror", None) or error
            self._say(
                f"{self._folder}: the teacher's saliency cannot be kept here ({reason}) and will be made again for "
                "the next training; set ASSAY_CACHE to a folder that can be written"
            )

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:08d}.safetensors"


@dataclass
class _SignProgress:
    """Progress of the signs; stored ones count as done, but not for the rate."""

    what: str
    total: int
    say: Callable[[str], None]
    _made: int = 0
    _began: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def made(self, count: int, done: int) -> None:
        """Note how many more were made, and how many are done."""
        self._made += count
        now = time.monotonic()
        if now - self._said < SAY_SECONDS:
            return
        self._said = now
        seconds = now - self._began
        left = seconds / self._made * (self.total - done)
        self.say(f"{self.what}: {done} of {self.total} images, {seconds:.0f} s, about {left:.0f} s to go")
