"""From records to consistency, attack success and guards; pure, and without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from assay.common.statistics import wilson_interval
from assay.results.document import Guard, Metric
from assay.tasks.base import Record, Summary, clean_records
from assay.tasks.consistency.blocks import KINDS
from assay.tasks.consistency.scores import Scoring, covered, estimates
from assay.tasks.consistency.spec import ConsistencySpec
from assay.tasks.consistency.titles import titled
from assay.tasks.consistency.topk import MIN_TOP_IMAGES

ENOUGH_IMAGES = 100
TIED_LIMIT = 0.05  # share of neurons
LEVEL_LIMIT = 0.05  # share of neurons
SUCCESS_BOUND = 0.95  # of the adversarial images, by each member
PERMUTATIONS = 20
PERMUTED_LIMIT = 5.0  # standard errors; Student's t with 19 degrees of freedom exceeds it once in 12,000 runs
REPEAT_TOLERANCE = 1e-4  # of the largest activation; two passes over the same images
ALONE_TOLERANCE = 1e-3  # of the largest activation; batched kernels sum in another order


def summarise(spec: ConsistencySpec, records: Sequence[Record]) -> Summary:
    """Means over neurons with intervals over images, their floors and excess, the sigma sweep, attack success."""
    images = covered(records)
    if images < MIN_TOP_IMAGES:
        return Summary((), (_enough(images, f"a neuron needs {MIN_TOP_IMAGES} images to stand for it"),))
    scoring = Scoring.of(spec, records)
    if not scoring.hierarchy_as_named or scoring.labels_outside:
        return Summary((), (_hierarchy_as_named(scoring), _labels_in_hierarchy(scoring)))
    return Summary(tuple(titled(_metrics(spec, scoring))), tuple(_guards(scoring, records)))


def _metrics(spec: ConsistencySpec, scoring: Scoring) -> Iterator[Metric]:
    for layer in reversed(scoring.layers):
        prefix = "" if layer == scoring.headline else f"{layer}:"
        for sigma in spec.sigmas:
            for name, found in estimates(scoring, layer, float(sigma)).items():
                common = {
                    "value": found.value, "ci_low": found.low, "ci_high": found.high, "n": found.n,
                    "unit": "excess" if name.startswith("excess") else "consistency",
                }  # fmt: skip
                if sigma == spec.headline_sigma:
                    yield Metric(name=prefix + name, headline=not prefix, **common)
                yield Metric(
                    name=f"{prefix}{name}@{sigma}",
                    series=prefix + name,
                    x=float(sigma),
                    x_label="sigma",
                    **common,
                )
    for name, hits in scoring.merged.images.outcomes.items():
        low, high = wilson_interval(int(hits.sum()), len(hits))
        yield Metric(
            name=f"attack_success:{name}", value=float(hits.mean()), ci_low=low, ci_high=high, n=len(hits),
            unit="proportion", headline=True,
        )  # fmt: skip


def _guards(scoring: Scoring, records: Sequence[Record]) -> Iterator[Guard]:
    """Guards: how the figures could be a lie, or say less than they seem to. Every run checks each."""
    real, kept = scoring.counts["real"], scoring.kept
    yield _enough(real, f"{kept['real']} of {real} images stand for a neuron: its figure is mostly sampling")
    yield _worst(scoring, "top_images_decided", scoring.tied_share, TIED_LIMIT,
                 "largest share of neurons whose last top image is tied with the next one")  # fmt: skip
    yield _worst(scoring, "neurons_not_saturated", scoring.level_share, LEVEL_LIMIT,
                 "largest share of neurons that all their top images excite equally (saturated or dead)")  # fmt: skip
    for kind in KINDS:
        yield _floor_is_right(scoring, kind)
    yield from _adversarial_guards(scoring)
    yield _hierarchy_as_named(scoring)
    yield _labels_in_hierarchy(scoring)
    yield _largest(records, "repeat_difference", REPEAT_TOLERANCE, "two passes over the same images")
    yield _largest(records, "alone_difference", ALONE_TOLERANCE, "an image alone and in its batch")


def _hierarchy_as_named(scoring: Scoring) -> Guard:
    """A submission brings its hierarchy: another one under the same name would be another measure."""
    passed, found = scoring.hierarchy_as_named, scoring.merged.hierarchy
    verb = "is" if passed else "is not"
    return Guard(
        name="hierarchy_as_named", passed=passed, value=float(not passed), limit=0,
        detail=f"the records' hierarchy {found.name} {verb} the spec's {scoring.spec.hierarchy}",
    )  # fmt: skip


def _labels_in_hierarchy(scoring: Scoring) -> Guard:
    name = scoring.merged.hierarchy.name
    return _limit("labels_in_hierarchy", scoring.labels_outside, 0, f"labels outside hierarchy {name}")


def _enough(images: int, why: str) -> Guard:
    return Guard(
        name="enough_images", passed=images >= ENOUGH_IMAGES, value=images, limit=ENOUGH_IMAGES,
        detail=f"{images} real images" + ("" if images >= ENOUGH_IMAGES else f" are too few: {why}"),
    )  # fmt: skip


def _worst(scoring: Scoring, name: str, share: Any, limit: float, detail: str) -> Guard:
    shares = {(kind, layer): share(kind, layer) for kind in KINDS for layer in scoring.layers}
    kind, layer = max(shares, key=lambda key: shares[key])
    neurons = len(scoring.top(kind, layer).images)
    return _limit(
        name, shares[kind, layer], limit, f"{detail}; layer {layer}, {neurons} neurons, {kind} images"
    )


def _floor_is_right(scoring: Scoring, kind: str) -> Guard:
    """The exact floor against shuffles of the sources' labels."""
    means = scoring.permuted(kind, PERMUTATIONS)
    expected = float(scoring.headline_scores(scoring.headline)[kind].floor.mean())
    spread = float(means.std(ddof=1)) / np.sqrt(PERMUTATIONS)
    distance = abs(float(means.mean()) - expected)
    return _limit(
        f"floor_{kind}_is_permutation_mean",
        distance / spread if spread > 1e-12 else float(distance > 1e-9) * 2 * PERMUTED_LIMIT,
        PERMUTED_LIMIT,
        f"standard errors between the floor {expected:.4f} and {PERMUTATIONS} shuffles of the labels",
    )


def _adversarial_guards(scoring: Scoring) -> Iterator[Guard]:
    images = scoring.merged.images
    versions = np.bincount(images.sources, minlength=scoring.counts["real"])
    yield _limit(
        "adversarial_set_complete",
        int((versions != versions.max()).sum()),
        0,
        f"real images with fewer adversarial versions than {versions.max()}",
    )
    members = {name: hits for name, hits in images.outcomes.items() if name.startswith("member:")}
    if members:
        name = min(members, key=lambda key: members[key].mean())
        success = float(members[name].mean())
        yield Guard(
            name="attack_succeeds", passed=success >= SUCCESS_BOUND, value=success, limit=SUCCESS_BOUND,
            detail=f"share of adversarial images that {name.partition(':')[2]}, the least fooled member, answers with "
            "their target",
        )  # fmt: skip


def _limit(name: str, value: float, limit: float, detail: str) -> Guard:
    return Guard(name=name, passed=value <= limit, value=value, limit=limit, detail=detail)


def _largest(records: Sequence[Record], check: str, limit: float, detail: str) -> Guard:
    value = max((record.values["checks"][check] for record in records), default=0.0)
    return _limit(
        f"{check.removesuffix('_difference')}_agrees",
        value,
        limit,
        f"largest difference between {detail}, as a share of the largest activation",
    )


def rows(spec: ConsistencySpec, records: Sequence[Record]) -> Iterator[Mapping[str, Any]]:
    """One row per neuron and layer at the headline sigma; a block that failed has one row with its error."""
    scoring = Scoring.where_possible(spec, clean_records(records))
    if scoring is not None:
        for layer in scoring.layers:
            scores = scoring.headline_scores(layer)
            real, made = scores["real"], scores["adversarial"]
            for neuron in range(len(real.consis)):
                yield {
                    "layer": layer,
                    "neuron": neuron,
                    "consis": float(real.consis[neuron]),
                    "consis_adv": float(made.consis[neuron]),
                    "floor": float(real.floor[neuron]),
                    "floor_adv": float(made.floor[neuron]),
                    "top_class": int(real.top_class[neuron]),
                }
    for record in records:
        if record.error is not None:
            yield {"error": f"{record.unit_id}: {record.error}"}
