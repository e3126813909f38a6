"""consis(n) against values worked by hand and against enumerations of all permutations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.consistency.dyads import likeness
from assay.tasks.consistency.hierarchy import IMAGENET_HIERARCHY, parse_hierarchy, path_lengths, similarity
from assay.tasks.consistency.metric import (
    concept_shares,
    consistency,
    excess,
    expected_floor,
    label_floor,
    multi_hot,
    one_hot,
    permuted_means,
    ranked_by_gap,
    score_neurons,
)

TABBY, TIGER_CAT, PERSIAN_CAT, IRISH_WOLFHOUND = 281, 282, 283, 170


@pytest.fixture(scope="module")
def lengths():
    return path_lengths(parse_hierarchy(IMAGENET_HIERARCHY.read_bytes(), "imagenet"))


def score(top, labels, matrix):
    return score_neurons(np.array(top), one_hot(np.array(labels), len(matrix)), matrix)


def test_unrelated_classes_score_one_and_one_over_their_number():
    scores = score([[0, 1, 2], [3, 4, 5]], [7, 7, 7, 1, 2, 3], np.eye(10))
    assert scores.consis == pytest.approx([1, 1 / 3])
    assert scores.top_class.tolist() == [7, 1]


def test_consistency_of_cats_and_a_dog_worked_by_hand(lengths):
    # p = (2/3 tabby, 1/3 tiger cat), d = 2; then p = (1/2 Persian cat, 1/2 wolfhound), d = 7
    a = similarity(lengths, sigma=2.0)
    cats = score([[0, 1, 2]], [TABBY, TABBY, TIGER_CAT], a).consis
    assert cats == pytest.approx([4 / 9 + 1 / 9 + 2 * (2 / 9) * np.exp(-4 / 8)])
    pair = score([[0, 1]], [PERSIAN_CAT, IRISH_WOLFHOUND], a).consis
    assert pair == pytest.approx([1 / 2 + 1 / 2 * np.exp(-49 / 8)])


def test_several_concepts_an_image_are_shares_of_images():
    # Pr(x contains c | x activates n): grass in both, dog in one
    membership = multi_hot([[0, 2], [2], []], n_concepts=3)
    p = concept_shares(np.array([[0, 1], [1, 2]]), membership)
    assert p.tolist() == [[0.5, 0, 1], [0, 0, 0.5]]
    assert consistency(p, np.eye(3)) == pytest.approx([1.25, 0.25])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_matrix_form_equals_the_sum_over_pairs_of_images(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, size=12)
    a = similarity(np.abs(np.subtract.outer(np.arange(6), np.arange(6))), sigma=1.5)
    top = np.stack([rng.choice(12, size=4, replace=False) for _ in range(3)])
    pairs = [[a[labels[i], labels[j]] for i in row for j in row] for row in top]
    assert score(top, labels, a).consis == pytest.approx(np.mean(pairs, axis=1))


@pytest.mark.parametrize(
    "top_sources",
    [[[0, 1, 2], [2, 3, 4]], [[0, 0, 1], [2, 2, 2]], [[0, 1, 1], [3, 4, 0]]],
    ids=["real images", "copies of one source", "mixed"],
)
def test_the_floor_is_the_mean_over_every_permutation(top_sources):
    labels = np.array([0, 0, 1, 3, 2])
    a = similarity(np.abs(np.subtract.outer(np.arange(4), np.arange(4))), sigma=1.0)
    top = np.array(top_sources)
    every = [score(top, labels[list(order)], a).consis for order in itertools.permutations(range(5))]
    assert expected_floor(top, label_floor(one_hot(labels, 4), a)) == pytest.approx(np.mean(every, axis=0))


def test_the_floor_holds_for_several_concepts_an_image():
    concepts = [[0, 1], [1], [2], []]
    a = np.array([[1, 0.5, 0], [0.5, 1, 0.2], [0, 0.2, 1]])
    top = np.array([[0, 1], [2, 3]])
    every = [
        consistency(concept_shares(top, multi_hot([concepts[i] for i in order], 3)), a)
        for order in itertools.permutations(range(4))
    ]
    assert expected_floor(top, label_floor(multi_hot(concepts, 3), a)) == pytest.approx(
        np.mean(every, axis=0)
    )


def test_copies_of_one_source_do_not_pass_for_consistency():
    labels, a = np.arange(6), np.eye(6)
    copies = score([[0, 0, 0]], labels, a)
    assert copies.consis == pytest.approx(copies.floor)


def test_one_source_leaves_no_floor():
    with pytest.raises(UserError, match="at least 2 source images"):
        label_floor(one_hot(np.array([0]), 3), np.eye(3))


def test_random_permutations_tend_to_the_exact_floor(lengths):
    rng = np.random.default_rng(1)
    labels, a = rng.integers(0, 1000, size=200), similarity(lengths, 2.0)
    top = np.stack([rng.choice(200, size=3, replace=False) for _ in range(64)])
    membership = one_hot(labels, 1000)
    means = permuted_means(top, membership, a, n_permutations=200, seed=3)
    exact = expected_floor(top, label_floor(membership, a)).mean()
    assert abs(means.mean() - exact) < 4 * means.std() / np.sqrt(200)
    assert (means == permuted_means(top, membership, a, n_permutations=200, seed=3)).all()
    assert (means != permuted_means(top, membership, a, n_permutations=200, seed=4)).any()


def test_random_features_sit_at_the_floor(lengths):
    rng = np.random.default_rng(0)
    labels, a = rng.integers(0, 1000, size=300), similarity(lengths, 1.0)
    top = np.stack([rng.choice(300, size=3, replace=False) for _ in range(2000)])
    scores = score(top, labels, a)
    found = likeness(top, one_hot(labels, 1000), a)
    assert abs(scores.consis.mean() - scores.floor.mean()) <= found.times(1 - found.same).half_width()


def test_excess_is_zero_at_the_floor_and_one_at_the_top():
    assert excess(1 / 3, 1 / 3) == 0
    assert excess(1.0, 1 / 3) == pytest.approx(1)


def test_wider_sigma_never_lowers_consistency(lengths):
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 1000, size=60)
    top = np.stack([rng.choice(60, size=5, replace=False) for _ in range(20)])
    levels = [score(top, labels, similarity(lengths, sigma)).consis for sigma in (0.5, 1, 2, 4)]
    assert (np.diff(levels, axis=0) >= -1e-12).all()


def test_neurons_that_lose_most_come_first():
    assert ranked_by_gap(np.array([0.5, 0.9, 0.5]), np.array([0.4, 0.2, 0.4])).tolist() == [1, 0, 2]
