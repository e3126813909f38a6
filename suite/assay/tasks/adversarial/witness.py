"""Does what a submission says of its adversarial pictures agree with the pictures? Nothing here knows of any attack.

A picture proves what the network answers on it, and that it lies where it should. That no worse picture exists is
beyond it: for that there is :mod:`assay.tasks.adversarial.spot`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.names import png_name
from assay.tasks.adversarial.pixels import read_png
from assay.tasks.adversarial.sent import claims_to_stand, own_network, own_pictures, stated
from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec
from assay.tasks.base import Inspected, Record, SentRecords

_BATCH = 16
_NAMED = 3  # images that a sentence names
_DECIDED = 1e-3  # of the largest logit: by less, two machines may answer differently
_ROUNDED = 0.5  # of a 256th: what rounding to 8 bit may move a pixel
_FLOAT = 1e-3  # of a 256th: what float32 adds to that


@dataclass(frozen=True)
class _Picture:
    """A sent picture beside the data set's own, (C, H, W) float32 in [0, 1], and what the record says of it."""

    record: Record
    attack: AttackSpec
    eps: Fraction
    clean: Tensor
    sent: Tensor

    @property
    def outcome(self) -> Mapping[str, Any]:
        return stated(self.record, self.attack, self.eps)

    @property
    def moved(self) -> Tensor:
        """By how much each pixel differs from the clean one, in 255ths."""
        return (self.sent * 255).round() - (self.clean * 255).round()


def look(sent: SentRecords[AdversarialSpec]) -> Inspected:
    """Ask the network about each sent picture, and hold every picture against the records and the data set.

    Raises:
        UserError: another network or other data than the submission's, or no picture was sent.
    """
    model, data = own_network(sent.network), own_pictures(sent)
    found: dict[str, list[str]] = {}
    count = 0
    samples = list(data.samples)
    for first in range(0, len(sent.records), _BATCH):
        records = sent.records[first : first + _BATCH]
        clean = [model.prepare(data.image(sample)) for sample in samples[first : first + _BATCH]]
        for complaint, unit_id in _clean_answers(model, sent.spec, records, clean):
            found.setdefault(complaint, []).append(unit_id)
        for attack in sent.spec.attacks:
            for eps in sent.spec.radii:
                pictures = []
                for record, image in zip(records, clean, strict=True):
                    picture = _read(sent, attack, eps, record, image)
                    if isinstance(picture, str):
                        found.setdefault(f"{attack.series}@{eps}: {picture}", []).append(record.unit_id)
                    else:
                        pictures.append(picture)
                count += len(pictures)
                for complaint, unit_id in _contradictions(model, sent.spec, pictures):
                    found.setdefault(f"{attack.series}@{eps}: {complaint}", []).append(unit_id)
    return Inspected(count, tuple(f"{complaint}: {_names(units)}" for complaint, units in found.items()))


def _names(units: Sequence[str]) -> str:
    more = f" and {len(units) - _NAMED} more" if len(units) > _NAMED else ""
    return ", ".join(units[:_NAMED]) + more


def _read(
    sent: SentRecords[AdversarialSpec], attack: AttackSpec, eps: Fraction, record: Record, clean: Tensor
) -> "_Picture | str":
    """The picture, or why it cannot be one."""
    path = sent.files / png_name(attack.series, eps, record.unit_id)
    try:
        image = read_png(path.read_bytes())
    except FileNotFoundError:
        return "no picture was sent"
    except Exception:  # Pillow raises many kinds on damaged files
        return "the picture cannot be read"
    if image.shape != clean.shape:
        return "the picture is of another size than the network's input"
    return _Picture(record, attack, eps, clean, image)


def _contradictions(
    model: LoadedModel, spec: AdversarialSpec, pictures: Sequence[_Picture]
) -> Iterator[tuple[str, str]]:
    for picture in pictures:
        for complaint in _misplaced(spec, picture):
            yield complaint, picture.record.unit_id
    if pictures:
        right = _right(model, spec, pictures, [picture.sent for picture in pictures])
        for picture, answer in zip(pictures, right, strict=True):
            if answer is not None and answer != bool(picture.outcome["correct_8bit"]):
                said = "right" if picture.outcome["correct_8bit"] else "wrong"
                yield f"the network's answer is not {said}, as the record says", picture.record.unit_id


def _misplaced(spec: AdversarialSpec, picture: _Picture) -> Iterator[str]:
    """Ways in which a picture lies elsewhere than an honest run leaves it."""
    eps, outcome, moved = float(picture.eps), picture.outcome, picture.moved
    farthest = float(moved.abs().max())
    if spec.norm == "linf":
        length, slack = farthest, _ROUNDED
    else:
        length, slack = float(moved.double().norm()), _ROUNDED * moved.numel() ** 0.5
    if length > 255 * eps + slack + _FLOAT:
        yield f"the picture lies outside of its ball of radius {picture.eps} around the data set's own"
    if abs(farthest - 255 * float(outcome["linf"])) > _ROUNDED + _FLOAT:
        yield "the picture is another one than the record's, by its farthest pixel"
    fell = bool(picture.record.values["clean_correct"]) and not outcome["correct_8bit"]
    if fell and farthest == 0:
        yield "the picture that is said to be adversarial is the clean one"
    if _must_have_been_attacked(spec, picture) and (
        outcome["linf"] == 0 or outcome["steps"] < (picture.attack.steps or 1)
    ):
        yield "an image is said to withstand, but was never taken to the attack's end"


def _must_have_been_attacked(spec: AdversarialSpec, picture: _Picture) -> bool:
    """Whether the picture has to be the last iterate of an attack that climbs the very model's gradient.

    A gradient of zero is no way out: a guard refuses a submission that has any.
    """
    attacked = picture.eps > 0 and claims_to_stand(picture.record, picture.attack, picture.eps)
    return attacked and picture.attack.white_box and spec.curve != "bisect"


def _clean_answers(
    model: LoadedModel, spec: AdversarialSpec, records: Sequence[Record], clean: Sequence[Tensor]
) -> Iterator[tuple[str, str]]:
    for record, right in zip(records, _answers(model, spec, records, clean), strict=True):
        if right is not None and right != bool(record.values["clean_correct"]):
            said = "right" if record.values["clean_correct"] else "wrong"
            yield f"clean: the network's answer is not {said}, as the record says", record.unit_id


def _right(
    model: LoadedModel, spec: AdversarialSpec, pictures: Sequence[_Picture], images: Sequence[Tensor]
) -> list[bool | None]:
    return _answers(model, spec, [picture.record for picture in pictures], images)


@torch.no_grad()
def _answers(
    model: LoadedModel, spec: AdversarialSpec, records: Sequence[Record], images: Sequence[Tensor]
) -> list[bool | None]:
    """Whether each label is among the ``top_k`` highest logits; None where that is a matter of rounding."""
    logits = model.module(torch.stack(list(images)))
    check_logits(logits, model.info.num_classes)
    answers: list[bool | None] = []
    for row, record in zip(logits.double(), records, strict=True):
        label = record.values["label"]
        own = row[label].item()
        others = torch.cat([row[:label], row[label + 1 :]])
        rival = others.topk(spec.top_k).values[-1].item()
        decided = abs(own - rival) > _DECIDED * max(float(row.abs().max()), 1e-12)
        answers.append(own > rival if decided else None)
    return answers
