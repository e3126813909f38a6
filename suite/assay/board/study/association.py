"""Rank correlations between measures, over clusters of models that belong together. Pure; no torch.

Networks that one recipe trained from several seeds are no independent witnesses: they count as one cluster, with the
mean of their figures. What is correlated, resampled and permuted is clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from assay.common.statistics import LEAST_UNITS, SIGN_PATTERNS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LEAST_CLUSTERS = 5
"""With fewer clusters no order of them is rare enough: two of the 24 orders of four are 8 % of all."""

SIGNIFICANT = 0.05
_ALL_ORDERS = 7  # up to 5,040 orders are all tried; of more clusters, SIGN_PATTERNS orders are drawn
# Clusters; from here on p comes from the normal approximation, and the interval needs fewer draws.
_MANY = 100


class Association(NamedTuple):
    """How two measures go together.

    Attributes:
        tau: Kendall's tau-b (Kendall 1945); None where a measure is the same for all, or there are too few clusters.
        low: of its 95 % interval; None below :data:`assay.common.statistics.LEAST_UNITS` clusters.
        high: of the same.
        p_value: two-sided, over orders of the clusters; None where tau is.
        clusters: how many have both figures.
    """

    tau: float | None
    low: float | None
    high: float | None
    p_value: float | None
    clusters: int


def associate(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Association:
    """How two measures of the same clusters go together.

    The interval is a percentile bootstrap over clusters (Efron 1979); a pair of draws of one cluster is a tie, which
    tau-b leaves out. On normal samples of 9 to 20 it covers 95 to 99 % (simulated in the slow tests).

    Args:
        a: a figure per cluster.
        b: one value per model, in the same order.
        seed: of the draws.
    """
    import numpy as np

    count = len(a)
    signs_a, signs_b = _signs(a), _signs(b)
    if count < LEAST_CLUSTERS or not signs_a.any() or not signs_b.any():
        return Association(None, None, None, None, count)
    rng = np.random.default_rng(seed)
    tau = float(_taus(np.ones((1, count)), signs_a, signs_b)[0])
    p_value = _p_value(signs_a, signs_b, rng) if count < _MANY else _normal_p_value(a, b)
    if count < LEAST_UNITS:
        return Association(tau, None, None, p_value, count)
    draws = SIGN_PATTERNS if count < _MANY else SIGN_PATTERNS // 10
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
    found = _taus(drawn, signs_a, signs_b)
    low, high = np.quantile(found[~np.isnan(found)], [0.025, 0.975])
    return Association(tau, float(low), float(high), p_value, count)


def _signs(values: Sequence[float]) -> Floats:
    """(n, n): whether the first is above (1), level with (0) or below (-1) the second."""
    import numpy as np

    column = np.asarray(values, dtype=np.float64)
    signs: Floats = np.sign(column[:, None] - column)
    return signs


def _taus(weights: Floats, signs_a: Floats, signs_b: Floats) -> Floats:
    """Tau-b of samples that hold cluster i ``weights[r, i]`` times: (R, n) to (R,); NaN where all are equal."""
    import numpy as np

    agreeing, apart_a, apart_b = (
        ((weights @ pairs) * weights).sum(axis=1)
        for pairs in (signs_a * signs_b, np.abs(signs_a), np.abs(signs_b))
    )
    both = np.sqrt(apart_a * apart_b)
    taus: Floats = np.divide(agreeing, both, out=np.full(len(weights), math.nan), where=both > 0)
    return taus


def _p_value(signs_a: Floats, signs_b: Floats, rng: np.random.Generator) -> float:
    """How often tau is as far from zero when the clusters' second figures are dealt out anew."""
    import numpy as np

    count = len(signs_a)
    every = count <= _ALL_ORDERS
    orders = (
        np.array(list(permutations(range(count))))
        if every
        else rng.permuted(np.tile(np.arange(count), (SIGN_PATTERNS, 1)), axis=1)
    )
    agreeing = np.array([(signs_a * signs_b[order][:, order]).sum() for order in orders])
    found = (signs_a * signs_b).sum()
    extreme = int((np.abs(agreeing) >= abs(found) - 0.5).sum())
    return extreme / len(orders) if every else (extreme + 1) / (len(orders) + 1)


def _normal_p_value(a: Sequence[float], b: Sequence[float]) -> float:
    from scipy import stats

    return float(stats.kendalltau(a, b, method="asymptotic").pvalue)


def corrected(p_values: Sequence[float]) -> list[float]:
    """The p-values as Holm (1979) corrects them for their number, in the same order."""
    ascending = sorted(range(len(p_values)), key=lambda at: p_values[at])
    found, largest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(ascending):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[at]))
        found[at] = largest
    return found
