"""Looks again at saved adversarial images, of the user's own run or of a submission.

A picture proves what the network answers on it, and that it lies where it should. That no worse picture exists is
beyond it: for that there is :mod:`assay.tasks.adversarial.objections`. Nothing here runs any attack.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError
from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.figures import png_name
from assay.tasks.adversarial.records import proved
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import outcome
from assay.tasks.base import Record, clean_records
from assay.tasks.shared.images import open_images
from assay.tasks.shared.png import read_png
from assay.tasks.witness import Inspected, ReferenceNetwork, SentRecords

if TYPE_CHECKING:
    from assay.data.dataset import Dataset

_BATCH = 16
_NAMED = 3  # images that a sentence names
_DECIDED = 1e-3  # of the largest logit: by less, two machines may answer differently
_ROUNDED = 0.5  # of a 256th: what rounding to 8 bit may move a pixel
_FLOAT = 1e-3  # of a 256th: what float32 adds to that


# Fields of a card that must be equal for a network to be the submission's.
_SAME = ("weights_sha256", "structure_sha256", "architecture", "label_space", "num_classes", "preprocessing")


@dataclass(frozen=True)
class Verified:
    """One attack at one radius, image by image.

    Attributes:
        images: how many were read.
        stored: how many of them were correct when the run rounded them.
        found: how many are correct now.
        differing: the units with another outcome than the run stored.
    """

    series: str
    eps: str
    images: int
    stored: int
    found: int
    differing: tuple[str, ...]


def verify(
    document: Mapping[str, Any], spec: AdversarialSpec, records: Sequence[Record], model: LoadedModel
) -> Iterator[Verified]:
    """Score what a job saved.

    Args:
        document: the job's document.
        spec: its spec, as it was read.
        records: its records with their files.
        model: the job's model, on the CPU.

    Raises:
        UserError: the model has other weights than the job's, or the job saved no images.
    """
    _check_weights(document, model)
    good = clean_records(records)
    saved = False
    for attack, eps in _curves(good):
        kept = [record for record in good if png_name(attack, Fraction(eps), record.unit_id) in record.files]
        if kept:
            saved = True
            yield _verified(kept, attack, eps, model, spec.top_k)
    if not saved:
        raise UserError(
            f"{document['task']}: no adversarial image was saved; run it again with --save-adversarial"
        )


def _check_weights(document: Mapping[str, Any], model: LoadedModel) -> None:
    if document["model"]["weights_sha256"] != model.info.weights_sha256:
        raise UserError(
            f"model {model.info.name}: has other weights than those of the run "
            f"({model.info.weights_sha256[:12]}, not {document['model']['weights_sha256'][:12]}); give --weights"
        )


def _curves(records: Sequence[Record]) -> list[tuple[str, str]]:
    if not records:
        return []
    attacks = records[0].values["attacks"]
    return [(series, eps) for series in attacks for eps in sorted(attacks[series], key=Fraction)]


def _verified(records: Sequence[Record], series: str, eps: str, model: LoadedModel, top_k: int) -> Verified:
    stored = [bool(record.values["attacks"][series][eps]["correct_8bit"]) for record in records]
    found: list[bool] = []
    for first in range(0, len(records), _BATCH):
        found += _correct(records[first : first + _BATCH], series, eps, model, top_k)
    differing = tuple(
        record.unit_id for record, before, now in zip(records, stored, found, strict=True) if before != now
    )
    return Verified(series, eps, len(records), sum(stored), sum(found), differing)


@torch.no_grad()
def _correct(records: Sequence[Record], series: str, eps: str, model: LoadedModel, top_k: int) -> list[bool]:
    """Whether each image, read from its PNG, has its label among the ``top_k`` highest logits."""
    images = [read_png(record.files[png_name(series, Fraction(eps), record.unit_id)]) for record in records]
    if any(image.shape != model.info.input_shape for image in images):
        raise ValueError("a picture of another size than the network's input")
    logits = model.module(torch.stack(images))
    check_logits(logits, model.info.num_classes)
    labels = torch.tensor([record.values["label"] for record in records])
    answers: list[bool] = answered(logits, labels, top_k).tolist()
    return answers


def answered(logits: Tensor, labels: Tensor, top_k: int) -> Tensor:
    """(n,) bool: each label among the ``top_k`` highest of its row; the lower class wins a tie, as in the run."""
    best = logits.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    return (best == labels[:, None]).any(1)


def claims_to_stand(record: Record, attack: AttackSettings, eps: Fraction) -> bool:
    """Whether a record says that the image is right at first, and under the attack."""
    return bool(record.values["clean_correct"]) and bool(outcome(record, attack.series, eps)["correct"])


def own_network(network: ReferenceNetwork) -> LoadedModel:
    """The network, on the CPU, checked against what the submission states.

    Raises:
        UserError: other weights, architecture, labels or preprocessing.
    """
    from assay.models.foreign import NamePolicy, load_named

    # The name is the maintainer's own, who looked at it before the request.
    trust = NamePolicy(named=frozenset([network.name]))
    model = load_named(network.name, "the submission", trust, weights=network.weights)
    card = model.info.model_dump(mode="json")
    for field in _SAME:
        if card[field] != network.card[field]:
            raise UserError(
                f"model {network.name}: `{field}` is {card[field]}, of the records {network.card[field]}; give the "
                "network of the records with --model and --weights"
            )
    return model


def own_pictures(sent: SentRecords[AdversarialSpec]) -> "Dataset":
    """The data set, with the hash that the task demands; its samples are the records' units.

    Raises:
        UserError: it is not here, or has other units.
    """
    data = open_images(sent.data)
    if [sample.unit_id for sample in data.samples] != [record.unit_id for record in sent.records]:
        raise UserError(f"data set {data.manifest.name}: has other images than the submission's units")
    return data


@dataclass(frozen=True)
class _Picture:
    """A sent picture beside the data set's own, (C, H, W) float32 in [0, 1], and what the record says of it."""

    record: Record
    attack: AttackSettings
    eps: Fraction
    clean: Tensor
    sent: Tensor

    @property
    def outcome(self) -> Mapping[str, Any]:
        return outcome(self.record, self.attack.series, self.eps)

    @property
    def moved(self) -> Tensor:
        """How much each pixel differs from the clean one, in 255ths."""
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
        for complaint, unit_id in _unproved(model, sent.spec, records, clean):
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
    sent: SentRecords[AdversarialSpec], attack: AttackSettings, eps: Fraction, record: Record, clean: Tensor
) -> "_Picture | str":
    """The picture, or why it cannot be one."""
    path = sent.files / png_name(attack.series, eps, record.unit_id)
    try:
        image = read_png(path.read_bytes())
    except FileNotFoundError:
        return "no picture was sent"
    except (OSError, ValueError):
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
    """Each way in which the picture is not where an honest run leaves it."""
    eps, outcome, moved = float(picture.eps), picture.outcome, picture.moved
    farthest = float(moved.abs().max())
    if spec.norm == "linf":
        length, slack = farthest, _ROUNDED
    else:
        order = 2 if spec.norm == "l2" else 1
        length, slack = float(moved.double().norm(order)), _ROUNDED * moved.numel() ** (1 / order)
    if length > 255 * eps + slack + _FLOAT:
        yield f"the picture lies outside of its ball of radius {picture.eps} around the data set's own"
    if abs(farthest - 255 * float(outcome["linf"])) > _ROUNDED + _FLOAT:
        yield "the picture is another one than the record's, by its farthest pixel"
    fell = bool(picture.record.values["clean_correct"]) and not outcome["correct_8bit"]
    if fell and farthest == 0:
        yield "the picture that is said to be adversarial is the clean one"
    if _must_have_been_attacked(spec, picture) and (
        outcome["linf"] == 0 or outcome["steps"] < picture.attack.step_count
    ):
        yield "an image is said to withstand, but was never taken to the attack's end"


def _must_have_been_attacked(spec: AdversarialSpec, picture: _Picture) -> bool:
    """Whether the picture has to be the last iterate of an attack that climbs the very model's gradient.

    A gradient of zero is no way out: a guard refuses a submission that has any.
    """
    attacked = picture.eps > 0 and claims_to_stand(picture.record, picture.attack, picture.eps)
    if spec.proofs is not None and proved(picture.record, picture.eps):
        return False  # the proof is made again, see `_unproved`
    return attacked and picture.attack.white_box and spec.curve not in ("bisect", "exact")


def _clean_answers(
    model: LoadedModel, spec: AdversarialSpec, records: Sequence[Record], clean: Sequence[Tensor]
) -> Iterator[tuple[str, str]]:
    for record, right in zip(records, _answers(model, spec, records, clean), strict=True):
        if right is not None and right != bool(record.values["clean_correct"]):
            said = "right" if record.values["clean_correct"] else "wrong"
            yield f"clean: the network's answer is not {said}, as the record says", record.unit_id


@torch.no_grad()
def _unproved(
    model: LoadedModel, spec: AdversarialSpec, records: Sequence[Record], clean: Sequence[Tensor]
) -> Iterator[tuple[str, str]]:
    """Images that are said to be proved, and that no bound proves here."""
    from assay.tasks.adversarial.proofs import unproved

    for eps in spec.radii if spec.proves else ():
        said = [row for row, record in enumerate(records) if eps > 0 and proved(record, eps)]
        if not said:
            continue
        images = torch.stack([clean[row] for row in said])
        labels = torch.tensor([records[row].values["label"] for row in said])
        try:
            logits = model.module(images)
            lacking = unproved(
                model.module, images, labels, logits, float(eps), spec.norm, branches=spec.branches
            )
        except UserError:
            lacking = range(len(said))
        for row in lacking:
            yield f"{eps}: an image is said to be proved, but no bound proves it", records[said[row]].unit_id


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
