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

_DRAWS_AT_ONCE = 2_000_000  # of resampled positions, so that the memory does not grow with the sample


@lru_cache(maxsize=4096)  # the same few pairs over and over when single units are summarised
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


def mcnemar_p_value(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test (McNemar 1947): the discordant units fall either way equally often."""
    from scipy import stats

    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


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
        samples: equally long; what stands at one position of each is drawn together.
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
