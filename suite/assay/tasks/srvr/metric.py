"""SRVR: the share of the semantic space that robust regions fill, and its interval over shapes. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from assay.common.statistics import mean_interval_in_range
from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.domain import Domain


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
class ShapeMean:
    """A mean in %, its 95 % interval over shapes, and how many shapes and searches it rests on.

    There is no interval below :data:`assay.common.statistics.LEAST_UNITS` shapes.
    """

    value: float
    low: float | None
    high: float | None
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

    overall: ShapeMean
    by_method: dict[str, ShapeMean]
    by_class: dict[int, ShapeMean]


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


def srvr(searches: Sequence[SearchVolume]) -> Srvr:
    """SRVR of one network.

    Every mean is over all searches with a region, as in the published table. The interval is over the shapes' own
    means, since the searches of a shape look at one map (:func:`assay.common.statistics.mean_interval_in_range`).

    Args:
        searches: every search, those without a region included.
    """
    methods = list(dict.fromkeys(search.method for search in searches))
    classes = sorted({search.class_index for search in searches})
    return Srvr(
        overall=_estimate(searches),
        by_method={m: _estimate([s for s in searches if s.method == m]) for m in methods},
        by_class={c: _estimate([s for s in searches if s.class_index == c]) for c in classes},
    )


def _estimate(searches: Sequence[SearchVolume]) -> ShapeMean:
    """Mean and interval of the volume ratios, in %."""
    by_shape: dict[tuple[int, str], list[float]] = {}
    for search in searches:
        if np.isfinite(search.volume_ratio):
            by_shape.setdefault((search.class_index, search.unit_id), []).append(100 * search.volume_ratio)
    if not by_shape:
        return ShapeMean(float("nan"), None, None, 0, 0)
    every = [ratio for ratios in by_shape.values() for ratio in ratios]
    low, high = mean_interval_in_range([fmean(ratios) for ratios in by_shape.values()], 0.0, 100.0) or (
        None,
        None,
    )
    return ShapeMean(fmean(every), low, high, len(by_shape), len(every))
