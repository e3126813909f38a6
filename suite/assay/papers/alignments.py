"""Etmann's alignment of a model here, computed once per network and kept beside the reproduction."""

import json
from math import isnan
from pathlib import Path
from typing import Any

from assay.papers.claims import MeasuredValue, MissingValue
from assay.papers.plan import ZOO, Reproduction
from assay.papers.spec.measurements import AlignmentMeasurement
from assay.runner.files import path_name, write_atomically

FORMAT = 2  # of what is kept; raised whenever the same network would give another figure


def aligned(
    plan: Reproduction, wanted: AlignmentMeasurement, seed: int | None
) -> MeasuredValue | MissingValue:
    """The mean alignment of one network, with its interval over images.

    Raises:
        UserError: the data are missing, or do not fit the network.
    """
    name = wanted.model if seed is ZOO else plan.net(wanted.model, seed).folder.name
    kept = plan.out / "alignment" / path_name(f"{name}-{Path(wanted.data).stem}-{wanted.images}.json")
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        there = found["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        there = False
    if not there:
        found = {"format": FORMAT} | _computed(plan, wanted, seed)
        write_atomically(kept, json.dumps(found, indent=1) + "\n")
    if found["mean"] is None:
        return MissingValue(f"{name}: the gradient is zero at every image")
    by_unit = {unit: (value,) for unit, value in found["by_unit"].items()}
    known = by_unit if None not in found["by_unit"].values() else {}
    return MeasuredValue(found["mean"], found["low"], found["high"], "pixels", found["n"], by_unit=known)


def _computed(plan: Reproduction, wanted: AlignmentMeasurement, seed: int | None) -> dict[str, Any]:
    """The mean, its interval over images and their number, and each image's own (None where it has none)."""
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest
    from assay.models.zoo import load_model
    from assay.saliency.alignment import alignment_of_many, summarise

    model = load_model(plan.model_name(wanted.model, seed), device=plan.device)
    data = open_dataset(load_manifest(wanted.data), [Path(root) for root in plan.data_roots])
    samples = data.samples[: wanted.images]
    values = alignment_of_many(model.module, (model.prepare(data.image(sample)) for sample in samples))
    summary = summarise(values)
    bounds = {"mean": summary.mean, "low": summary.low, "high": summary.high} if summary.n else {"mean": None}
    units = [sample.unit_id for sample in samples]
    own = [None if isnan(value) else value for value in values]
    return {**bounds, "n": summary.n, "by_unit": dict(zip(units, own, strict=True))}
