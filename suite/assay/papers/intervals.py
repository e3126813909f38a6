"""Intervals of means over seeds, of their differences, and of what other images would change. Pure, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]
    """(images, repetitions): each image's score in each repetition."""

CONFIDENCE = 0.95


def student_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's t interval of the mean of at least two samples."""
    half = t_quantile(confidence, len(samples) - 1) * stdev(samples) / sqrt(len(samples))
    return fmean(samples) - half, fmean(samples) + half


def welch_interval(
    left: Sequence[float], right: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Welch's interval of the difference of two means (Welch 1947)."""
    a, b = stdev(left) ** 2 / len(left), stdev(right) ** 2 / len(right)
    value = fmean(left) - fmean(right)
    if a + b == 0:
        return value, value
    freedom = (a + b) ** 2 / (a**2 / (len(left) - 1) + b**2 / (len(right) - 1))
    half = t_quantile(confidence, freedom) * sqrt(a + b)
    return value - half, value + half


def half_over_images(parts: Sequence[Scores], confidence: float = CONFIDENCE) -> float:
    """Half the interval that other images would move a mean over seeds and images by, the seeds as they are.

    Its variance is that of the images' means over seeds (what a bootstrap over images tends to), minus the scatter of
    seeds on one image, which is in the interval over seeds already. So seeds and images are components of one variance,
    as readers and cases are in studies of diagnosis (Obuchowski and Rockette 1995; Hillis 2007).

    Args:
        parts: the figure is the sum of their means. All have the images in one order. Within a part repetitions are
            paired; the repetitions of one part are independent of another's.
        confidence: of the interval, in (0, 1).
    """
    import numpy as np

    images = len(parts[0])
    if images < 2:
        return 0.0
    means = np.sum([part.mean(axis=1) for part in parts], axis=0)
    scatter = sum(_interaction(part) / part.shape[1] for part in parts)
    variance = max(float(means.var(ddof=1)) - scatter, 0.0) / images
    return t_quantile(confidence, images - 1) * sqrt(variance)


def _interaction(part: Scores) -> float:
    """The mean square of the interaction of seeds and images: what neither explains alone."""
    images, repetitions = part.shape
    if repetitions < 2:
        return 0.0
    rest = part - part.mean(axis=1, keepdims=True) - part.mean(axis=0) + part.mean()
    return float((rest**2).sum() / ((images - 1) * (repetitions - 1)))


def t_quantile(confidence: float, freedom: float) -> float:
    """How many standard errors a two-sided interval reaches by Student's t."""
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def z_quantile(confidence: float) -> float:
    """The same by the normal distribution."""
    from scipy import stats

    return float(stats.norm.ppf((1 + confidence) / 2))
