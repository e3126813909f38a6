"""The guard on clean accuracy, as a law of counts: chance, the card's word, and how much of it images can tell."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.common.statistics import wilson_interval
from assay.results.document import StatedAccuracyField
from assay.tasks.shared.plausible import OTHER_IMAGES, ExpectedAccuracy, plausible_accuracy


def expected(classes: int = 10, value: float | None = None, n: int | None = None) -> ExpectedAccuracy:
    stated = None if value is None else StatedAccuracyField(value=value, data="cifar10-test", n=n)
    return ExpectedAccuracy(classes, stated, data="cifar10-test")


def outcomes(right: int, of: int) -> list[bool]:
    return [index < right for index in range(of)]


@given(st.integers(1, 300), st.data(), st.integers(2, 1000), st.integers(1, 5))
def test_it_fails_exactly_where_the_interval_reaches_chance(of, data, classes, top_k):
    right = data.draw(st.integers(0, of))
    guard = plausible_accuracy(outcomes(right, of), expected(classes), top_k)
    assert guard.passed == (wilson_interval(right, of)[0] > min(top_k / classes, 1.0))
    assert guard.value == right / of


@given(st.integers(1, 300), st.data(), st.floats(0.01, 1), st.integers(1, 10_000))
def test_on_other_images_it_fails_exactly_where_both_intervals_lie_well_apart(of, data, value, n):
    right = data.draw(st.integers(0, of))
    guard = plausible_accuracy(outcomes(right, of), replace(expected(1000, value, n), data="another"))
    low, high = wilson_interval(right, of)
    least = wilson_interval(round(value * n), n)[0] - OTHER_IMAGES
    assert guard.passed == (low > 1 / 1000 and high >= least)


@given(st.integers(1, 300), st.data(), st.floats(0.01, 1), st.booleans())
def test_on_the_stated_images_it_fails_exactly_where_the_interval_lies_below(of, data, value, counted):
    right = data.draw(st.integers(0, of))
    guard = plausible_accuracy(outcomes(right, of), expected(1000, value, of if counted else None))
    low, high = wilson_interval(right, of)
    assert guard.passed == (low > 1 / 1000 and high >= value)


@pytest.mark.parametrize(
    ("right", "stated", "words"),
    [
        (90, None, r"clean accuracy 90 % \[82.6 %, 94.5 %\] of 100 images; chance 10 %"),
        (10, None, r"reaches down to chance, 10 %; `assay doctor MODEL --data D` finds how"),
        (21, 0.6925, r"lies wholly below what the card states, 69.2 % on cifar10-test \(10000 images\); `assay doctor"),
        (70, 0.6925, r"of 100 images; chance 10 %; what the card states, 69.2 % on cifar10-test"),
    ],
)  # fmt: skip
def test_its_sentence_has_the_figures_and_names_the_doctor_where_it_fails(right, stated, words):

    guard = plausible_accuracy(outcomes(right, 100), expected(10, stated, 10_000))
    assert re.search(words, guard.detail)
    assert ("doctor" in guard.detail) == (not guard.passed)


def test_more_than_was_stated_is_no_fault():
    assert plausible_accuracy(outcomes(99, 100), expected(10, 0.5, 10_000)).passed


def test_a_handful_of_images_cannot_tell_two_classes_from_chance():
    guard = plausible_accuracy(outcomes(3, 3), expected(2))
    assert not guard.passed
    assert "too few images" in guard.detail


def test_a_harder_part_of_the_images_is_no_fault():
    """The first 2,000 MNIST test images are harder than all 10,000: 1,939 right of a network that states 97.95 %."""
    assert plausible_accuracy(outcomes(1939, 2000), expected(10, 0.9795, 10_000)).passed
