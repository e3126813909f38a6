"""The streaming top-k against sorting everything at once, however the stream is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.consistency.topk import TopImages, TopK, top_count


def by_sorting(activations, images, k):
    """The oracle: descending activation, ascending image where equal."""
    ranks = [np.lexsort((images, -column))[:k] for column in (activations + 0.0).T]
    return np.stack([images[rank] for rank in ranks]), np.stack(
        [column[rank] for column, rank in zip(activations.T, ranks, strict=True)]
    )


def top_of(activations, images, k):
    top = TopK(activations.shape[1], k)
    top.update(activations, images)
    return top.result()


# Few distinct values, so that most streams have ties; both zeros, and the float range's ends.
values = st.sampled_from([-3.4e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 2.0, 6.0, 3.4e38])


@st.composite
def streams(draw):
    n_images, n_neurons = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    cells = draw(st.lists(values, min_size=n_images * n_neurons, max_size=n_images * n_neurons))
    images = draw(st.permutations(range(n_images)))
    cuts = sorted(draw(st.lists(st.integers(0, n_images), max_size=5)))
    activations = np.array(cells, np.float32).reshape(n_images, n_neurons)
    return activations, np.array(images, np.int64), cuts, draw(st.integers(1, 12))


@given(streams())
@settings(max_examples=200, deadline=None)
def test_streaming_equals_sorting_whatever_the_batches(stream):
    activations, images, cuts, k = stream
    top = TopK(activations.shape[1], k)
    for part, indices in zip(np.split(activations, cuts), np.split(images, cuts), strict=True):
        top.update(part, indices)
    expected_images, expected_values = by_sorting(activations, images, k)
    assert (top.result().images == expected_images).all()
    assert (top.result().activations == expected_values).all()


@given(streams(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_blocks_merge_in_any_order_to_the_whole(stream, random):
    activations, images, cuts, k = stream
    parts = zip(np.split(activations, cuts), np.split(images, cuts), strict=True)
    blocks = [top_of(part, indices, k) for part, indices in parts]
    random.shuffle(blocks)
    whole = TopK(activations.shape[1], k)
    for block in blocks:
        whole.merge(block)
    assert (whole.result().images == by_sorting(activations, images, k)[0]).all()


def test_asking_midway_changes_nothing():
    activations = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    top = TopK(3, 5)
    for start in range(0, 50, 7):
        top.update(activations[start : start + 7], np.arange(50)[start : start + 7])
        top.result()
    assert (top.result().images == by_sorting(activations, np.arange(50), 5)[0]).all()


@pytest.mark.parametrize(
    ("n_images", "kept"), [(3, 3), (20, 3), (300, 3), (700, 7), (3000, 30), (50_000, 500)]
)
def test_the_top_one_percent_and_at_least_three(n_images, kept):
    assert top_count(n_images) == kept


def test_two_images_are_too_few():
    with pytest.raises(UserError, match="at least 3 images, got 2"):
        top_count(2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        TopK(1, 3).update(np.array([[bad]], np.float32), np.array([0]))


@pytest.mark.parametrize("index", [-1, 2**32])
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises(ValueError, match="image index"):
        TopK(1, 3).update(np.zeros((1, 1), np.float32), np.array([index]))


def test_neurons_chosen_by_order_alone_are_told():
    saturated = np.array([[6, 1], [6, 4], [6, 3], [6, 2]], np.float32)
    top = top_of(saturated, np.arange(4), 3)
    assert top.tied(2).tolist() == [True, False]
    assert top.first(2).images.tolist() == [[0, 1], [1, 2]]
    assert isinstance(top.first(2), TopImages)
