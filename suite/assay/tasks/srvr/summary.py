"""From records to SRVR, its companions and the guards; pure, and without torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from assay.common.statistics import bootstrap_interval, mean_interval_in_range
from assay.results.document import Guard, Metric
from assay.tasks.base import Record, Summary
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible
from assay.tasks.srvr.metric import SearchVolume, ShapeMean, intersection_over_union, srvr
from assay.tasks.srvr.spec import CALIBRATED, SrvrSpec
from assay.tasks.srvr.study import (
    ACCEPTED_BAND_SCORE,
    CALIBRATED_MAP,
    Search,
    ShapeMap,
    Study,
    study,
    view_maps,
)
from assay.tasks.srvr.titles import titled
from assay.tasks.srvr.traps import Trap, find_traps

LEAST_COVERAGE = 1e-3  # share of a render's pixels that show the object
LARGEST_SATURATION = 0.9  # share of a render's pixels that are white
REFERENCE_TOLERANCE = 0.01  # intensity; what rounding at edges may change in an 8 x 8 tile
REPEAT_TOLERANCE = 1e-3  # probability; batched kernels sum in another order


def summarise(spec: SrvrSpec, records: Sequence[Record]) -> Summary:
    """SRVR with intervals over shapes, mean map values, adversarial volumes, traps, and the guards."""
    found = study(spec, records)
    return Summary(metrics=tuple(titled(_metrics(spec, found))), guards=tuple(_guards(spec, records, found)))


def map_traps(spec: SrvrSpec, shape: ShapeMap) -> list[Trap]:
    """The traps of one map over azimuth and elevation; none for maps over anything else."""
    if not spec.is_view_map:
        return []
    return find_traps(view_maps(spec, [shape]).maps[0], *spec.view_axes)


def plausible_scores(spec: SrvrSpec, records: Sequence[Record], expected: ExpectedAccuracy) -> Guard | None:
    """Whether the network knows the counted shapes: their mean score, a probability, against chance.

    A stated accuracy is of other pictures than renders, so it is not compared. None without a shape.
    """
    scores: dict[str, list[float]] = {}
    for record in records:
        if record.values["kind"] == "row" and record.values["shape"] not in spec.excluded:
            known = (
                record.values.get("calibrated") or record.values["scores"]
            )  # these depend on the logits' scale
            scores.setdefault(record.values["shape"], []).extend(known)
    if not scores:
        return None
    means = [float(np.mean(each)) for each in scores.values()]
    value, (low, high) = fmean(means), bootstrap_interval(means, spec.seed)
    measured = f"mean score of the right class {value:.3g} [{low:.3g}, {high:.3g}] over {len(means)} shapes"
    return plausible(measured, (value, low, high), 1 / expected.num_classes)


def _metrics(spec: SrvrSpec, found: Study) -> Iterator[Metric]:
    if spec.labelled is not None:
        yield from _calibrated(spec, found)
    counted = [search for search in found.searches if search.shape not in spec.excluded]
    for function in dict.fromkeys(search.function for search in counted):
        yield from _volumes([search for search in counted if search.function == function])
    if spec.function == "network":
        yield _agreement(spec, counted)
    maps = [shape for shape in found.maps if shape.shape not in spec.excluded]
    yield _mean("views_recognised", [m.answered for m in maps if m.answered is not None], "proportion")
    yield _mean("mean_nsm", [float(shape.rows.mean()) for shape in maps], "probability")
    yield _count("shapes_recognised", sum(shape.recognised for shape in found.maps), len(found.maps), True)
    for shape in found.maps:
        yield Metric(name=f"best_band:{shape.shape}", value=shape.best_band, n=1, unit="probability")
    if spec.is_view_map:
        traps = [(shape.shape, trap) for shape in maps for trap in map_traps(spec, shape)]
        yield _count("traps", len(traps), len(maps), True)
        for name, trap in traps:
            where = f"{name}:{trap.azimuth_deg:g},{trap.elevation_deg:g}"
            yield Metric(name=f"trap_area:{where}", value=trap.area_deg2, n=1, unit="deg²")
            yield Metric(name=f"trap_depth:{where}", value=trap.depth, n=1, unit="probability")


def _calibrated(spec: SrvrSpec, found: Study) -> Iterator[Metric]:
    """The headline; without a value where no temperature fits, or the records are older than temperatures."""
    counted = [search for search in found.calibrated_searches if search.shape not in spec.excluded]
    if counted:
        yield from _volumes(counted)
    else:
        yield Metric(name=CALIBRATED, value=None, n=0, unit="%", headline=True)
    fitted = found.temperature
    value, pictures = (None, 0) if fitted is None else (fitted["value"], fitted["pictures"])
    yield Metric(name="temperature", value=value, n=pictures, unit="logits", headline=True)


def _volumes(searches: Sequence[Search]) -> Iterator[Metric]:
    """The volume ratios of one function's regions: over all, by method, by class."""
    name = _series(searches[0])
    volumes = [
        SearchVolume(search.shape, search.class_index, search.method, search.volume_ratio)
        for search in searches
    ]
    names = {search.class_index: search.class_name for search in searches}
    result = srvr(volumes)
    yield _metric(name, result.overall, "%", headline=True)
    for method, estimate in result.by_method.items():
        yield _metric(f"{name}:{method}", estimate, "%", headline=not searches[0].adversarial)
    for index, estimate in result.by_class.items():
        yield _metric(f"{name}:class:{names[index]}", estimate, "%")
    yield _count(f"{name}:converged", sum(search.converged for search in searches), len(searches))


def _series(search: Search) -> str:
    """``srvr`` or ``adversarial_volume``, with ``_network`` for regions of the network itself, or ``_calibrated``."""
    if search.function == CALIBRATED_MAP:
        return CALIBRATED
    return ("adversarial_volume" if search.adversarial else "srvr") + "_network" * search.on_network


def _agreement(spec: SrvrSpec, searches: Sequence[Search]) -> Metric:
    """How far regions grown on the network and on its map agree, for the same shape, point and method."""
    boxes: dict[bool, dict[Any, Any]] = {False: {}, True: {}}
    for search in searches:
        key = (search.shape, search.method, search.adversarial, tuple(search.initial))
        boxes[search.on_network][key] = np.stack((search.low, search.high))
    both = sorted(set(boxes[False]) & set(boxes[True]))
    ious = [float(intersection_over_union(boxes[False][key], boxes[True][key], spec.domain)) for key in both]
    finite = [iou for iou in ious if math.isfinite(iou)]
    value = float(np.mean(finite)) if finite else None
    return Metric(name="map_network_iou", value=value, n=len(finite), unit="IoU", headline=True)


def _metric(name: str, estimate: ShapeMean, unit: str, headline: bool = False) -> Metric:
    value = estimate.value if math.isfinite(estimate.value) else None
    return Metric(
        name=name, value=value, ci_low=estimate.low, ci_high=estimate.high, n=estimate.shapes, unit=unit,
        headline=headline,
    )  # fmt: skip


def _mean(name: str, values: Sequence[float], unit: str) -> Metric:
    """A mean over shapes of figures in [0, 1]."""
    low, high = mean_interval_in_range(values) or (None, None)
    value = fmean(values) if values else None
    return Metric(name=name, value=value, ci_low=low, ci_high=high, n=len(values), unit=unit, headline=True)


def _count(name: str, value: int, n: int, headline: bool = False) -> Metric:
    return Metric(name=name, value=value, n=n, unit="count", headline=headline)


def _guards(spec: SrvrSpec, records: Sequence[Record], found: Study) -> Iterator[Guard]:
    """Guards: how the number could be a lie. Every run checks each."""
    rows = [record.values for record in records if record.values["kind"] == "row"]
    coverage = min((row["checks"]["least_coverage"] for row in rows), default=1.0)
    yield Guard(
        name="render_not_empty",
        passed=coverage >= LEAST_COVERAGE,
        value=coverage,
        limit=LEAST_COVERAGE,
        detail="least share of a render's pixels that show the object",
    )
    yield _largest(
        rows, "largest_saturation", LARGEST_SATURATION, "share of a render's pixels that are white"
    )
    yield _largest(
        rows, "reference_difference", REFERENCE_TOLERANCE, "difference from the known picture of a known view"
    )
    yield _largest(
        rows, "rerender_difference", 0.0, "difference of a pixel when a view is drawn again, alone"
    )
    yield _largest(
        rows,
        "repeat_difference",
        REPEAT_TOLERANCE,
        "difference of a probability when a view is scored again, alone",
    )
    if spec.corruption is not None:
        unchanged = sum(row["checks"].get("least_change", 0.0) <= 0 for row in rows)
        yield Guard.none_found(
            "corruption_changes_renders", unchanged, "rows with a render that the corruption leaves as it was"
        )
    outside = sum(not 0 <= score <= 1 for row in rows for score in row["scores"])
    yield Guard.none_found("score_is_probability", outside, "scores outside [0, 1]")
    yield Guard.none_found(
        "maps_complete", len(found.incomplete), "shapes left out, since rows of their maps are missing"
    )
    moved = sum(
        bool((search.low < spec.domain.low).any() or (search.high > spec.domain.high).any())
        for search in found.searches
    )
    yield Guard.none_found(
        "regions_inside_the_domain",
        0 if spec.as_published else moved,
        "regions that leave the domain" + " (allowed: as published)" * spec.as_published,
    )
    every = (*found.searches, *found.calibrated_searches)
    lost = sum(math.isnan(search.volume_ratio) for search in every)
    yield Guard.none_found("no_search_diverged", lost, "searches without a region, left out of every mean")
    weak = [s.shape for s in found.maps if s.shape not in spec.excluded and not s.recognised]
    yield _acceptance(weak, found)
    if found.temperature is not None:
        yield _temperature_fits(found.temperature)


def _temperature_fits(fitted: Mapping[str, Any]) -> Guard:
    right, pictures, value = fitted["correct"], fitted["pictures"], fitted["value"]
    found = "no finite temperature fits" if value is None else f"the temperature is {value:.4g}"
    if right == pictures:
        found += ", at which the mean confidence is (n + 1) / (n + 2)"
    return Guard(
        name="temperature_fits", passed=value is not None, value=value,
        detail=f"{right} of {pictures} labelled pictures are answered as labelled: {found}",
    )  # fmt: skip


def _acceptance(weak: Sequence[str], found: Study) -> Guard:
    """Not a fault of the number but of what it speaks of, so it never fails; its text says who passes."""
    passing = [shape.shape for shape in found.maps if shape.recognised]
    failing = [f"{s.shape} ({s.best_band:.3f})" for s in found.maps if not s.recognised]
    return Guard(
        name="acceptance",
        passed=True,
        value=len(weak),
        detail=f"counted shapes below the rule (mean score >= {ACCEPTED_BAND_SCORE} in one band of views); "
        f"pass: {', '.join(passing) or 'none'}; do not: {', '.join(failing) or 'none'}",
    )


def _largest(rows: Sequence[Mapping[str, Any]], check: str, limit: float, detail: str) -> Guard:
    value = max((row["checks"][check] for row in rows), default=0.0)
    name = {
        "largest_saturation": "render_not_saturated",
        "reference_difference": "camera_as_ever",
        "rerender_difference": "render_repeats",
        "repeat_difference": "score_repeats",
    }[check]
    return Guard(name=name, passed=value <= limit, value=value, limit=limit, detail=f"largest {detail}")
