"""Intervals that say how far figures would be off had other images been drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from assay.tasks.consistency.dyads import likeness
from assay.tasks.consistency.metric import excess, label_floor, multi_hot, one_hot, score_neurons

CLASSES = 10
SIBLINGS = np.where(np.eye(CLASSES, dtype=bool), 1.0, np.exp(-2.0))  # sigma 1, two edges apart


def found_of(top, labels, a=SIBLINGS):
    """The excess, and its errors."""
    membership = one_hot(labels, len(a))
    found, other = likeness(top, membership, a), label_floor(membership, a).other
    return (found.value - other) / (1 - other), found.times(1 / (1 - other))


def top_of(activations, kept):
    return np.argsort(-activations, axis=0, kind="stable")[:kept].T


@given(st.integers(0, 1000), st.booleans())
def test_the_errors_are_those_of_pairs_one_by_one(seed, copies):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, 12)
    top = np.stack([rng.choice(12, 4, replace=copies) for _ in range(5)])
    found = likeness(top, one_hot(labels, CLASSES), SIBLINGS)
    together = np.zeros((12, 12))
    for row in top:
        for i in row:
            for j in row:
                together[i, j] += i != j
    value = (together * SIBLINGS[np.ix_(labels, labels)]).sum() / together.sum()
    errors = together * (SIBLINGS[np.ix_(labels, labels)] - value) / together.sum()
    assert found.value == pytest.approx(value)
    assert found.sums == pytest.approx(errors.sum(1))
    assert found.pairs.toarray() == pytest.approx(errors)
    # all pairs of pairs that share an image, each once
    variance = sum(
        4 * errors[i, j] * errors[k, m]
        for i in range(12) for j in range(i) for k in range(12) for m in range(k) if {i, j} & {k, m}
    )  # fmt: skip
    once = 4 * np.tril(errors**2).sum()
    freedom = max((found.sums**2).sum() ** 2 / (found.sums**4).sum() - 1, 1)
    from scipy import stats

    expected = stats.t.ppf(0.975, freedom) * np.sqrt(max(variance, once))
    assert found.half_width() == pytest.approx(expected)


def test_the_excess_is_that_of_pairs_of_different_images():
    rng = np.random.default_rng(0)
    labels, top = rng.integers(0, CLASSES, 60), rng.integers(0, 60, (20, 5))
    scores = score_neurons(top, one_hot(labels, CLASSES), SIBLINGS)
    assert found_of(top, labels)[0] == pytest.approx(excess(scores.consis.mean(), scores.floor.mean()))


def test_several_concepts_an_image_leave_the_double_count_in():
    rng = np.random.default_rng(0)
    labels, top = rng.integers(0, CLASSES, 60), rng.integers(0, 60, (20, 5))
    one, many = (
        likeness(top, membership, SIBLINGS)
        for membership in (one_hot(labels, CLASSES), multi_hot([[label] for label in labels], CLASSES))
    )
    assert one.half_width() == many.half_width()
    two = likeness(top, multi_hot([[label, (label + 1) % CLASSES] for label in labels], CLASSES), SIBLINGS)
    assert two.pairs is None
    assert two.half_width() > 0


def test_one_source_a_neuron_has_no_pairs():
    found = likeness(np.array([[0, 0], [1, 1]]), one_hot(np.array([0, 1]), CLASSES), SIBLINGS)
    assert np.isnan(found.value)


def drawn(rng, images, kept, neurons, signal, size=20):
    """Images of ten classes, some of them stronger, seen by neurons that share what they look at."""
    labels = rng.integers(0, CLASSES, images)
    world = np.random.default_rng(1)
    weights, means = world.normal(size=(size, neurons)), world.normal(size=(CLASSES, size))
    seen = signal * means[labels] / np.sqrt(size) + rng.normal(size=(images, size)) * rng.gamma(
        4, 0.25, (images, 1)
    )
    return top_of(seen @ weights, kept), labels


@pytest.mark.slow
@pytest.mark.parametrize("signal", [0.0, 2.0, 6.0])
@pytest.mark.parametrize(("images", "kept", "neurons"), [(300, 3, 100), (300, 3, 500), (1000, 10, 100)])
def test_intervals_cover_what_other_images_would_have_given(images, kept, neurons, signal):
    rng = np.random.default_rng(0)
    found = [found_of(*drawn(rng, images, kept, neurons, signal)) for _ in range(400)]
    values = np.array([value for value, _ in found])
    halves = np.array([errors.half_width() for _, errors in found])
    assert np.mean(np.abs(values - values.mean()) <= halves) >= 0.93
    assert halves.mean() <= 4 * values.std()  # nor are they too wide to say anything


@pytest.mark.slow
def test_disjoint_halves_of_real_images_differ_as_their_intervals_say():
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 200))
    agree = []
    for _ in range(300):
        order = rng.permutation(len(labels))
        one, other = (
            found_of(top_of(pixels[half] @ weights, 3), labels[half])
            for half in (order[:300], order[300:600])
        )
        width = np.hypot(one[1].half_width(), other[1].half_width())
        agree.append(abs(one[0] - other[0]) <= width)
    assert np.mean(agree) >= 0.93


@pytest.mark.slow
def test_the_gap_of_two_kinds_of_images_of_one_source_is_covered():
    rng = np.random.default_rng(0)
    values, halves = [], []
    for _ in range(400):
        top, labels = drawn(rng, 300, 3, 100, 4.0)
        made = np.where(rng.random(top.shape) < 0.5, top, rng.integers(0, 300, top.shape))
        one, other = found_of(top, labels), found_of(made, labels)
        values.append(one[0] - other[0])
        halves.append(one[1].less(other[1]).half_width())
    assert np.mean(np.abs(np.array(values) - np.mean(values)) <= halves) >= 0.93


@given(st.integers(0, 1000), st.sampled_from([1e-4, 0.3, 1e4]))
def test_a_factor_the_classes_order_and_the_images_order_change_no_headline(seed, factor):
    rng = np.random.default_rng(seed)
    labels, activations = rng.integers(0, CLASSES, 60), rng.normal(size=(60, 15)).astype(np.float32)
    value, errors = found_of(top_of(activations, 3), labels)
    images, classes = rng.permutation(60), rng.permutation(CLASSES)
    for activated, of in (
        (np.float32(factor) * activations, labels),
        (activations, classes[labels]),
        (activations[images], labels[images]),
    ):
        again, its_errors = found_of(top_of(activated, 3), of)
        assert again == pytest.approx(value, abs=1e-12)
        assert its_errors.half_width() == pytest.approx(errors.half_width())


def test_two_networks_on_the_same_images_share_their_errors(outcome):
    """One network against itself differs by nothing, surely; against another by the difference of the figures."""
    from assay.tasks.consistency.task import TASK

    (job, ones, summary), (_, others, other_summary) = outcome(), outcome("sharper_detectors")
    spec = job.spec.spec
    same = TASK.paired(spec, ones, ones)
    assert set(same) == {"consis", "consis_adv", "excess", "excess_adv", "excess_gap"}
    assert {(each.difference, each.low, each.high, each.p_value) for each in same.values()} == {(0, 0, 0, 1)}
    figures, other_figures = (
        {metric.name: metric.value for metric in each.metrics} for each in (summary, other_summary)
    )
    for name, found in TASK.paired(spec, ones, others).items():
        assert found.difference == pytest.approx(figures[name] - other_figures[name])
        assert found.low <= found.difference <= found.high
        assert (found.low <= 0 <= found.high) == (found.p_value >= 0.05)


def test_the_p_value_of_a_difference_is_student_s():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, CLASSES, 80)
    one, other = (
        found_of(rng.integers(0, 80, (25, 6)), labels)[1].less(
            found_of(rng.integers(0, 80, (25, 6)), labels)[1]
        )
        for _ in range(2)
    )
    for errors in (one, other):
        half = errors.half_width()
        assert errors.p_value(half) == pytest.approx(0.05)
        assert errors.p_value(-half) == pytest.approx(0.05)
        assert errors.p_value(0.0) == 1.0
