"""Figures over images with their intervals. Without torch."""

import math
import statistics
from collections.abc import Sequence

from assay.common.statistics import mean_interval_in_range, median_interval, wilson_interval
from assay.results.document import Metric


def rate(name: str, outcomes: Sequence[bool], headline: bool = False) -> Metric:
    """A share of outcomes with its Wilson interval."""
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    value = sum(outcomes) / len(outcomes) if outcomes else None
    return Metric(
        name=name,
        value=value,
        ci_low=low,
        ci_high=high,
        n=len(outcomes),
        unit="proportion",
        headline=headline,
    )


def share(name: str, values: Sequence[float], unit: str, headline: bool = False) -> Metric:
    """A mean of shares with its interval."""
    low, high = mean_interval_in_range(values) or (None, None)
    value = statistics.fmean(values) if values else None
    return Metric(
        name=name, value=value, ci_low=low, ci_high=high, n=len(values), unit=unit, headline=headline
    )


def median(name: str, values: Sequence[float], unit: str, headline: bool = False) -> Metric:
    """A median with its interval; an end, or the median itself, is None where it is infinite."""
    value = statistics.median(values) if values else None
    ends = (value, *(median_interval(values) or (None, None)))
    value, low, high = (None if end is None or math.isinf(end) else float(end) for end in ends)
    bounded = low is not None and high is not None
    return Metric(
        name=name, value=value, ci_low=low if bounded else None, ci_high=high if bounded else None,
        n=len(values), unit=unit, headline=headline,
    )  # fmt: skip


def plain(name: str, value: float | None, n: int, unit: str, headline: bool = False) -> Metric:
    """A figure without an interval."""
    return Metric(name=name, value=value, n=n, unit=unit, headline=headline)
