"""The losses against numbers worked by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.training.objectives import cross_entropy, feature_distance, kl_divergence


def test_cross_entropy_of_probabilities_three_quarters_and_one_half():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # p = (3/4, 1/4) and (1/2, 1/2)
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert cross_entropy(logits, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_divergence_between_three_quarters_and_one_half():
    p = torch.tensor([[math.log(3.0), 0.0]])  # (3/4, 1/4)
    q = torch.tensor([[5.0, 5.0]])  # (1/2, 1/2)
    there = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    back = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert kl_divergence(p, q).tolist() == pytest.approx([there])
    assert kl_divergence(q, p).tolist() == pytest.approx([back])


def test_the_divergence_pulls_at_both_of_its_sides():
    p, q = (torch.tensor([row], requires_grad=True) for row in ([1.0, 0.0], [0.0, 0.5]))
    kl_divergence(p, q).sum().backward()
    assert p.grad is not None
    assert q.grad is not None
    soft_p, soft_q = p.detach().softmax(1), q.detach().softmax(1)
    assert torch.allclose(q.grad, soft_q - soft_p)  # the textbook's gradient of a cross-entropy
    assert p.grad.abs().min() > 0


@given(st.lists(st.floats(-20, 20), min_size=6, max_size=6))
def test_a_divergence_is_never_negative_and_zero_of_itself(values):
    p, q = torch.tensor(values, dtype=torch.float64).reshape(2, 1, 3)
    assert kl_divergence(p, q).item() >= -1e-12
    assert kl_divergence(p, p).item() == 0


def test_the_distance_of_features_is_euclid_s_over_channels_and_places():
    features = torch.zeros(2, 2, 1, 2)
    other = torch.tensor([[3.0, 0, 0, 4], [1, 1, 1, 1]]).reshape(2, 2, 1, 2)
    assert feature_distance(features, other).tolist() == [5.0, 2.0]


def test_equal_features_have_no_slope_and_no_nan():
    features = torch.ones(1, 3, requires_grad=True)
    feature_distance(features, torch.ones(1, 3)).sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [[0, 0, 0]]
