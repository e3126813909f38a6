"""Where a neuron looks, on networks whose receptive fields are known."""

import numpy as np
import pytest
import torch
from torch import nn

from assay.tasks.consistency.outline import Box, outline
from assay.tasks.consistency.receptive import argmax_field


@pytest.fixture
def summing_net():
    """One channel: the sum of 3 x 3 pixels, so a position's field is exactly its 3 x 3 window."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.Flatten())
    model[0].weight.data.fill_(1)
    return model.eval()


@pytest.fixture
def bright_spot():
    image = torch.zeros(1, 16, 16)
    image[0, 9:12, 4:7] = 1.0
    return image


def test_the_field_of_the_maximum_is_its_window(summing_net, bright_spot):
    field = argmax_field(summing_net, bright_spot, "0", neuron=0)
    expected = np.zeros((16, 16))
    expected[9:12, 4:7] = 1
    assert (field == expected).all()
    assert outline(field, mass=1.0) == Box(9, 4, 12, 7)


def test_the_outline_holds_the_asked_mass():
    sensitivity = np.zeros((8, 8), np.float32)
    sensitivity[2, 3], sensitivity[5, 6], sensitivity[0, 0] = 6, 3, 1
    assert outline(sensitivity, mass=0.5) == Box(2, 3, 3, 4)
    assert outline(sensitivity, mass=0.9) == Box(2, 3, 6, 7)
    assert outline(sensitivity, mass=1.0) == Box(0, 0, 6, 7)


def test_a_neuron_that_sees_nothing_is_outlined_whole():
    assert outline(np.zeros((4, 6), np.float32)) == Box(0, 0, 4, 6)
