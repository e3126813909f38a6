"""Ask a network about an image and all its corrupted pictures: plain values, one record per image."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assay.data.corrupting.corrupt import RANDOM
from assay.data.corrupting.level import Level
from assay.data.corrupting.names import SEVERITIES
from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.tasks.base import Record, RunContext, Unit
from assay.tasks.corruptions.names import sheet_name
from assay.tasks.corruptions.pictures import CorruptedPicture
from assay.tasks.corruptions.sets import Image
from assay.tasks.corruptions.sheet import SheetPicture, sheet
from assay.tasks.corruptions.spec import CorruptionsSpec
from assay.tasks.shared.loading import LoadedPicture

if TYPE_CHECKING:
    from assay.data.dataset import Dataset


def pictures_of(
    spec: CorruptionsSpec, model: LoadedModel, data: "Dataset", image: Image
) -> list[LoadedPicture]:
    """The image's clean picture, if there is one, and its picture at every corruption and severity."""
    if spec.prepare == "direct":
        model = model.with_resize("direct")
    clean = [] if image.clean is None else [LoadedPicture(model, data, image.clean)]
    if spec.pictures == "published":
        return [LoadedPicture(model, data, image.published[cell]) for cell in spec.cells]
    assert image.clean is not None
    levels = [Level(name, severity, spec.settings, spec.seed) for name, severity in spec.cells]
    return [*clean, *(CorruptedPicture(model, data, image.clean, level) for level in levels)]


def evaluate(
    spec: CorruptionsSpec, model: LoadedModel, data: "Dataset", units: Sequence[Unit], context: RunContext
) -> Iterator[Record]:
    """One record per unit."""
    first = context.first(spec.sheets) if spec.pictures == "made" else frozenset()
    for unit in units:
        pictures = pictures_of(spec, model, data, unit.payload)
        yield _record(spec, pictures, unit, _Answers(spec, pictures, context, unit.id, unit.id in first))


def _record(
    spec: CorruptionsSpec, pictures: Sequence[LoadedPicture], unit: Unit, asked: "_Answers"
) -> Record:
    image: Image = unit.payload
    has_clean = image.clean is not None
    label = asked.answers[0] if spec.predicted else image.label
    cells = asked.answers[1:] if has_clean else asked.answers
    values: dict[str, Any] = {
        "label": label,
        "predicted": asked.answers[0] if has_clean else None,
        "clean_correct": asked.answers[0] == label if has_clean else None,
        "answers": _by_corruption(spec, cells),
        "changes": _by_corruption(spec, asked.changes) if has_clean else None,
        "checks": {
            "in_box": asked.in_box,
            "alone_difference": asked.alone_difference,
            **_checks(pictures, unit.id),
        },
    }
    files = {}
    if asked.kept:
        files[sheet_name(unit.id)] = sheet(asked.shown(spec, label), pictures[0].model.info)
    return Record(unit.id, values, files=files)


def _by_corruption(spec: CorruptionsSpec, cells: Sequence[Any]) -> dict[str, list[Any]]:
    width = len(spec.severities)
    return {
        name: list(cells[place * width : (place + 1) * width]) for place, name in enumerate(spec.corruptions)
    }


class _Answers:
    """The network's answers to pictures, and facts on the pictures, which are dropped batch by batch.

    Attributes:
        answers: the class with the largest logit, one per picture.
        changes: mean absolute change from the first picture, of each of the others.
        in_box: every pixel lies in [0, 1].
        alone_difference: of the first picture's logits alone and in its batch, as a share of the largest.
        kept: the pictures, where they will be drawn.
    """

    def __init__(
        self,
        spec: CorruptionsSpec,
        pictures: Sequence[LoadedPicture],
        context: RunContext,
        name: str,
        keep: bool,
    ) -> None:
        self.answers: list[int] = []
        self.changes: list[float] = []
        self.in_box = True
        self.alone_difference = 0.0
        self.kept: list[Tensor] = []
        clean: Tensor | None = None
        for start in range(0, len(pictures), context.batch_size):
            some = pictures[start : start + context.batch_size]
            batch = context.loader.batch(some, context.device)
            logits = context.savepoints.step(f"{name} {start}", partial(_logits, some[0].model, batch))
            self.answers += _answers(spec, logits)
            if clean is None:
                clean = batch[0]
                self.alone_difference = _alone_difference(some[0].model, batch, logits)
            self.changes += (batch - clean).abs().flatten(1).mean(1).double().tolist()
            self.in_box &= bool(((batch >= 0) & (batch <= 1)).all())
            self.kept += batch.cpu().unbind() if keep else []
            context.advance(len(some) / len(pictures))
        self.changes = self.changes[1:]

    def shown(self, spec: CorruptionsSpec, label: int) -> list[SheetPicture]:
        """The clean picture, and every corruption at the middle one of the severities."""
        severity = spec.severities[len(spec.severities) // 2]
        titles = ["clean", *(f"{name.replace('_', ' ')}, {level}" for name, level in spec.cells)]
        wanted = [0, *(place + 1 for place, (_, level) in enumerate(spec.cells) if level == severity)]
        return [
            SheetPicture(titles[place], self.kept[place], self.answers[place], self.answers[place] == label)
            for place in wanted
        ]


@torch.no_grad()
def _logits(model: LoadedModel, batch: Tensor) -> Tensor:
    logits: Tensor = model.module(batch)
    check_logits(logits, model.info.num_classes)
    return logits


def _answers(spec: CorruptionsSpec, logits: Tensor) -> list[int]:
    """The class of the largest logit, among all or among the spec's classes."""
    if spec.arg_max == "all":
        found: list[int] = logits.argmax(1).tolist()
        return found
    classes = torch.tensor(spec.classes, device=logits.device)
    among: list[int] = classes[logits[:, classes].argmax(1)].tolist()
    return among


def _alone_difference(model: LoadedModel, batch: Tensor, logits: Tensor) -> float:
    scale = logits.abs().max().clamp_min(1e-12)
    return float((_logits(model, batch[:1]) - logits[:1]).abs().max() / scale)


def _checks(pictures: Sequence[LoadedPicture], unit_id: str) -> dict[str, bool | None]:
    """Checks of one corruption, a different one for each image: severity 0, the same seed again, another seed."""
    made = [picture for picture in pictures if isinstance(picture, CorruptedPicture)]
    checks: dict[str, bool | None] = dict.fromkeys(("zero_is_clean", "repeats", "seed_matters"))
    if not made:
        return checks
    one = made[_turn(unit_id, len(made))]
    checks["zero_is_clean"] = torch.equal(_at(one, severity=0).load(), pictures[0].load())
    random = [picture for picture in made if picture.level.corruption in RANDOM]
    if random:
        one = _at(
            random[_turn(unit_id, len(random))], severity=SEVERITIES[-1]
        )  # weak noise may spare a small picture
        loaded = one.load()
        checks["repeats"] = torch.equal(loaded, one.load())
        checks["seed_matters"] = not torch.equal(loaded, _at(one, seed=one.level.seed + 1).load())
    return checks


def _turn(unit_id: str, count: int) -> int:
    from hashlib import sha256

    return int.from_bytes(sha256(unit_id.encode()).digest()[:4], "big") % count


def _at(picture: CorruptedPicture, **level: Any) -> CorruptedPicture:
    return replace(picture, level=replace(picture.level, **level))
