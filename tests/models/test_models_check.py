"""Outputs that cannot be scored are told apart from wrong answers."""

import pytest
import torch

from assay.models.check import LogitsShapeError, NonFiniteOutputError, check_logits, looks_like_probabilities


def test_finite_logits_of_the_right_shape_pass() -> None:
    check_logits(torch.randn(3, 10), 10)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_are_counted(value: float) -> None:
    logits = torch.zeros(3, 10)
    logits[1, 2] = value
    with pytest.raises(NonFiniteOutputError, match="1 of 3 images"):
        check_logits(logits, 10)


@pytest.mark.parametrize("shape", [(3, 9), (3, 11), (10,), (3, 10, 1)])
def test_another_number_of_classes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LogitsShapeError, match="10"):
        check_logits(torch.zeros(shape), 10)


def test_a_softmax_is_recognised_and_logits_are_not() -> None:
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    assert looks_like_probabilities(logits.softmax(dim=1))
    assert not looks_like_probabilities(logits)
    assert not looks_like_probabilities(logits.log_softmax(dim=1))
    assert not looks_like_probabilities(torch.empty(0, 10))
