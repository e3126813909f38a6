"""From records to accuracies and guards; pure, and without torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from assay.results.document import Guard, Metric
from assay.results.statistics import wilson_interval
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record, Summary

BALL_TOLERANCE = 1e-6  # pixel units; what float32 arithmetic may add to a projection
REPEAT_TOLERANCE = 1e-4  # of the largest logit; two passes over the same images
ALONE_TOLERANCE = 1e-3  # of the largest logit; batched kernels sum in another order
RESCORE_LIMIT = 0.01  # share of claimed successes that a fresh pass may deny (images on the very boundary)


def summarise(spec: AdversarialSpec, records: Sequence[Record]) -> Summary:
    """Clean and robust accuracies with Wilson intervals, over all images and over the clean-correct ones."""
    return Summary(metrics=tuple(_metrics(spec, records)), guards=tuple(_guards(spec, records)))


def _metrics(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Metric]:
    clean = [bool(record.values["clean_correct"]) for record in records]
    yield _proportion("clean_accuracy", clean, headline=True)
    for series in [attack.series for attack in spec.attacks]:
        for eps in spec.eps:
            stands = [_stands(record, series, eps) for record in records]
            if "robust_accuracy" in spec.metrics:
                yield _point(f"{series}:robust_accuracy", series, eps, stands, headline=True)
            if "robust_accuracy_of_correct" in spec.metrics:
                kept = [stand for stand, correct in zip(stands, clean, strict=True) if correct]
                yield _point(f"{series}:robust_accuracy_of_correct", f"{series} (of correct)", eps, kept)
    if "worst_case" in spec.metrics:
        for eps in spec.eps:
            stands = [
                all(_stands(record, attack.series, eps) for attack in spec.attacks) for record in records
            ]
            yield _point("worst:robust_accuracy", "worst", eps, stands, headline=True)


def _stands(record: Record, series: str, eps: Fraction) -> bool:
    return bool(outcome(record, series, eps)["correct"])


def outcome(record: Record, series: str, eps: Fraction) -> Mapping[str, Any]:
    """What one attack at one ``eps`` did to one image."""
    found: Mapping[str, Any] = record.values["attacks"][series][str(eps)]
    return found


def _proportion(name: str, outcomes: Sequence[bool], **extra: Any) -> Metric:
    n, hits = len(outcomes), sum(outcomes)
    low, high = wilson_interval(hits, n)
    return Metric(
        name=name, value=hits / n if n else None, ci_low=low, ci_high=high, n=n, unit="proportion", **extra
    )


def _point(name: str, series: str, eps: Fraction, outcomes: Sequence[bool], headline: bool = False) -> Metric:
    return _proportion(
        f"{name}@{eps}", outcomes, series=series, x=float(eps), x_label="eps", headline=headline
    )


def _guards(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Guard]:
    """The facts' list of ways in which such a number has been wrong; each is checked in every run."""
    attacked = [
        (attack.series, eps, outcome(record, attack.series, eps), record)
        for record in records for attack in spec.attacks for eps in spec.eps
    ]  # fmt: skip
    at_zero = [row for _, eps, row, _ in attacked if eps == 0]
    moved = sum(row["distance"] != 0 for row in at_zero)
    wrong = sum(
        row["predicted"] != record.values["predicted"] for _, eps, row, record in attacked if eps == 0
    )
    yield _count("eps_zero_is_clean", moved + wrong, f"{len(at_zero)} outcomes at eps 0 equal the clean ones")
    excess = max((row["distance"] - float(eps) for _, eps, row, _ in attacked), default=0.0)
    yield Guard(
        name="inside_the_ball",
        passed=excess <= BALL_TOLERANCE,
        value=excess,
        limit=BALL_TOLERANCE,
        detail=f"largest excess of the {spec.norm} distance over eps",
    )
    outside = sum(not row["in_box"] for _, _, row, _ in attacked)
    yield _count("inside_the_pixel_range", outside, "adversarial images with a pixel outside [0, 1]")
    yield _count(
        "no_probabilities",
        _all(records, lambda checks: checks["probabilities"]),
        "1 when every row of the model's output is a probability distribution instead of logits",
    )
    yield from _gradient_guards([row for _, _, row, _ in attacked])
    yield _largest(records, "repeat_difference", REPEAT_TOLERANCE, "two clean passes over the same images")
    yield _largest(records, "alone_difference", ALONE_TOLERANCE, "an image scored alone and in its batch")
    claimed = [row for _, _, row, _ in attacked if row["claimed"]]
    denied = sum(row["correct"] for row in claimed)
    yield Guard(
        name="successes_confirmed",
        passed=denied <= RESCORE_LIMIT * max(len(claimed), 1),
        value=denied / max(len(claimed), 1),
        limit=RESCORE_LIMIT,
        detail=f"{denied} of {len(claimed)} claimed successes were denied by a fresh forward pass",
    )


def _gradient_guards(rows: Sequence[Mapping[str, Any]]) -> Iterator[Guard]:
    saturated = sum(row["retried"] for row in rows)
    yield _count(
        "loss_not_saturated",
        saturated,
        "outcomes where the loss had a gradient of exactly zero, attacked again with the logit margin",
    )
    blind = sum(row["zero_gradient"] for row in rows)
    yield _count(
        "gradient_not_zero", blind, "outcomes where even the logit margin had a gradient of exactly zero"
    )


def _count(name: str, value: int, detail: str) -> Guard:
    return Guard(name=name, passed=value == 0, value=value, limit=0, detail=detail)


def _all(records: Sequence[Record], holds: Callable[[Mapping[str, Any]], bool]) -> int:
    return int(bool(records) and all(holds(record.values["checks"]) for record in records))


def _largest(records: Sequence[Record], check: str, limit: float, detail: str) -> Guard:
    value = max((record.values["checks"][check] for record in records), default=0.0)
    return Guard(
        name=f"{check.removesuffix('_difference')}_agrees",
        passed=value <= limit,
        value=value,
        limit=limit,
        detail=f"largest difference between {detail}, as a share of the largest logit",
    )
