"""How far any statistic differs between two samples that are paired item by item.

For a mean, McNemar's test and sign flips in :mod:`assay.common.statistics` say the same with less work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from assay.common.statistics import LEAST_UNITS, SIGN_PATTERNS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Statistic = Callable[[Floats], Floats]

_VALUES_AT_ONCE = 2_000_000  # of resampled numbers, so that the memory does not grow with the sample


class PairedEstimate(NamedTuple):
    """How far A's figure lies above B's.

    Attributes:
        test: what gave interval and p-value, in words.
        difference: of A less B.
        low: lower bound of its 95 % interval; infinite where there are too few items for one.
        high: upper bound.
        p_value: two-sided.
        n: items that both have.
        of: what these are, in the plural.
    """

    test: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    of: str


def paired_resampling(a: Floats, b: Floats, statistic: Statistic, of: str, seed: int = 0) -> PairedEstimate:
    """The difference of a statistic of paired samples: a bootstrap for the interval, exchanged sides for the p-value.

    Args:
        a: (n, ...) numbers of A, one row per item.
        b: (n, ...) of B, of the same items.
        statistic: (R, n, ...) to (R,); the draws come along the first axis.
        of: what the items are, in the plural.
        seed: of the draws.
    """
    difference = float((statistic(a[None]) - statistic(b[None]))[0])
    low, high = _bootstrap(a, b, statistic, seed)
    p_value = exchange_p_value(a, b, statistic, seed)
    return PairedEstimate("paired bootstrap", difference, low, high, p_value, len(a), of)


def exchange_p_value(a: Floats, b: Floats, statistic: Statistic, seed: int = 0) -> float:
    """Two-sided: how often the difference is as large when each item's two sides are exchanged or left by chance.

    Where the two sides are equal, each item is as likely to be found the other way round (Fisher 1935). All patterns
    are tried where there are at most :data:`SIGN_PATTERNS` of them (13 items), else that many are drawn. For a mean it
    is the test of sign flips.
    """
    import numpy as np

    found = abs(float((statistic(a[None]) - statistic(b[None]))[0])) * (1 - 1e-12)
    every = 2 ** len(a) <= SIGN_PATTERNS
    extreme = tried = 0
    for exchanged in _patterns(a, every, np.random.default_rng(seed)):
        mask = exchanged.reshape(*exchanged.shape, *(1,) * (a.ndim - 1))
        gaps = statistic(np.where(mask, b, a)) - statistic(np.where(mask, a, b))
        extreme += int((np.abs(gaps) >= found).sum())
        tried += len(gaps)
    return extreme / tried if every else (extreme + 1) / (tried + 1)


def _patterns(a: Floats, every: bool, rng: np.random.Generator) -> Iterator[npt.NDArray[np.bool_]]:
    """(block, n) whether each item's sides are exchanged."""
    import numpy as np

    n, count = len(a), 2 ** len(a) if every else SIGN_PATTERNS
    for first, block in _blocks(a, count):
        if every:
            yield (np.arange(first, first + block)[:, None] >> np.arange(n) & 1).astype(bool)
        else:
            yield rng.random((block, n)) < 0.5


def _bootstrap(
    a: Floats, b: Floats, statistic: Statistic, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap (Efron 1979), both sides drawn together; infinite below :data:`LEAST_UNITS` items."""
    import numpy as np

    if len(a) < LEAST_UNITS:
        return -math.inf, math.inf
    rng = np.random.default_rng(seed)
    gaps = []
    for _, block in _blocks(a, SIGN_PATTERNS):
        drawn = rng.integers(0, len(a), (block, len(a)))
        gaps.append(statistic(a[drawn]) - statistic(b[drawn]))
    low, high = np.quantile(np.concatenate(gaps), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _blocks(a: Floats, count: int) -> Iterator[tuple[int, int]]:
    """First and size of blocks of ``count`` draws that fit the memory."""
    size = max(1, _VALUES_AT_ONCE // max(a.size, 1))
    for first in range(0, count, size):
        yield first, min(size, count - first)


def median(values: Floats) -> Any:
    """(R, n) to (R,)."""
    import numpy as np

    return np.median(values, axis=1)


def least_mean(values: Floats) -> Any:
    """(R, n, k) to (R,): the least of the k columns' means."""
    return values.mean(axis=1).min(axis=-1)
