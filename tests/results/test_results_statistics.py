"""Intervals against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.results.statistics import bootstrap_interval, paired_bootstrap_interval, wilson_interval


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
    monkeypatch.setattr("assay.results.statistics._DRAWS_AT_ONCE", 150)
    a, b = np.random.default_rng(2).random((2, 40))

    def ratio(one, other, axis=-1):
        return one.mean(axis=axis) / other.mean(axis=axis)

    drawn = np.random.default_rng(5).integers(40, size=(300, 40))
    expected = np.quantile(ratio(a[drawn], b[drawn]), [0.05, 0.95])
    assert paired_bootstrap_interval((a, b), ratio, 5, 300, confidence=0.9) == pytest.approx(tuple(expected))


def test_one_draw_has_an_interval_of_no_width():
    assert bootstrap_interval([0.25], seed=0) == (0.25, 0.25)
