"""The temperature of a network: closed forms, and what no factor of the logits changes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.tasks.srvr.temperature import fit_temperature


def two_classes(right, wrong, gap=2.0):
    """Every picture is answered with class 0, by the same gap; of some the label is 1."""
    logits = np.tile([gap, 0.0], (right + wrong, 1))
    return logits, np.array([0] * right + [1] * wrong)


@pytest.mark.parametrize(("right", "wrong"), [(3, 1), (9, 1), (19, 1), (60, 40)])
def test_two_classes_of_one_gap_are_as_sure_as_they_are_right(right, wrong):
    # sigmoid(gap / T) = right / n, so T = gap / log(right / wrong)
    found = fit_temperature(*two_classes(right, wrong))
    assert found.value == pytest.approx(2.0 / math.log(right / wrong), rel=1e-9)
    assert (found.pictures, found.correct) == (right + wrong, right)


def test_pictures_that_are_all_right_are_as_sure_as_laplace_says():
    found = fit_temperature(*two_classes(20, 0))
    assert 1 / (1 + math.exp(-2.0 / found.value)) == pytest.approx(21 / 22, rel=1e-9)


@pytest.mark.parametrize(("right", "wrong"), [(1, 1), (2, 5), (0, 4)])
def test_labels_no_likelier_than_chance_have_no_temperature(right, wrong):
    assert fit_temperature(*two_classes(right, wrong)).value is None
    assert fit_temperature(np.zeros((3, 5)), np.array([0, 1, 2])).value is None


@given(st.floats(-4, 4), st.floats(-1000, 1000), st.integers(0, 1000))
def test_it_is_in_units_of_the_logits(exponent, constant, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, 50)
    logits = generator.normal(0, 1, (50, 10))
    logits[np.arange(50), labels] += generator.normal(2, 1, 50)
    once, factor = fit_temperature(logits, labels), 10.0**exponent
    changed = fit_temperature(factor * (logits + constant), labels)
    assert changed.value == pytest.approx(factor * once.value, rel=1e-6)
    order = generator.permutation(50)
    classes = generator.permutation(10)
    permuted = fit_temperature(logits[order][:, np.argsort(classes)], classes[labels[order]])
    assert permuted.value == pytest.approx(once.value, rel=1e-6)


@given(st.integers(0, 1000))
def test_no_other_temperature_makes_the_labels_likelier(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, 40)
    logits = generator.normal(0, 1, (40, 5))
    logits[np.arange(40), labels] += 1

    def likelihood(temperature):
        scaled = logits / temperature
        return (scaled[np.arange(40), labels] - np.log(np.exp(scaled).sum(1))).mean()

    found = fit_temperature(logits, labels).value
    assert all(likelihood(found) >= likelihood(found * factor) for factor in (0.9, 0.99, 1.01, 1.1))
