"""Intervals of means in a range and of medians cover what they say, on skewed shares and at their ends."""

import numpy as np
import pytest

from assay.common.statistics import LEAST_UNITS, mean_interval_in_range, median_interval, wilson_interval

DRAWS = 1000


def _covered(interval, draw, truth, n, seed=0):
    rng = np.random.default_rng(seed)
    found = [interval(draw(rng, n)) for _ in range(DRAWS)]
    return np.mean([low <= truth <= high for low, high in found])


@pytest.mark.slow
@pytest.mark.parametrize("n", [9, 10, 20, 30])
def test_means_of_skewed_shares_are_covered(n):
    # Three in four near 0, the rest anywhere up to .45: like the shapes of the published maps of AlexNet.
    def draw(rng, count):
        return np.where(rng.random(count) < 0.75, 0.01 * rng.random(count), 0.45 * rng.random(count))

    assert _covered(mean_interval_in_range, draw, 0.75 * 0.005 + 0.25 * 0.225, n) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("n", [9, 10, 20, 60])
def test_medians_are_covered(n):
    assert _covered(median_interval, lambda rng, count: rng.exponential(size=count), np.log(2), n) >= 0.93


def test_too_few_units_have_no_interval():
    few = [0.1 * unit for unit in range(LEAST_UNITS - 1)]
    assert mean_interval_in_range(few) is None
    assert median_interval(few) is None


def test_zeros_and_ones_have_nearly_wilsons_interval():
    values = [1.0] * 30 + [0.0] * 270
    assert mean_interval_in_range(values) == pytest.approx(wilson_interval(30, 300), abs=2e-3)


def test_a_scaled_range_scales_the_interval_which_never_leaves_it():
    values = [0.0] * 12 + [0.5] * 3
    low, high = mean_interval_in_range(values)
    assert mean_interval_in_range([8 * value for value in values], 0, 8) == pytest.approx((8 * low, 8 * high))
    assert mean_interval_in_range([0.0] * 9)[0] == 0 < mean_interval_in_range([0.0] * 9)[1] < 0.5
