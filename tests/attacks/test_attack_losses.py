"""The losses against numbers worked by hand, and the uniform numbers against what uniform means."""

import pytest
import torch

from assay.attacks.losses import cross_entropy, dlr, in_top, margin
from assay.common import randomness
from assay.common.errors import UserError

LOGITS = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 8.0, 2.0, 5.0]])
LABELS = torch.tensor([0, 3])
TARGETS = torch.tensor([1, 1])


def test_margin_is_the_distance_to_the_kth_other_class() -> None:
    assert margin(LOGITS, LABELS).tolist() == [-1.0, 3.0]
    assert margin(LOGITS, LABELS, None, 2).tolist() == [-2.0, -3.0]
    assert margin(LOGITS, LABELS, TARGETS).tolist() == [-3.0, 3.0]


def test_dlr_divides_the_margin_by_the_spread_of_the_highest_logits() -> None:
    assert dlr(LOGITS, LABELS).tolist() == pytest.approx([-1 / 2, 3 / 6])
    assert dlr(LOGITS, LABELS, TARGETS).tolist() == pytest.approx([-3 / 2.5, 3 / 6.5])
    assert torch.allclose(dlr(LOGITS * 1e5, LABELS), dlr(LOGITS, LABELS))


def test_dlr_with_two_classes_is_refused() -> None:
    with pytest.raises(UserError, match="at least 3 classes"):
        dlr(LOGITS[:, :2], torch.tensor([0, 1]))


def test_targeted_cross_entropy_is_climbed_by_making_the_target_likely() -> None:
    log_probabilities = LOGITS.log_softmax(1)
    assert torch.allclose(cross_entropy(LOGITS, LABELS), -log_probabilities[[0, 1], [0, 3]])
    assert torch.allclose(cross_entropy(LOGITS, LABELS, TARGETS), log_probabilities[[0, 1], [1, 1]])


def test_ties_go_to_the_lower_class_as_argmax_has_it() -> None:
    flat = torch.zeros(3, 3)
    assert in_top(flat, torch.tensor([0, 1, 2])).tolist() == [True, False, False]
    assert in_top(flat, torch.tensor([0, 1, 2]), 2).tolist() == [True, True, False]


def test_random_numbers_depend_on_the_seed_alone_and_look_uniform() -> None:
    seeds = randomness.as_seeds([5, 2**64 - 1, -7], torch.device("cpu"))
    drawn = randomness.uniform(seeds, (100, 100), torch.float64)
    assert torch.equal(randomness.uniform(seeds[1:2], (100, 100), torch.float64), drawn[1:2])
    assert torch.equal(randomness.uniform(seeds, (100, 100), torch.float32).double(), drawn)
    assert 0 <= drawn.min() <= drawn.max() < 1
    histogram = torch.histc(drawn, bins=20, min=0, max=1)
    expected = drawn.numel() / 20
    assert ((histogram - expected) ** 2 / expected).sum() < 45  # chi-square of 19 degrees, p = 0.0007
    assert abs(torch.corrcoef(drawn.flatten(1))[0, 1]) < 0.04
    bell = randomness.normal(seeds, (100, 100), torch.float64)
    assert abs(bell.mean()) < 0.03
    assert abs(bell.std() - 1) < 0.03
    assert not torch.equal(randomness.derive(seeds, 0), randomness.derive(seeds, 1))
