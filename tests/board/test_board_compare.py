"""Paired tests against scipy's own, closed forms, and their laws; and `compare` over real submissions."""

import numpy as np
import pytest
from board_place import RANK_BY, TASK
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.board.compare import compare, paired_test, sides, table_rows
from assay.common.errors import UserError
from assay.common.statistics import mcnemar_p_value, sign_flip_interval, sign_flip_p_value

outcomes = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=80
)


def test_mcnemar_s_exact_p_is_twice_the_binomial_tail():
    assert mcnemar_p_value(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar_p_value(5, 5) == 1.0
    assert mcnemar_p_value(0, 0) == 1.0


@given(outcomes)
def test_outcomes_go_by_their_discordant_units(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    test = paired_test(a, b)
    only_a = sum(one > other for one, other in pairs)
    only_b = sum(one < other for one, other in pairs)
    assert (test.test, test.only_a, test.only_b, test.n) == ("McNemar", only_a, only_b, len(pairs))
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert test.p_value == pytest.approx(expected)
    assert test.difference == pytest.approx((only_a - only_b) / len(pairs))
    assert test.low <= test.difference + 1e-12
    assert test.high >= test.difference - 1e-12


@given(outcomes)
def test_changing_sides_changes_the_sign_and_nothing_else(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    one, other = paired_test(a, b), paired_test(b, a)
    assert one.difference == -other.difference
    assert one.p_value == pytest.approx(other.p_value)


def test_outcomes_bootstrap_interval_is_scipy_s():
    rng = np.random.default_rng(7)
    a, b = (rng.random(300) < share for share in (0.7, 0.6))
    test = paired_test(list(a.astype(float)), list(b.astype(float)))
    gaps = a.astype(float) - b
    expected = stats.bootstrap(
        (gaps,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    )
    assert test.low == pytest.approx(expected.confidence_interval.low, abs=0.01)
    assert test.high == pytest.approx(expected.confidence_interval.high, abs=0.01)


def test_scores_are_tested_by_sign_flips():
    gaps = np.array([0.3, -0.1, 0.25, 0.4, 0.2, 0.1])
    test = paired_test(list(gaps), [0.0] * 6)
    assert test.test == "sign flips"
    assert test.p_value == sign_flip_p_value(gaps)
    assert (test.low, test.high) == sign_flip_interval(gaps)


def test_too_few_units_have_no_interval_and_the_table_says_so(pristine):
    one = sides(str(pristine.submission))[TASK]
    rows = table_rows(one, {RANK_BY: paired_test([0.3, 0.2, 0.4, 0.1, 0.5], [0.0] * 5)})
    assert {"none: too few", "0.062", "sign flips"} <= set(map(str, rows[0]))
    sure = table_rows(one, {RANK_BY: paired_test(list(np.linspace(0.4, 0.5, 40)), [0.0] * 40)})
    assert "< 0.001" in sure[0]


def test_equal_models_do_not_differ():
    assert paired_test([0.5, 0.25, 1 / 3], [0.5, 0.25, 1 / 3]).p_value == 1
    assert paired_test([0.5], [0.25]).p_value == 1


def test_units_that_do_not_count_for_one_side_are_left_out_and_n_says_so():
    test = paired_test([1.0, None, 0.0, 1.0], [0.0, 1.0, None, 1.0])
    assert (test.n, test.only_a, test.only_b) == (2, 1, 0)
    assert paired_test([None], [1.0]) is None


def test_different_units_are_never_paired():
    with pytest.raises(ValueError, match="zip"):
        paired_test([1.0], [1.0, 0.0])


def test_two_real_submissions(pristine):
    one, other = (
        sides(str(pristine.board / "submissions" / name)) for name in ("digits-linear", "digits-blurred")
    )
    tests = compare(one[TASK], other[TASK])
    stated = [
        next(metric.value for metric in side[TASK].result.metrics if metric.name == RANK_BY)
        for side in (one, other)
    ]
    assert tests[RANK_BY].difference == pytest.approx(stated[0] - stated[1])
    assert tests[RANK_BY].n == 1797
    assert all(test is not None for test in tests.values())
    others = {name for name, test in tests.items() if test.test != "McNemar"}
    assert others == {"worst:mean_radius"}  # no column of 0 and 1


def test_a_run_and_its_submission_do_not_differ(pristine):
    run = sides(f"{pristine.run}@digits_models:linear")
    test = compare(run[TASK], sides(str(pristine.submission))[TASK])[RANK_BY]
    assert (test.difference, test.p_value) == (0.0, 1.0)


def test_a_run_of_several_models_asks_which(pristine):
    with pytest.raises(UserError, match="choose one model as"):
        sides(str(pristine.run))
