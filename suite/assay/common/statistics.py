"""Intervals and summaries, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SIGN_PATTERNS = 10_000
"""How many patterns of signs are tried or drawn; the pages' script has the same number."""

_DRAWS_AT_ONCE = 2_000_000  # of resampled positions, so that the memory does not grow with the sample


@lru_cache(maxsize=4096)  # the same few pairs come again and again when single units are summarised
def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), as scipy computes it; (0, 1) when ``n`` is 0.

    Raises:
        ValueError: unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    from scipy import stats  # a second to import, and not needed to list tasks

    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


LEAST_UNITS = 9
"""With fewer units no interval of a mean or median is shown: on skewed shares none has its stated coverage."""

_SUPPOSED = (
    3.0  # units' worth of belief that values lie at their range's ends; by simulation on published shares
)


def mean_interval_in_range(
    values: Sequence[float], low: float = 0.0, high: float = 1.0, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Interval of the mean of values that cannot leave ``[low, high]``; None for fewer than :data:`LEAST_UNITS`.

    Wilson's score interval, with the number of units that the values' spread is worth. At a given mean, values at the
    two ends have the largest spread; n other values say as much as n / phi of those (phi: the ratio of the variances).
    phi is drawn towards 1, which matters where values are few and mostly equal. Student's quantile takes the place of
    the normal one. Values at the ends alone give nearly Wilson's own interval. Resampling such shares covers 67 to 87 %
    at nine to ten units; the slow tests simulate how this covers.
    """
    import numpy as np

    n = len(values)
    if n < LEAST_UNITS:
        return None
    from scipy import stats

    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    mean = float(np.clip(shares.mean(), 0.0, 1.0))
    # The largest variance at this mean; `_SUPPOSED` values of that variance draw phi towards 1.
    most = mean * (1 - mean)
    spread = float(((shares - shares.mean()) ** 2).sum())
    phi = min((spread + _SUPPOSED * most) / ((n - 1 + _SUPPOSED) * most), 1.0) if most > 0 else 1.0
    z2 = float(stats.t.ppf((1 + confidence) / 2, n - 1)) ** 2 * phi / n
    # Wilson's formulas, with z² / n of n / phi units.
    centre, reach = (mean + z2 / 2) / (1 + z2), math.sqrt(z2 * (most + z2 / 4)) / (1 + z2)
    ends = max(centre - reach, 0.0), min(centre + reach, 1.0)
    return low + (high - low) * ends[0], low + (high - low) * ends[1]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Two order statistics between which the median lies (Thompson 1936); None for fewer than :data:`LEAST_UNITS`.

    Exact for every distribution: half of the units lie below the median, as coins fall.
    """
    n = len(values)
    if n < LEAST_UNITS:
        return None
    from scipy import stats

    rank = int(stats.binom.ppf((1 - confidence) / 2, n, 0.5))
    ordered = sorted(values)
    return float(ordered[max(rank - 1, 0)]), float(ordered[min(n - rank, n - 1)])


def mcnemar_p_value(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test (McNemar 1947): do the discordant units favour both sides equally?"""
    from scipy import stats

    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def sign_flip_p_value(gaps: Floats, seed: int = 0) -> float:
    """Two-sided p-value: how often differences with signs drawn anew lie as far from zero as those that were found.

    Where the two sides are equal, a difference is as likely to be positive as negative (Fisher 1935). All sign patterns
    are tried where there are at most :data:`SIGN_PATTERNS` of them (13 units), else that many are drawn.

    Args:
        gaps: (n,) differences of paired units.
        seed: of the draws.
    """
    import numpy as np
    from scipy import stats

    if len(gaps) < 2 or not gaps.any():
        return 1.0
    test = stats.permutation_test(
        (gaps,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=SIGN_PATTERNS,
        batch=max(1, _DRAWS_AT_ONCE // len(gaps)),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def sign_flip_interval(gaps: Floats, seed: int = 0, confidence: float = 0.95) -> tuple[float, float]:
    """The mean differences that :func:`sign_flip_p_value` would not reject; infinite where units are too few for that.

    Suppose a difference d. Flipping the signs of a set of units changes how far the mean lies from d; it stays equal
    exactly where the set's own mean is d. So the ends are two ranks among the means of all sets of units (Hartigan
    1969), or of as many sets as signs are drawn.
    """
    import numpy as np

    n = len(gaps)
    if 2**n <= SIGN_PATTERNS:
        sets = np.arange(1, 2**n)[:, None] >> np.arange(n) & 1
        means = sets @ gaps / sets.sum(axis=1)
    else:
        means = _means_of_random_sets(gaps, np.random.default_rng(seed))
    rank = int((1 - confidence) / 2 * (len(means) + 1))  # the set of none stands for what was found
    if rank == 0:
        return -math.inf, math.inf
    means.sort()
    return float(means[rank - 1]), float(means[-rank])


def _means_of_random_sets(gaps: Floats, rng: np.random.Generator) -> Floats:
    """Means of sets that hold each unit with probability 1/2, in blocks that fit the memory."""
    import numpy as np

    block = max(1, _DRAWS_AT_ONCE // len(gaps))
    means = []
    for done in range(0, SIGN_PATTERNS, block):
        sets = rng.integers(0, 2, (min(block, SIGN_PATTERNS - done), len(gaps)), dtype=np.int8)
        sets = sets[sets.any(axis=1)].astype(np.float64)
        means.append(sets @ gaps / sets.sum(axis=1))
    return np.concatenate(means)


def bootstrap_interval(
    values: Sequence[float], seed: int, resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``values``; (nan, nan) when there are none."""
    return paired_bootstrap_interval((values,), _mean, seed, resamples, confidence)


def paired_bootstrap_interval(
    samples: Sequence[Sequence[float] | Floats],
    statistic: Callable[..., Any],
    seed: int,
    resamples: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of paired samples (Efron 1979), as scipy computes it.

    Args:
        samples: equally long; what has the same position in each is drawn together.
        statistic: takes the samples as arrays and ``axis``, the axis along which it reduces them.
        seed: of the draws.
        resamples: how many.
        confidence: of the interval, in (0, 1).

    Returns:
        Both ends; (nan, nan) for empty samples, and no width for a single draw, which has no spread to resample.
    """
    import numpy as np

    arrays = tuple(np.asarray(sample, dtype=np.float64) for sample in samples)
    size = len(arrays[0])
    if size < 2:
        value = float(statistic(*arrays, axis=-1)) if size else math.nan
        return value, value
    from scipy import stats

    interval = stats.bootstrap(
        arrays,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _DRAWS_AT_ONCE // size),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _mean(values: Floats, axis: int) -> Any:
    return values.mean(axis=axis)
