"""Verdicts: a planted case for each, closed forms for the intervals, and laws that hold for any figures."""

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from assay.common.statistics import wilson_interval
from assay.papers.claims import MeasuredValue, MissingValue, Verdict, difference_interval, judge_all
from assay.papers.intervals import half_over_images, student_interval
from assay.papers.spec.claims import Claim, Test

TESTS = TypeAdapter(Test)
FIGURES = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


def over_seeds(*values, resolution=0.0, doubt=""):
    """A measurement of trained networks, one a seed."""
    low, high = student_interval(values) if len(values) > 1 else (None, None)
    samples = {str(seed): value for seed, value in enumerate(values)}
    mean = sum(values) / len(values)
    return MeasuredValue(mean, low, high, "proportion", 100, samples, "seeds", True, resolution, doubt)


def single(value, low, high):
    """A measurement of one published network."""
    return MeasuredValue(value, low, high, "proportion", 100)


def claim(test, name="c", given=None):
    return Claim(
        id=name, place="Table 1", text="A sentence.", test=TESTS.validate_json(json.dumps(test)), given=given
    )


def finding(test, **found):
    return judge_all([claim(test)], found)[0]


LESS = {"type": "less", "left": "a", "right": "b"}
GREATER = {"type": "greater", "left": "a", "right": "b"}


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ((0.10, 0.11, 0.12), (0.80, 0.82, 0.81), Verdict.CONFIRMED),
        ((0.80, 0.82, 0.81), (0.10, 0.11, 0.12), Verdict.OPPOSITE),
        ((0.10, 0.50, 0.90), (0.20, 0.40, 0.95), Verdict.NOT_CONFIRMED),
    ],
)
def test_a_planted_case_for_each_verdict(a, b, verdict):
    assert finding(LESS, a=over_seeds(*a), b=over_seeds(*b)).verdict is verdict


def test_two_seeds_are_too_few_to_compare_trained_networks():
    found = finding(LESS, a=over_seeds(0.1, 0.1), b=over_seeds(0.9, 0.9))
    assert found.verdict is Verdict.NOT_TESTABLE
    assert "at least 3" in found.reason


def test_what_was_not_measured_is_not_testable_and_says_why():
    assert finding(LESS, a=MissingValue("the data are not here"), b=single(1, 0, 2)).reason == (
        "a: the data are not here"
    )
    assert "this scale does not measure it" in finding(LESS, a=single(1, 0, 2)).reason


def test_a_figure_with_a_failed_guard_decides_nothing():
    found = finding(LESS, a=over_seeds(0.1, 0.1, 0.1, doubt="guard g failed: d"), b=over_seeds(0.9, 0.9, 0.8))
    assert (found.verdict, found.reason) == (Verdict.NOT_TESTABLE, "a: guard g failed: d")


def test_a_claim_that_a_scale_cannot_test_says_so_whatever_was_measured():
    found = judge_all([claim(LESS)], {"a": single(0, 0, 0), "b": single(1, 1, 1)}, {"c": "no such network"})
    assert (found[0].verdict, found[0].reason) == (Verdict.NOT_TESTABLE, "no such network")


def test_a_claim_stands_on_its_premise():
    premise = claim({"type": "within", "left": "x", "right": "y", "tolerance": 0.02}, "p")
    resting = claim(LESS, "c", given="p")
    found = {"a": over_seeds(0.1, 0.1, 0.12), "b": over_seeds(0.9, 0.9, 0.88)}
    equal = found | {"x": single(0.9, 0.895, 0.905), "y": single(0.9, 0.895, 0.905)}
    apart = found | {"x": single(0.9, 0.895, 0.905), "y": single(0.5, 0.495, 0.505)}
    assert judge_all([premise, resting], equal)[1].verdict is Verdict.CONFIRMED
    broken = judge_all([premise, resting], apart)
    assert [each.verdict for each in broken] == [Verdict.OPPOSITE, Verdict.NOT_TESTABLE]
    assert "premise" in broken[1].reason
    assert broken[1].comparisons  # what was compared is shown all the same


@pytest.mark.parametrize(
    ("test", "bounds", "verdict"),
    [
        ({"type": "at_least", "left": "a", "value": 0.5}, (0.5, 0.9), Verdict.CONFIRMED),
        ({"type": "above", "left": "a", "value": 0.5}, (0.5, 0.9), Verdict.NOT_CONFIRMED),
        ({"type": "above", "left": "a", "value": 0.5}, (0.1, 0.4), Verdict.OPPOSITE),
        ({"type": "at_most", "left": "a", "value": 0.5}, (0.1, 0.5), Verdict.CONFIRMED),
        ({"type": "below", "left": "a", "value": 0.5}, (0.6, 0.9), Verdict.OPPOSITE),
    ],
)
def test_a_figure_against_a_constant(test, bounds, verdict):
    assert finding(test, a=single(sum(bounds) / 2, *bounds)).verdict is verdict


def test_existence_is_shown_by_every_trained_network_and_never_refuted():
    occurs = {"type": "occurs", "left": "a"}
    assert finding(occurs, a=over_seeds(0.1, 0.5, 0.01)).verdict is Verdict.CONFIRMED
    assert finding(occurs, a=over_seeds(0.1, 0.5, 0.0)).verdict is Verdict.NOT_CONFIRMED
    assert finding(occurs, a=over_seeds(0.0, 0.0, 0.0)).verdict is Verdict.NOT_CONFIRMED
    shapes = MeasuredValue(0.1, None, None, "", 2, {"mug": 0.2, "vase": 0.0}, "shapes")
    assert finding(occurs, a=shapes).verdict is Verdict.CONFIRMED


def test_an_order_holds_only_where_every_step_does():
    order = {"type": "ordering", "descending": ["a", "b", "c"]}
    high, middle, low = (over_seeds(x, x + 0.01, x + 0.02) for x in (0.8, 0.5, 0.2))
    noisy = over_seeds(0.1, 0.5, 0.9)
    assert finding(order, a=high, b=middle, c=low).verdict is Verdict.CONFIRMED
    assert finding(order, a=low, b=middle, c=high).verdict is Verdict.OPPOSITE
    partly = finding(order, a=high, b=low, c=middle)
    assert (partly.verdict, partly.reason) == (
        Verdict.NOT_CONFIRMED, "of 1 of its 2 parts the opposite holds",
    )  # fmt: skip
    assert [each.verdict for each in partly.comparisons] == [Verdict.CONFIRMED, Verdict.OPPOSITE]
    assert finding(order, a=high, b=noisy, c=low).verdict is Verdict.NOT_CONFIRMED


def test_refuting_one_of_several_takes_a_wider_interval():
    # One pair alone is refuted; as one of three it is not, since three pairs err three times as often.
    left, right = over_seeds(0.500, 0.510, 0.530), over_seeds(0.490, 0.504, 0.518)
    assert finding(LESS, a=left, b=right).verdict is Verdict.OPPOSITE
    several = {"type": "all_less", "left": ["a", "a", "a"], "right": ["b", "b", "b"]}
    assert finding(several, a=left, b=right).verdict is Verdict.NOT_CONFIRMED


def test_ratios_and_equivalence():
    quick, slow = over_seeds(10.0, 10.1, 9.9), over_seeds(30.0, 30.3, 29.9)
    ratio = {"type": "ratio_at_least", "left": "a", "right": "b", "factor": 2}
    assert finding(ratio, a=slow, b=quick).verdict is Verdict.CONFIRMED
    assert finding(ratio | {"factor": 4}, a=slow, b=quick).verdict is Verdict.OPPOSITE
    at_most = {"type": "ratio_at_most", "left": "a", "right": "b", "factor": 1}
    assert finding(at_most, a=quick, b=slow).verdict is Verdict.CONFIRMED
    differs = {"type": "differs", "left": "a", "right": "b"}
    assert finding(differs, a=quick, b=slow).verdict is Verdict.CONFIRMED
    assert finding(differs, a=quick, b=quick).verdict is Verdict.NOT_CONFIRMED


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        ((0.80, 0.81, 0.82), Verdict.CONFIRMED),  # as good
        ((0.79, 0.80, 0.81), Verdict.CONFIRMED),  # a point below, within the two that are allowed
        ((0.90, 0.91, 0.92), Verdict.CONFIRMED),  # better
        ((0.77, 0.80, 0.81), Verdict.NOT_CONFIRMED),  # the interval reaches beyond
        ((0.70, 0.71, 0.72), Verdict.OPPOSITE),
    ],
)
def test_not_worse_allows_so_much_less_and_any_more(left, verdict):
    test = {"type": "not_worse", "left": "a", "right": "b", "tolerance": 0.02}
    assert finding(test, a=over_seeds(*left), b=over_seeds(0.80, 0.81, 0.82)).verdict is verdict


def test_paired_seeds_give_students_interval_of_their_differences():
    left, right = over_seeds(0.5, 0.7, 0.9), over_seeds(0.4, 0.61, 0.8)
    low, high, how = difference_interval(left, right)
    expected = stats.ttest_rel([0.5, 0.7, 0.9], [0.4, 0.61, 0.8]).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert "3 paired seeds" in how


def test_unpaired_seeds_give_welchs_interval():
    left = over_seeds(0.5, 0.7, 0.9)
    right = over_seeds(0.1, 0.2, 0.25, 0.2)
    low, high, how = difference_interval(left, right)
    expected = stats.ttest_ind([0.5, 0.7, 0.9], [0.1, 0.2, 0.25, 0.2], equal_var=False).confidence_interval(
        0.95
    )
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert how.startswith("Welch")


def test_two_proportions_give_newcombes_interval():
    # Newcombe 1998, table II, method 10 without correction: 56/70 against 48/80.
    a, b = single(56 / 70, *wilson_interval(56, 70)), single(48 / 80, *wilson_interval(48, 80))
    low, high, _ = difference_interval(a, b)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_agreement_to_the_last_image_is_no_certainty():
    left, right = over_seeds(0.85, 0.85, 0.85, resolution=0.05), over_seeds(0.8, 0.8, 0.8, resolution=0.05)
    assert finding(GREATER, a=left, b=right).verdict is Verdict.NOT_CONFIRMED


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=3, max_size=6))
def test_less_and_greater_are_mirrors(pairs):
    left, right = (over_seeds(*side) for side in zip(*pairs, strict=True))
    one = finding(LESS, a=left, b=right).verdict
    other = finding(GREATER, a=left, b=right).verdict
    swapped = finding(GREATER, a=right, b=left).verdict
    assert one is swapped
    mirror = {
        Verdict.CONFIRMED: Verdict.OPPOSITE,
        Verdict.OPPOSITE: Verdict.CONFIRMED,
        Verdict.NOT_CONFIRMED: Verdict.NOT_CONFIRMED,
    }
    assert other is mirror[one]


@given(st.lists(FIGURES, min_size=3, max_size=6), FIGURES)
def test_a_constant_shift_of_both_sides_changes_no_difference(values, shift):
    left, right = over_seeds(*values), over_seeds(*(2 * value for value in values))
    moved = [over_seeds(*(v + shift for v in side.samples.values())) for side in (left, right)]
    assert difference_interval(*moved)[:2] == pytest.approx(difference_interval(left, right)[:2], abs=1e-6)


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=3, max_size=6), st.floats(0.5, 0.99))
def test_more_confidence_gives_a_wider_interval(pairs, confidence):
    left, right = (over_seeds(*side) for side in zip(*pairs, strict=True))
    narrow = difference_interval(left, right, confidence=confidence)
    wide = difference_interval(left, right, confidence=0.999)
    assert wide[0] <= narrow[0] + 1e-9
    assert wide[1] >= narrow[1] - 1e-9


def test_the_interval_covers_as_often_as_it_says():
    import numpy as np

    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        shared = rng.normal(0, 5, 3)  # what a seed does to both sides cancels
        left = over_seeds(*(shared + rng.normal(1, 1, 3)))
        right = over_seeds(*(shared + rng.normal(0, 1, 3)))
        low, high, _ = difference_interval(left, right)
        hits += low <= 1 <= high
    assert 0.95 - 4 * sqrt(0.95 * 0.05 / 400) <= hits / 400


def family(rng, seeds, images, effect=0.0, own=1.5, seed_spread=0.3, scatter=0.0, ease=0.0):
    """Outcomes (seeds, images) of a training family that is as good as the next over all images, not over these.

    ``own`` is what the family does to an image in every seed, ``seed_spread`` what a seed does to every image,
    ``scatter`` what it does to one image, ``ease`` what an image is to every family.
    """
    logits = effect + ease + rng.normal(0, own, images) + rng.normal(0, seed_spread, (seeds, 1))
    return rng.random((seeds, images)) < 1 / (1 + np.exp(-logits - rng.normal(0, scatter, (seeds, images))))


def measured_family(outcomes, known=True):
    """The measurement of a family's outcomes, with the images' own scores or without."""
    found = over_seeds(*outcomes.mean(axis=1), resolution=1 / outcomes.shape[1])
    by_unit = {str(unit): tuple(map(float, scores)) for unit, scores in enumerate(outcomes.T)}
    return replace(found, by_unit=by_unit if known else {})


SHARED = [  # own, seed_spread, scatter
    pytest.param((0.0, 0.3, 0.0), id="seeds alone"),
    pytest.param((0.5, 0.1, 0.5), id="a little of all"),
    pytest.param((1.5, 0.3, 0.0), id="images and seeds"),
    pytest.param((1.5, 0.0, 0.0), id="images alone"),
]


def confirmed(seeds, known, spreads, draws):
    """How often one of two equal families is confirmed to be better."""
    rng = np.random.default_rng(seeds)
    wrong = 0
    for _ in range(draws):
        ease = rng.normal(0.5, 1.5, 300)
        own, spread, scatter = spreads
        a, b = (
            measured_family(family(rng, seeds, 300, 0.0, own, spread, scatter, ease), known) for _ in range(2)
        )
        low, high, _ = difference_interval(a, b)
        wrong += low > 0 or high < 0
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("spreads", SHARED)
@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_families_on_shared_images_are_told_apart_one_time_in_twenty(seeds, spreads):
    """Never more than 5 % beyond the chance of 1,500 draws, and not so seldom that nothing could be confirmed."""
    wrong = confirmed(seeds, True, spreads, draws=1500)
    assert stats.binomtest(wrong, 1500, 0.05, alternative="greater").pvalue > 0.001
    assert wrong / 1500 > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_alone_would_tell_equal_families_apart_more_often(seeds):
    wrong = confirmed(seeds, False, (1.5, 0.0, 0.0), draws=1000)
    assert stats.binomtest(wrong, 1000, 0.05, alternative="greater").pvalue < 0.001


def test_what_images_change_is_squared_and_added_to_the_interval_over_seeds():
    rng = np.random.default_rng(0)
    a, b = family(rng, 3, 200), family(rng, 3, 200, effect=2.0)
    known = difference_interval(measured_family(b), measured_family(a))
    alone = difference_interval(measured_family(b, False), measured_family(a, False))
    assert known[0] < alone[0] < alone[1] < known[1]
    assert known[2] == f"{alone[2]} and the 200 images that they share"
    half = half_over_images([b.T.astype(float) - a.T])
    middle = b.mean() - a.mean()
    assert known[0] == pytest.approx(middle - np.hypot(middle - alone[0], half))
    assert known[1] == pytest.approx(middle + np.hypot(alone[1] - middle, half))


def test_of_one_repetition_the_images_part_is_a_bootstrap_over_them():
    scores = np.random.default_rng(0).normal(size=(400, 1))
    found = stats.bootstrap((scores[:, 0],), np.mean, rng=np.random.default_rng(1)).confidence_interval
    assert half_over_images([scores]) == pytest.approx((found.high - found.low) / 2, rel=0.05)


def test_what_seeds_scatter_on_an_image_is_not_counted_twice():
    """Two sums of squares by hand (Cornfield and Tukey's table of a crossed layout), and none below zero."""
    scores = np.array([[1.0, 2.0], [2.0, 5.0], [6.0, 6.0]])  # images, seeds
    between = np.var([1.5, 3.5, 6.0], ddof=1)
    grand, of_image, of_seed = 22 / 6, [1.5, 3.5, 6.0], [3.0, 13 / 3]
    rest = sum((scores[i, j] - of_image[i] - of_seed[j] + grand) ** 2 for i in range(3) for j in range(2)) / 2
    expected = stats.t.ppf(0.975, 2) * sqrt((between - rest / 2) / 3)
    assert half_over_images([scores]) == pytest.approx(expected)
    assert half_over_images([np.array([[1.0, 0.0], [0.0, 1.0]])]) == 0


def test_families_of_other_seeds_share_their_images_all_the_same():
    rng = np.random.default_rng(0)
    a, b = family(rng, 3, 100), family(rng, 4, 100)
    low, high, how = difference_interval(measured_family(a), measured_family(b))
    alone = difference_interval(measured_family(a, False), measured_family(b, False))
    half = half_over_images([a.T.astype(float), -b.T.astype(float)])
    assert how == "Welch's t over 3 and 4 seeds and the 100 images that they share"
    assert (high - low) / 2 == pytest.approx(np.hypot((alone[1] - alone[0]) / 2, half))


def test_repetitions_are_paired_by_name_in_whatever_order_they_come():
    rng = np.random.default_rng(0)
    a, b = measured_family(family(rng, 3, 100)), measured_family(family(rng, 3, 100))
    turned = replace(
        b,
        samples=dict(reversed(b.samples.items())),
        by_unit={unit: scores[::-1] for unit, scores in reversed(b.by_unit.items())},
    )
    assert difference_interval(a, turned)[:2] == pytest.approx(difference_interval(a, b)[:2])


def test_families_on_other_images_are_not_paired_by_image():
    rng = np.random.default_rng(0)
    a, b = measured_family(family(rng, 3, 50)), measured_family(family(rng, 3, 60))
    assert "images" not in difference_interval(a, b)[2]
