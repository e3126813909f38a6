"""Intervals against closed forms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.common.statistics import (
    bootstrap_interval,
    paired_bootstrap_interval,
    sign_flip_interval,
    sign_flip_p_value,
    wilson_interval,
)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_s_interval_is_the_closed_form(case):
    hits, n = case
    z, p = 1.959963984540054, hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = wilson_interval(hits, n)
    assert low == pytest.approx(max(centre - half, 0), abs=1e-9)
    assert high == pytest.approx(min(centre + half, 1), abs=1e-9)


def test_nothing_known_is_everything_possible():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        wilson_interval(hits, n)


def test_the_bootstrap_of_a_normal_sample_is_near_its_standard_error():
    sample = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(sample, seed=1)
    half = 1.96 * sample.std() / 20
    assert low == pytest.approx(sample.mean() - half, abs=0.03)
    assert high == pytest.approx(sample.mean() + half, abs=0.03)
    assert bootstrap_interval(sample, seed=1) == (low, high)


def test_the_bootstrap_of_nothing_is_unknown():
    assert all(math.isnan(end) for end in bootstrap_interval([], seed=0))


def test_paired_samples_are_resampled_together_block_after_block(monkeypatch):
    """The ratio of two means, against indices drawn by hand; small blocks must not change the draws."""
    monkeypatch.setattr("assay.common.statistics._DRAWS_AT_ONCE", 150)
    a, b = np.random.default_rng(2).random((2, 40))

    def ratio(one, other, axis=-1):
        return one.mean(axis=axis) / other.mean(axis=axis)

    drawn = np.random.default_rng(5).integers(40, size=(300, 40))
    expected = np.quantile(ratio(a[drawn], b[drawn]), [0.05, 0.95])
    assert paired_bootstrap_interval((a, b), ratio, 5, 300, confidence=0.9) == pytest.approx(tuple(expected))


def test_one_draw_has_an_interval_of_no_width():
    assert bootstrap_interval([0.25], seed=0) == (0.25, 0.25)


def test_few_units_have_the_exact_p_of_all_sign_patterns():
    gaps = np.array([0.3, -0.1, 0.25, 0.4, 0.2])
    patterns = np.array(list(itertools.product((1, -1), repeat=5))) * gaps
    extreme = np.abs(patterns.mean(axis=1)) >= abs(gaps.mean()) - 1e-12
    assert sign_flip_p_value(gaps) == pytest.approx(extreme.mean())


def test_ranks_of_outcomes_that_differ_are_mcnemar_s():
    gaps = np.array([1.0] * 9 + [-1.0] * 2 + [0.0])
    assert sign_flip_p_value(gaps) == pytest.approx(stats.binomtest(2, 11).pvalue)


@pytest.mark.parametrize(("n", "times"), [(9, 600), (60, 100)])
def test_under_no_difference_p_is_below_5_percent_one_time_in_twenty(n, times):
    """A paired bootstrap says so in 9.5 % at nine units."""
    rng = np.random.default_rng(3)
    wrong = sum(sign_flip_p_value(rng.standard_t(4, size=n), seed) <= 0.05 for seed in range(times))
    assert stats.binomtest(wrong, times, 0.05).pvalue > 0.001


@pytest.mark.parametrize("n", [9, 60])
def test_the_interval_of_sign_flips_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(4)
    covered = 0
    for seed in range(600):
        low, high = sign_flip_interval(2 + rng.standard_t(4, size=n), seed)
        covered += low <= 2 <= high
    assert stats.binomtest(covered, 600, 0.95).pvalue > 0.001


@given(st.lists(st.floats(-1, 1).map(lambda gap: round(gap, 3) + 1e-4), min_size=2, max_size=9))
def test_zero_is_outside_the_interval_just_where_p_is_at_most_5_percent(gaps):
    low, high = sign_flip_interval(np.array(gaps))
    assert (low > 0 or high < 0) == (sign_flip_p_value(np.array(gaps)) <= 0.05)


def test_five_units_exclude_nothing_and_six_that_agree_exclude_what_lies_beyond_them():
    assert sign_flip_interval(np.linspace(1, 2, 5)) == (-math.inf, math.inf)
    assert sign_flip_interval(np.linspace(1, 2, 6)) == (1, 2)


def test_many_units_draw_their_sets_block_after_block(monkeypatch):
    gaps = np.random.default_rng(0).normal(0.2, 1, 400)
    low, high = sign_flip_interval(gaps)
    assert (low, high) == pytest.approx(stats.ttest_1samp(gaps, 0).confidence_interval(), abs=0.01)
    monkeypatch.setattr("assay.common.statistics._DRAWS_AT_ONCE", 4000)
    assert sign_flip_interval(gaps) == pytest.approx((low, high), abs=0.01)
