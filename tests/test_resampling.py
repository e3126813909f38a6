"""Statistics of paired samples: where they are means, the tests that means have; and laws for any other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.common.resampling import exchange_p_value, least_mean, median, paired_resampling
from assay.common.statistics import sign_flip_p_value

VALUES = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=9)


def mean(values):
    return values.mean(axis=1)


@given(VALUES)
def test_of_means_exchanged_sides_are_flipped_signs(pairs):
    a, b = np.asarray(pairs, dtype=np.float64).T
    assert exchange_p_value(a, b, mean) == pytest.approx(sign_flip_p_value(a - b))


@given(VALUES)
def test_changing_sides_changes_the_sign_and_nothing_else(pairs):
    a, b = np.asarray(pairs, dtype=np.float64).T
    one, other = (paired_resampling(*sides, median, "units") for sides in ((a, b), (b, a)))
    assert one.difference == -other.difference
    assert one.p_value == other.p_value


def test_of_means_the_interval_is_scipy_s():
    rng = np.random.default_rng(3)
    a = rng.random(80)
    b = a + 0.1 * rng.standard_normal(80)
    found = paired_resampling(a, b, mean, "units")
    expected = stats.bootstrap(
        (a - b,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)


def test_a_median_is_tested_as_a_median():
    """One wild unit moves the mean by 100 and the median not at all."""
    a = np.linspace(0, 1, 40)
    b = a.copy()
    a[-1] = 4000.0
    found = paired_resampling(a, b, median, "units")
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_the_least_mean_is_of_each_side_s_own_column():
    """A is weak in the first column, B as weak in the second: no unit differs in the least mean, all in the columns."""
    a, b = np.tile([[0.0, 1.0]], (30, 1)), np.tile([[1.0, 0.0]], (30, 1))
    assert paired_resampling(a, b, least_mean, "images").difference == 0.0
    better = paired_resampling(a + 0.5, b, least_mean, "images")
    assert (better.difference, better.low, better.high) == (0.5, 0.5, 0.5)
    assert better.p_value < 0.001


def test_too_few_items_have_no_interval_but_an_exact_p():
    found = paired_resampling(np.arange(4.0) + 100, np.arange(4.0), median, "shapes")
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.p_value == 2 / 2**4
