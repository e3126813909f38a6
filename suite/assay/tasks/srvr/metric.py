"""SRVR: the share of the semantic space that robust regions fill, and its interval over shapes. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.domain import Domain

BOOTSTRAP_RESAMPLES = 2000


@dataclass(frozen=True)
class SearchVolume:
    """One region search as the metric sees it.

    Attributes:
        unit_id: the shape.
        class_index: the shape's class.
        method: how the region was grown.
        volume_ratio: Vol(D ∩ Ω) / Vol(Ω); NaN for a search that gave no region.
    """

    unit_id: str
    class_index: int
    method: str
    volume_ratio: float


@dataclass(frozen=True)
class Estimate:
    """A mean in %, its 95 % bootstrap interval over shapes, and how many shapes and searches it rests on."""

    value: float
    low: float
    high: float
    shapes: int
    searches: int


@dataclass(frozen=True)
class Srvr:
    """The Semantic Robustness Volume Ratio of one network, all in %.

    Attributes:
        overall: the mean over methods, shapes and initial points (the paper's SRVR).
        by_method: of each method.
        by_class: of each class.
    """

    overall: Estimate
    by_method: dict[str, Estimate]
    by_class: dict[int, Estimate]


def clipped_sides(low: npt.ArrayLike, high: npt.ArrayLike, domain: Domain) -> FloatArray:
    """Sides of D ∩ Ω, (..., n): 0 for a region outside or with crossed bounds, NaN for a missing one.

    Along a circle a region is as long as the circle at most.
    """
    return np.clip(domain.clip(high) - domain.clip(low), 0, domain.sides)


def volume_ratio(low: npt.ArrayLike, high: npt.ArrayLike, domain: Domain) -> FloatArray:
    """Vol(D ∩ Ω) / Vol(Ω) of regions with bounds (..., n): (...) in [0, 1], NaN where a bound is NaN."""
    return np.asarray(clipped_sides(low, high, domain).prod(axis=-1) / domain.volume)


def intersection_over_union(first: npt.ArrayLike, second: npt.ArrayLike, domain: Domain) -> FloatArray:
    """IoU of regions clipped to the domain, each (..., 2, n), lower then upper; NaN where both are empty."""
    a, b = domain.clip(first), domain.clip(second)
    low, high = np.maximum(a[..., 0, :], b[..., 0, :]), np.minimum(a[..., 1, :], b[..., 1, :])
    shared = np.clip(high - low, 0, None).prod(-1)
    either = sum(np.clip(box[..., 1, :] - box[..., 0, :], 0, None).prod(-1) for box in (a, b)) - shared
    return np.asarray(np.divide(shared, either, out=np.full(np.shape(shared), np.nan), where=either > 0))


def srvr(searches: Sequence[SearchVolume], seed: int, resamples: int = BOOTSTRAP_RESAMPLES) -> Srvr:
    """SRVR of one network.

    Every mean is over all searches with a region, as in the published table. The interval resamples shapes
    within their classes, since classes are chosen and shapes are drawn; where a class has but one shape, shapes
    are drawn from all classes together. A single shape gives an interval of no width.

    Args:
        searches: every search, those without a region included.
        seed: of the bootstrap.
        resamples: how many.
    """
    methods = list(dict.fromkeys(search.method for search in searches))
    classes = sorted({search.class_index for search in searches})
    return Srvr(
        overall=_estimate(searches, seed, resamples),
        by_method={m: _estimate([s for s in searches if s.method == m], seed, resamples) for m in methods},
        by_class={
            c: _estimate([s for s in searches if s.class_index == c], seed, resamples) for c in classes
        },
    )


def _estimate(searches: Sequence[SearchVolume], seed: int, resamples: int) -> Estimate:
    """Mean and interval of the volume ratios, in %."""
    found = [search for search in searches if np.isfinite(search.volume_ratio)]
    if not found:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
    shapes = sorted({(search.class_index, search.unit_id) for search in found})
    row = {shape: i for i, shape in enumerate(shapes)}
    rows = [row[search.class_index, search.unit_id] for search in found]
    sums = np.bincount(rows, weights=[search.volume_ratio for search in found])
    counts = np.bincount(rows)
    drawn = _draw_shapes(np.array([shape[0] for shape in shapes]), seed, resamples)
    means = 100 * sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(100 * sums.sum() / counts.sum()), float(low), float(high), len(shapes), len(found))


def _draw_shapes(class_of_shape: npt.NDArray[np.int64], seed: int, resamples: int) -> npt.NDArray[np.int64]:
    """Shapes drawn with replacement, within each class if all have several: (resamples, shapes) indices."""
    generator = np.random.default_rng(seed)
    strata = class_of_shape
    if np.unique(class_of_shape, return_counts=True)[1].min() < 2:
        strata = np.zeros_like(class_of_shape)
    drawn = []
    for each in np.unique(strata):
        members = np.flatnonzero(strata == each)
        drawn.append(members[generator.integers(len(members), size=(resamples, len(members)))])
    return np.concatenate(drawn, axis=1)
