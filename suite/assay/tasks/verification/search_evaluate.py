"""Search a block of images: one record per image and combination of perturbations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from assay.common.savepoints import NONE, Savepoints
from assay.data.dataset import Dataset
from assay.models.loaded import LoadedModel
from assay.tasks.base import Record, RunContext, Unit
from assay.tasks.shared.loading import LoadedPicture
from assay.tasks.verification.evaluate import SHOWN_IMAGES, path_safe
from assay.tasks.verification.grammar import parse_motions
from assay.tasks.verification.readings import UnchangedImages
from assay.tasks.verification.search import Point, SearchFinding, search
from assay.tasks.verification.search_figures import pictures
from assay.tasks.verification.spec import VerificationSpec, property_name


@lru_cache(maxsize=2)
def in_float64(module: nn.Module) -> nn.Module:
    """A float64 copy on the same device, which confirms what the search finds."""
    return copy.deepcopy(module).double().eval().requires_grad_(False)


def origins(
    spec: VerificationSpec, module: nn.Module, images: Tensor, batch_size: int, savepoints: Savepoints = NONE
) -> tuple[UnchangedImages, UnchangedImages]:
    """The images `(N, C, H, W)` as the network sees them in its own precision, and in float64, which chooses labels."""
    exact = UnchangedImages.of(
        in_float64(module), images.double(), spec.labels, spec.saliency, batch_size, savepoints
    )
    fast = UnchangedImages.asked(
        module, images, exact.labels, exact.label, spec.saliency, batch_size, savepoints
    )
    return fast, exact


def evaluate(
    spec: VerificationSpec, model: LoadedModel, data: Dataset, units: Sequence[Unit], context: RunContext
) -> Iterator[Record]:
    """One record per unit, in order; images of one combination are looked at together."""
    samples = list(dict.fromkeys(unit.payload[0] for unit in units))
    pixels = context.loader.batch([LoadedPicture(model, data, sample) for sample in samples], context.device)
    fast, exact = origins(spec, model.module, pixels, context.batch_size, context.savepoints)
    records: dict[str, Record] = {}
    for combination in sorted({unit.payload[1] for unit in units}):
        asked = [unit for unit in units if unit.payload[1] == combination]
        rows = [samples.index(unit.payload[0]) for unit in asked]
        motions = parse_motions(spec.combinations[combination])
        assert spec.search is not None
        here = fast.some(rows), exact.some(rows)
        found = search(*here, motions, spec.deltas, spec.search)
        for row, (unit, each) in enumerate(zip(asked, found, strict=True)):
            sample = unit.payload[0]
            values = describe(each, sample.unit_id, sample.label, spec, combination)
            shown = sample in data.samples[:SHOWN_IMAGES]
            files = pictures(here[0].some([row]), motions, each, spec) if shown else {}
            named = {f"{path_safe(unit.id)}/{name}": content for name, content in files.items()}
            records[unit.id] = Record(unit.id, values, files=named)
            context.advance(1)
    yield from (records[unit.id] for unit in units)


def describe(
    found: SearchFinding, image: str, label: int, spec: VerificationSpec, combination: int
) -> dict[str, Any]:
    """What was found, as plain values."""
    deltas = (*spec.deltas, None)
    return {
        "verifier": "search",
        "saliency": spec.saliency,
        "image": image,
        "label": label,
        "predicted": found.label,
        "perturbation": spec.names[combination],
        "norm": found.norm,
        "sup_ai": found.ai.value,
        "sup_ai_relative": found.ai.value / found.norm if found.norm else None,
        "theta_sup": found.ai.theta.tolist(),
        "min_margin": found.margin.value,
        "theta_min": found.margin.theta.tolist(),
        "within_quarter": found.within,
        "points": found.points,
        "confirmed": found.confirmed,
        "properties": {
            property_name(delta): _seen(found, delta, seen)
            for delta, seen in zip(deltas, found.satisfied, strict=True)
        },
    }


def violation(found: SearchFinding, delta: float | None) -> Point | None:
    """The confirmed point that breaks AR at delta (CR where it is None), or None: then nothing is known."""
    if delta is None:
        return found.margin if found.margin.value < 0 else None
    return found.ai if found.ai.value > delta else None


def _seen(found: SearchFinding, delta: float | None, seen: float) -> dict[str, Any]:
    point = violation(found, delta)
    return {
        "verdict": "unknown" if point is None else "violated",
        "seen": seen,
        "witness": None if point is None else {"theta": point.theta.tolist(), "value": point.value},
    }
