"""Piecewise linear or not, read off the network's operations."""

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from assay.models.piecewise import is_piecewise_linear


class SigmoidInForward(nn.Module):
    """Hides its curve in ``forward``, where no list of layers would show it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(pixels))


class SquareInForward(SigmoidInForward):
    def forward(self, pixels: Tensor) -> Tensor:
        return self.layer(pixels) * self.layer(pixels)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(), nn.Dropout(), nn.Identity(), nn.Linear(4, 2)),
        models.resnet18(),
        models.vgg11(),
    ],
)
def test_relu_networks_are(net: nn.Module) -> None:
    assert is_piecewise_linear(net.eval())


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Linear(4, 4), nn.GELU()),
        nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1)),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)),
        SigmoidInForward(),
        SquareInForward(),
        models.efficientnet_b0(),
    ],
)
def test_networks_with_a_curve_are_not(net: nn.Module) -> None:
    assert not is_piecewise_linear(net.eval())
