"""Where a neuron looks, on networks whose receptive fields are known."""

import numpy as np
import pytest
import torch
from torch import nn

from assay.errors import UserError
from assay.tasks.consistency.outline import Box, outline
from assay.tasks.consistency.receptive import Occlusion, argmax_field, discrepancy_map


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


def test_hiding_the_bright_spot_is_what_matters(summing_net, bright_spot):
    found = discrepancy_map(summing_net, bright_spot, "0", 0, Occlusion(patch=3, stride=1, fill=0.0, batch=7))
    assert found.argmax() == 10 * 16 + 5  # the spot's centre: every patch over it hides most
    assert found[:5].max() == 0
    assert found[:, 12:].max() == 0


def test_the_map_does_not_depend_on_the_batch(summing_net, bright_spot):
    maps = [
        discrepancy_map(summing_net, bright_spot, "0", 0, Occlusion(patch=5, stride=4, batch=batch))
        for batch in (1, 100)
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)


def test_every_pixel_is_hidden_at_least_once():
    class Total(nn.Module):
        def forward(self, x):
            return x.sum((1, 2, 3), keepdim=True)

    model = nn.Sequential(Total(), nn.Flatten())
    found = discrepancy_map(model, torch.ones(1, 11, 13), "0", 0, Occlusion(patch=4, stride=3, fill=0.0))
    assert (found == 16).all()


@pytest.mark.parametrize("stride", [0, 33])
def test_a_stride_that_leaves_pixels_out_is_refused(stride):
    with pytest.raises(UserError, match=r"stride must be in 1 \.\. 32"):
        Occlusion(stride=stride)


def test_the_outline_holds_the_asked_mass():
    sensitivity = np.zeros((8, 8), np.float32)
    sensitivity[2, 3], sensitivity[5, 6], sensitivity[0, 0] = 6, 3, 1
    assert outline(sensitivity, mass=0.5) == Box(2, 3, 3, 4)
    assert outline(sensitivity, mass=0.9) == Box(2, 3, 6, 7)
    assert outline(sensitivity, mass=1.0) == Box(0, 0, 6, 7)


def test_a_neuron_that_sees_nothing_is_outlined_whole():
    assert outline(np.zeros((4, 6), np.float32)) == Box(0, 0, 4, 6)
