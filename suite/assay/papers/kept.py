"""Figures that no run gives, computed once and kept beside the reproduction: alignments, and the authors' archive."""

import json
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from assay.data.hashes import content_sha256
from assay.papers.claims import MeasuredValue, MissingValue
from assay.papers.plan import ZOO, Reproduction
from assay.papers.spec.measurements import AlignmentMeasurement, RegionsMeasurement
from assay.runner.files import path_name, write_atomically
from assay.tasks.base import Task

# The version of kept figures: raised whenever the same network, or the same archive, would give others.
ALIGNMENT_FORMAT = 2
ARCHIVE_FORMAT = 1

Figures = Mapping[str, Mapping[str, float]]
"""Figures by ``network:quantity:method``, then by shape; missing regions are left out."""


def aligned(
    plan: Reproduction, wanted: AlignmentMeasurement, seed: int | None
) -> MeasuredValue | MissingValue:
    """The mean of Etmann's alignment of one network, with its interval over images.

    Raises:
        UserError: the data are missing, or do not fit the network.
    """
    name = wanted.model if seed is ZOO else plan.net(wanted.model, seed).folder.name
    place = plan.out / "alignment" / path_name(f"{name}-{Path(wanted.data).stem}-{wanted.images}.json")
    found = _kept(place, {"format": ALIGNMENT_FORMAT}, lambda: _alignment(plan, wanted, seed))
    if found["mean"] is None:
        return MissingValue(f"{name}: the gradient is zero at every image")
    by_unit = {unit: (value,) for unit, value in found["by_unit"].items()}
    known = by_unit if None not in found["by_unit"].values() else {}
    return MeasuredValue(found["mean"], found["low"], found["high"], "pixels", found["n"], by_unit=known)


def _alignment(plan: Reproduction, wanted: AlignmentMeasurement, seed: int | None) -> dict[str, Any]:
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


def shape_values(
    task: Task[Any, Any], archive: Path, place: Path, wanted: RegionsMeasurement
) -> Mapping[str, float]:
    """One figure per shape.

    Args:
        task: the family that reads the archive.
        archive: the authors' file.
        place: where the figures of all networks are kept between runs.
        wanted: the network and its figure.

    Raises:
        UserError: a file of another form.
        KeyError: a network that the archive does not hold.
    """
    return figures_of(task, archive, place)[f"{wanted.network}:{wanted.quantity}:{wanted.method}"]


def figures_of(task: Task[Any, Any], archive: Path, place: Path) -> Figures:
    """All figures of the archive; computed unless ``place`` keeps those of the same file."""
    made_of = {"format": ARCHIVE_FORMAT, "sha256": content_sha256(archive, packed=False)}
    figures: Figures = _kept(place, made_of, lambda: {"figures": task.archive(archive)})["figures"]
    return figures


def _kept(
    place: Path, made_of: Mapping[str, Any], computed: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The document in ``place`` where it is made of the same; else what is computed, which is kept there."""
    try:
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        if all(found[name] == value for name, value in made_of.items()):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = {**made_of, **computed()}
    write_atomically(place, json.dumps(found, indent=1) + "\n")
    return found
