"""From records to accuracies, and what people call them; pure, and without torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import compress
from math import inf, isfinite
from statistics import fmean
from typing import Any

from assay.attacks.settings import AttackSettings
from assay.common.statistics import mean_interval_in_range, wilson_interval
from assay.results.document import Direction, Metric
from assay.results.tables import in_255ths
from assay.tasks.adversarial.guards import all_guards
from assay.tasks.adversarial.records import Outcomes, state
from assay.tasks.adversarial.spec import HEADLINE, AdversarialSpec
from assay.tasks.base import Record, Summary
from assay.tasks.shared.own_answers import as_agreement

_OF_SERIES: dict[str, tuple[str, Direction]] = {
    "robust_accuracy": ("Robust accuracy", "up"),
    "robust_accuracy_of_correct": ("Robust accuracy of the correct", "up"),
    "robust_accuracy_8bit": ("Robust accuracy after rounding to 8 bit", "up"),
    "targeted_success": ("Target reached", "down"),
    "median_eps": ("Median eps that breaks an image", "up"),
    "mean_relative_l2": ("Mean relative L2 length that breaks an image", "up"),
    "median_distance": ("Median distance of the nearest adversarial image", "up"),
    "mean_radius": ("Mean eps withstood", "up"),
    "curve_area": ("Area under the accuracy-eps curve", "up"),
    "stands_at_largest": ("Standing at the largest eps", "up"),
}
_ALONE: dict[str, tuple[str, Direction]] = {
    "clean_accuracy": ("Clean accuracy", "up"),
    "certified_accuracy": ("Proved accuracy", "up"),
    "undecided": ("Neither broken nor proved", "down"),
}

TOLERANCE = 1e-6  # pixel units; what float32 may add to a distance

_CURVES = ("robust_accuracy", "worst_case")  # of a spec's ``metrics``


def summarise(spec: AdversarialSpec, records: Sequence[Record]) -> Summary:
    """Clean and robust accuracies with Wilson intervals, over all images and over the clean-correct ones."""
    outcomes = Outcomes(spec, records)
    return Summary(
        metrics=tuple(_titled(spec, _metrics(spec, outcomes))), guards=tuple(all_guards(spec, outcomes))
    )


def metrics(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Metric]:
    """Those of :func:`summarise`, one after another."""
    yield from _titled(spec, _metrics(spec, Outcomes(spec, records)))


def curve_points(spec: AdversarialSpec, records: Sequence[Record]) -> tuple[Metric, ...]:
    """The points of the accuracy-eps curves: those metrics of :func:`summarise` that belong to a series."""
    wanted = tuple(name for name in spec.metrics if name in _CURVES)
    curves = spec.model_copy(update={"metrics": wanted})
    points = _of_attacks(curves, Outcomes(spec, records))
    return tuple(metric for metric in _titled(spec, points) if metric.headline)


def _metrics(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Metric]:
    yield from _withstood(spec, outcomes)
    if not spec.predicted:
        yield _proportion("clean_accuracy", outcomes.clean, headline=True)
    yield from _of_attacks(spec, outcomes)


def _of_attacks(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Metric]:
    """The figures of each attack, of the worst of all, and of proofs."""
    records = outcomes.records
    for attack in spec.attacks:
        yield from _of_attack(spec, attack, outcomes)
    if "worst_case" in spec.metrics:
        for eps in spec.eps:
            yield _point("worst:robust_accuracy", "worst", eps, outcomes.stands(eps), headline=True)
    if spec.curve == "exact":
        yield _median(
            "worst:median_distance", [nearest_of(each) for each in compress(records, outcomes.clean)]
        )
    if "median_eps" in spec.metrics:
        yield _median_eps("worst", outcomes, [worst_smallest_eps(spec, record) for record in records])
    if spec.proves:
        yield from _certified(spec, records)
    if spec.proofs is not None:
        for eps in spec.eps:
            left = [state(record, eps) == "undecided" for record in records]
            yield _point("undecided", "undecided", eps, left)


def withstood(radii: Sequence[Fraction], clean: bool, stands: Sequence[bool]) -> tuple[Fraction, Fraction]:
    """The largest radius that an image stands against every method, and the next, where it falls.

    Both are 0 for a misclassified image, and the largest radius for an image that stands there. Between the two nothing
    was tried: the first is what is known of the image, the middle of both what straight lines between the points of the
    accuracy-eps curve take for granted.

    Args:
        radii: the radii, smallest first.
        clean: whether the unchanged image is classified correctly.
        stands: whether it stands every method, at each radius.
    """
    stood = Fraction(0)
    if not clean:
        return stood, stood
    for eps, holds in zip(radii, stands, strict=True):
        if not holds:
            return stood, eps
        stood = eps
    return stood, stood


def _withstood(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Metric]:
    """The mean radius (the area under the curve as steps), the area under straight lines, and who stands at the end."""
    radii, n = spec.radii, len(outcomes.records)
    largest = radii[-1]
    images = list(zip(outcomes.clean, *(outcomes.stands(eps) for eps in radii), strict=True))
    ends = {image: withstood(radii, image[0], image[1:]) for image in set(images)}  # few of them differ
    unit, scale = ("1/255", 255.0) if spec.norm == "linf" else (spec.norm.upper(), 1.0)
    stood_to = {image: float(stood) for image, (stood, _) in ends.items()}
    area = {image: float((low + high) / 2 / largest) for image, (low, high) in ends.items()}
    if spec.curve == "exact":
        # The distance of the nearest adversarial image itself, where one lies within the largest radius.
        radius = [scale * min(nearest_of(record), float(largest)) for record in outcomes.records]
    else:
        radius = [scale * stood_to[image] for image in images]
    for name, values, most, unit_ in (
        (HEADLINE, radius, scale * float(largest), unit),
        ("worst:curve_area", [area[image] for image in images], 1.0, "proportion"),
    ):
        low, high = mean_interval_in_range(values, 0.0, most) or (None, None)
        value = fmean(values) if values else None
        yield Metric(
            name=name, value=value, ci_low=low, ci_high=high, n=n, unit=unit_, headline=name == HEADLINE
        )
    yield _proportion("worst:stands_at_largest", [ends[image][0] == largest for image in images])


def nearest_of(record: Record) -> float:
    """The distance of the nearest adversarial image that any attack found; 0 where the clean one is misclassified.

    Infinite where none was found up to the largest radius, or at any distance by attacks that look farther.
    """
    if not record.values["clean_correct"]:
        return 0.0
    found = (row.get("nearest") for by_eps in record.values["attacks"].values() for row in by_eps.values())
    return min((one for one in found if one is not None), default=inf)


def _of_attack(spec: AdversarialSpec, attack: AttackSettings, outcomes: Outcomes) -> Iterator[Metric]:
    series, records = attack.series, outcomes.records
    for eps in spec.eps:
        correct = outcomes.correct(attack, eps)
        if "robust_accuracy" in spec.metrics:
            yield _point(f"{series}:robust_accuracy", series, eps, correct, headline=True)
        if "robust_accuracy_of_correct" in spec.metrics:
            kept = list(compress(correct, outcomes.clean))
            yield _point(f"{series}:robust_accuracy_of_correct", f"{series} (of correct)", eps, kept)
        if attack.targeted != "no":
            hits = [row["target_hit"] for row in outcomes.of(attack, eps)]
            yield _point(f"{series}:targeted_success", f"{series} (target reached)", eps, hits)
        rows = outcomes.of(attack, eps) if spec.save_adversarial else ()
        if rounded := [row["correct_8bit"] for row in rows if "correct_8bit" in row]:
            yield _point(f"{series}:robust_accuracy_8bit", f"{series} (8 bit)", eps, rounded)
    if "median_eps" in spec.metrics:
        yield _median_eps(series, outcomes, [record.values["smallest_eps"][series] for record in records])
    if attack.only_foolbox_has:
        yield _mean_relative_l2(attack, outcomes, max(spec.eps))
    if (attack.leaves_ball and not spec.in_turn) or spec.curve == "exact":
        yield _median_distance(attack, outcomes, max(spec.eps))


def outcome(record: Record, series: str, eps: Fraction) -> Mapping[str, Any]:
    """What one attack at one ``eps`` did to one image."""
    found: Mapping[str, Any] = record.values["attacks"][series][str(eps)]
    return found


def worst_outcome(spec: AdversarialSpec, record: Record, eps: Fraction) -> Mapping[str, Any]:
    """The outcome of the first attack that broke the image at ``eps``; of the first attack where none did."""
    return outcome(record, broken_by(spec, record, eps) or spec.attacks[0].series, eps)


def broken_by(spec: AdversarialSpec, record: Record, eps: Fraction) -> str | None:
    """The first attack of the list that broke the image at ``eps``, by its series; None where none did."""
    return next(
        (attack.series for attack in spec.attacks if not outcome(record, attack.series, eps)["correct"]), None
    )


def worst_smallest_eps(spec: AdversarialSpec, record: Record) -> str | None:
    """The smallest radius at which any attack broke the image, or None."""
    found = [record.values["smallest_eps"][attack.series] for attack in spec.attacks]
    return min((eps for eps in found if eps is not None), key=_fraction, default=None)


@lru_cache(maxsize=1024)
def _fraction(eps: str) -> Fraction:
    """A radius as records name it; there are few of them, each named by very many records."""
    return Fraction(eps)


def _median_eps(series: str, outcomes: Outcomes, smallest: Sequence[str | None]) -> Metric:
    """The median, over the correctly classified, of the smallest radius that breaks; None beyond the radii."""
    known = [inf if eps is None else float(_fraction(eps)) for eps in compress(smallest, outcomes.clean)]
    return _median(f"{series}:median_eps", known)


def _median_distance(attack: AttackSettings, outcomes: Outcomes, eps: Fraction) -> Metric:
    """The median distance of the nearest adversarial image, over the correctly classified."""
    found = [row.get("nearest") for row in compress(outcomes.of(attack, eps), outcomes.clean)]
    return _median(f"{attack.series}:median_distance", [inf if one is None else one for one in found])


def _median(name: str, lengths: Sequence[float]) -> Metric:
    """The upper of two middle values: a tried radius that half of the images fall at; None if infinite."""
    value = sorted(lengths)[len(lengths) // 2] if lengths else inf
    return Metric(name=name, value=value if isfinite(value) else None, n=len(lengths), unit="eps")


def _mean_relative_l2(attack: AttackSettings, outcomes: Outcomes, eps: Fraction) -> Metric:
    """Moosavi-Dezfooli et al. 2016, equation 15: the mean of ||perturbation|| / ||image||, in L2."""
    found = [
        row["relative_l2"]
        for row, record in zip(outcomes.of(attack, eps), outcomes.records, strict=True)
        if record.values["clean_correct"] and not row["correct"]
    ]
    name = f"{attack.series}:mean_relative_l2"
    return Metric(name=name, value=fmean(found) if found else None, n=len(found), unit="ratio")


def _certified(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Metric]:
    """The share of images that provably stand; no value where the network cannot be bounded."""
    proofs = [record.values["certified"] for record in records]
    for eps in spec.eps:
        holds = [proof["holds"][str(eps)] for proof in proofs if proof is not None]
        metric = _point("certified_accuracy", "certified", eps, holds, headline=bool(holds))
        yield metric if holds else metric.model_copy(update={"ci_low": None, "ci_high": None})


def _proportion(name: str, outcomes: Sequence[bool], **extra: Any) -> Metric:
    n, hits = len(outcomes), sum(outcomes)
    low, high = wilson_interval(hits, n)
    return Metric(
        name=name, value=hits / n if n else None, ci_low=low, ci_high=high, n=n, unit="proportion", **extra
    )


def _point(name: str, series: str, eps: Fraction, outcomes: Sequence[bool], headline: bool = False) -> Metric:
    return _proportion(
        f"{name}@{in_255ths(str(eps))}",
        outcomes,
        series=series,
        x=float(eps),
        x_label="eps",
        headline=headline,
    )


def _titled(spec: AdversarialSpec, metrics: Iterator[Metric]) -> Iterator[Metric]:
    """The metrics with their titles and directions."""
    for metric in metrics:
        key, _, eps = metric.name.partition("@")
        series, _, figure = key.rpartition(":")
        words, direction = _OF_SERIES[figure] if series else _ALONE[key]
        method = f", {_method(spec, series)}" if series and metric.name != HEADLINE else ""
        at = f" at {eps}" if eps else ""
        title, name = f"{words}{at}{method}", metric.name
        if spec.predicted:
            title, name = f"{as_agreement(title)}, own answer", as_agreement(name)
        yield metric.model_copy(update={"name": name, "title": title, "direction": direction})


def _method(spec: AdversarialSpec, series: str) -> str:
    """``worst of 4 methods``, or the series with a method's own capitals where it is one by name."""
    if series == "worst":
        return f"worst of {len(spec.attacks)} methods" if len(spec.attacks) > 1 else "worst case"
    return series.upper() if series in {"fgsm", "bim", "pgd", "mim", "apgd"} else series.replace("_", " ")


def lowered(
    spec: AdversarialSpec, records: Sequence[Record], found: Mapping[str, float]
) -> tuple[tuple[Metric, ...], tuple[str, ...]]:
    """The worst-case figures that challenges leave, and the units that they break earlier than every attack did.

    Args:
        spec: of the records.
        records: of a run.
        found: the distance of an adversarial image, by unit.
    """
    after = [broken_at(spec, record, found.get(record.unit_id)) for record in records]
    earlier = tuple(one.unit_id for one, other in zip(records, after, strict=True) if one is not other)
    before = {metric.name: metric.value for metric in summarise(spec, records).metrics}
    return tuple(
        metric
        for metric in summarise(spec, after).metrics
        if metric.name.startswith("worst:") and metric.value != before[metric.name]
    ), earlier


def broken_at(spec: AdversarialSpec, record: Record, distance: float | None) -> Record:
    """The record with the image broken from its distance on; itself, where it was broken there already."""
    if distance is None or not record.values["clean_correct"]:
        return record
    reached = {str(eps) for eps in spec.radii if eps > 0 and distance <= float(eps) + TOLERANCE}
    series = spec.attacks[0].series
    # The challenge counts for the first attack: each figure over all attacks, such as `worst`, then has it.
    attacks = record.values["attacks"]
    standing = {eps for eps in reached if all(by_eps[eps]["correct"] for by_eps in attacks.values())}
    nearest = attacks[series][str(spec.radii[-1])].get("nearest")
    nearer = spec.curve == "exact" and distance < (inf if nearest is None else nearest)
    if not standing and not nearer:
        return record
    outcomes = {
        eps: {**row, "correct": row["correct"] and eps not in reached}
        | ({"nearest": min(distance, inf if row["nearest"] is None else row["nearest"])} if nearer else {})
        for eps, row in attacks[series].items()
    }
    smallest = next((str(eps) for eps in spec.radii if not outcomes[str(eps)]["correct"]), None)
    values = {
        **record.values,
        "attacks": {**attacks, series: outcomes},
        "smallest_eps": {**record.values["smallest_eps"], series: smallest},
    }
    return replace(record, values=values)
