"""From merged blocks to every neuron's figures; pure, and without torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from assay.common.resampling import PairedEstimate
from assay.common.statistics import LEAST_UNITS
from assay.tasks.base import Record
from assay.tasks.consistency.blocks import KINDS, MergedBlocks, merge
from assay.tasks.consistency.dyads import Likeness, likeness
from assay.tasks.consistency.hierarchy import named_hierarchy, path_lengths, similarity
from assay.tasks.consistency.metric import (
    Floats,
    NeuronScores,
    excess,
    label_floor,
    multi_hot,
    permuted_means,
    score_neurons,
)
from assay.tasks.consistency.spec import ConsistencySpec
from assay.tasks.consistency.topk import MIN_TOP_IMAGES, TopImages, top_count


def covered(records: Sequence[Record]) -> int:
    """How many real images the records speak of."""
    return sum(len(record.values["real"]["images"]) for record in records)


@dataclass(frozen=True)
class Scoring:
    """All that follows from the records: top images that count, and scores by kind, layer and sigma."""

    spec: ConsistencySpec
    merged: MergedBlocks

    @classmethod
    def of(cls, spec: ConsistencySpec, records: Sequence[Record]) -> Scoring:
        """The scoring of some blocks, at least one."""
        return cls(spec, merge(records))

    @classmethod
    def where_possible(cls, spec: ConsistencySpec, records: Sequence[Record]) -> Scoring | None:
        """The scoring of some blocks, or None where they cannot be scored: the guards then say why."""
        if covered(records) < MIN_TOP_IMAGES:
            return None
        scoring = cls.of(spec, records)
        return scoring if scoring.hierarchy_as_named and not scoring.labels_outside else None

    @cached_property
    def hierarchy_as_named(self) -> bool:
        """Whether the records' hierarchy is the one that the spec names; always so for a user's own file."""
        found = self.merged.hierarchy
        named = named_hierarchy(self.spec.hierarchy, len(found.classes))
        return named is None or hashlib.sha256(named).hexdigest() == found.sha256

    @cached_property
    def labels_outside(self) -> int:
        """How many labels of the images are no class of the hierarchy."""
        labels = np.array([label for concepts in self.merged.images.concepts for label in concepts])
        return int(((labels < 0) | (labels >= len(self.merged.hierarchy.classes))).sum())

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, the headline's last."""
        return self.merged.layers

    @property
    def headline(self) -> str:
        """The layer of the headline figures."""
        return self.merged.layers[-1]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many images of each kind there are."""
        images = self.merged.images
        return {"real": len(images.concepts), "adversarial": len(images.sources)}

    @cached_property
    def kept(self) -> dict[str, int]:
        """How many images of each kind stand for a neuron."""
        return {kind: top_count(self.counts[kind], float(self.spec.top_share)) for kind in KINDS}

    @cached_property
    def one_class_each(self) -> bool:
        """Whether every image shows one concept, so that consis(n) cannot exceed 1."""
        return all(len(concepts) == 1 for concepts in self.merged.images.concepts)

    @cached_property
    def membership(self) -> csr_array:
        """(real images, concepts)."""
        return multi_hot(self.merged.images.concepts, len(self.merged.hierarchy.classes))

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        return path_lengths(self.merged.hierarchy)

    def top(self, kind: str, layer: str) -> TopImages:
        """The images that stand for the layer's neurons."""
        return self.merged.tops[kind, layer].first(self.kept[kind])

    def tied_share(self, kind: str, layer: str) -> float:
        """Share of neurons with a last image chosen by its place in the data, not by its activation."""
        top = self.merged.tops[kind, layer]
        if top.images.shape[1] <= self.kept[kind]:  # every image stands for every neuron
            return 1.0
        return float(top.tied(self.kept[kind]).mean())

    def level_share(self, kind: str, layer: str) -> float:
        """Share of neurons that all their top images excite equally: saturated or dead."""
        activations = self.top(kind, layer).activations
        return float((activations[:, 0] == activations[:, -1]).mean())

    def sources(self, kind: str, layer: str) -> npt.NDArray[np.int64]:
        """(neurons, kept) the real image behind each top image."""
        images = self.top(kind, layer).images
        return images if kind == "real" else self.merged.images.sources[images]

    def scores(self, kind: str, layer: str, sigma: float) -> NeuronScores:
        """The layer's neurons at one width of the similarity."""
        return score_neurons(self.sources(kind, layer), self.membership, similarity(self._lengths, sigma))

    def similarity(self, sigma: float) -> Floats:
        """A at one width."""
        return similarity(self._lengths, sigma)

    def likeness(self, kind: str, layer: str, sigma: float) -> Likeness:
        """What the layer's figures rest on, with its errors."""
        return likeness(self.sources(kind, layer), self.membership, self.similarity(sigma))

    def headline_scores(self, layer: str) -> dict[str, NeuronScores]:
        """Kind to scores at the headline sigma."""
        return {kind: self.scores(kind, layer, float(self.spec.headline_sigma)) for kind in KINDS}

    def permuted(self, kind: str, n_permutations: int) -> Floats:
        """Mean consistency of the headline layer under random permutations of the sources' labels."""
        return permuted_means(
            self.sources(kind, self.headline),
            self.membership,
            similarity(self._lengths, float(self.spec.headline_sigma)),
            n_permutations,
            self.spec.seed,
        )


@dataclass(frozen=True)
class LayerEstimate:
    """A figure of a layer with its 95 % interval, which rests on n images; None where there is no interval."""

    value: float
    low: float | None
    high: float | None
    n: int


def estimates(scoring: Scoring, layer: str, sigma: float) -> dict[str, LayerEstimate]:
    """Metric name to its figure over a layer's neurons; the excess is left out where consis(n) may exceed 1.

    Intervals say how far figures would be off had other images been drawn (:mod:`..dyads`). Floors have none: they are
    what these labels give.
    """
    images = scoring.counts["real"]
    return {
        name: LayerEstimate(each.value, None, None, images)
        if each.errors is None
        else _estimate(each.value, each.errors, images, each.most)
        for name, each in with_errors(scoring, layer, sigma).items()
    }


class WithErrors(NamedTuple):
    """A figure of a layer, what each image adds to its error (None: it has none), and the most that it can be."""

    value: float
    errors: Likeness | None
    most: float = math.inf


def with_errors(scoring: Scoring, layer: str, sigma: float) -> dict[str, WithErrors]:
    """The figures of :func:`estimates` before their intervals, for comparing two networks on the same images."""
    scores = {kind: scoring.scores(kind, layer, sigma) for kind in KINDS}
    errors = {kind: scoring.likeness(kind, layer, sigma) for kind in KINDS}
    other = label_floor(scoring.membership, scoring.similarity(sigma)).other
    found: dict[str, WithErrors] = {}
    for kind, suffix in (("real", ""), ("adversarial", "_adv")):
        own, alike = scores[kind], errors[kind]
        consis, floor = float(own.consis.mean()), float(own.floor.mean())
        most = 1.0 if scoring.one_class_each else math.inf
        found[f"consis{suffix}"] = WithErrors(consis, alike.times(1 - alike.same), most)
        found[f"floor{suffix}"] = WithErrors(floor, None)
        if scoring.one_class_each:
            errors[kind] = alike.times(1 / (1 - other)) if other < 1 else alike
            found[f"excess{suffix}"] = WithErrors(excess(consis, floor), errors[kind], most)
    if scoring.one_class_each:
        gap = found["excess"].value - found["excess_adv"].value
        found["excess_gap"] = WithErrors(gap, errors["real"].less(errors["adversarial"]))
    return found


def differences(a: Scoring, b: Scoring) -> dict[str, PairedEstimate]:
    """Each headline figure of A minus B's, on the same images, which their errors share (:mod:`..dyads`)."""
    sigma, found = float(a.spec.headline_sigma), dict[str, PairedEstimate]()
    one, other = (with_errors(each, each.headline, sigma) for each in (a, b))
    for name in (name for name in one if name in other):
        left, right = one[name].errors, other[name].errors
        if left is None or right is None or a.counts["real"] < LEAST_UNITS:
            continue
        gap, errors = one[name].value - other[name].value, left.less(right)
        half = errors.half_width()
        if not math.isnan(errors.value):
            found[name] = PairedEstimate(
                "clusters of images",
                gap,
                gap - half,
                gap + half,
                errors.p_value(gap),
                a.counts["real"],
                "images",
            )
    return found


def _estimate(value: float, errors: Likeness, images: int, most: float = math.inf) -> LayerEstimate:
    if images < LEAST_UNITS or math.isnan(errors.value):
        return LayerEstimate(value, None, None, images)
    half = errors.half_width()
    return LayerEstimate(value, value - half, max(min(value + half, most), value), images)
