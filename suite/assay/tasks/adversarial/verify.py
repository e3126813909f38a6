"""Read saved adversarial images back and score them again; nothing here knows of any attack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from assay.common.errors import UserError
from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.names import png_name
from assay.tasks.adversarial.pixels import read_png
from assay.tasks.base import Record, clean_records

_BATCH = 16


@dataclass(frozen=True)
class Verified:
    """One attack at one radius, image by image.

    Attributes:
        images: how many were read.
        stored: how many of them were correct when the run rounded them.
        found: how many are correct now.
        differing: the units whose outcome is not what the run stored.
    """

    series: str
    eps: str
    images: int
    stored: int
    found: int
    differing: tuple[str, ...]


def verify(document: Mapping[str, Any], records: Sequence[Record], model: LoadedModel) -> Iterator[Verified]:
    """Score what a job saved.

    Args:
        document: the job's document.
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
            yield _verified(kept, attack, eps, model, document["spec"]["top_k"])
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
    """Whether each image, read from its PNG, has its label among the ``top_k`` highest logits.

    The lower class wins a tie, as in the run.
    """
    images = [read_png(record.files[png_name(series, Fraction(eps), record.unit_id)]) for record in records]
    logits = model.module(torch.stack(images))
    check_logits(logits, model.info.num_classes)
    best = logits.argsort(dim=1, descending=True, stable=True)[:, :top_k].tolist()
    return [record.values["label"] in row for record, row in zip(records, best, strict=True)]
