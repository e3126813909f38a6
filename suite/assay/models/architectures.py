"""Architectures that recipes train, by name; each is built for an input shape and a number of classes.

Names are known without torch. Every network is made of modules that are used once and change nothing in place, so that
saliency methods can hook them, and all are piecewise linear in eval mode.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.common.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, int, int]
"""Channels, height, width."""
Builder = Callable[[Shape, int], "nn.Module"]


def build(name: str, input_shape: Shape, num_classes: int) -> nn.Module:
    """The architecture with fresh weights, drawn from torch's global generator: (N, C, H, W) to (N, classes).

    Raises:
        UserError: unknown name, or an input that is too small for it.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"unknown architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    channels, *sides = input_shape
    if min(sides) < architecture.smallest or (architecture.rgb and channels != 3):
        images = "RGB images" if architecture.rgb else "images"
        raise UserError(
            f"architecture {name} takes {images} of at least {architecture.smallest} x {architecture.smallest}, "
            f"not {input_shape}; choose another"
        )
    return architecture.builder(input_shape, num_classes)


def trains_on_one(name: str, input_shape: Shape, num_classes: int) -> bool:
    """Whether a training step may have a single image; batch norm needs more than one number per channel.

    Raises:
        UserError: as :func:`build`.
    """
    import torch

    with torch.device("meta"):  # shapes without numbers: takes no memory, and draws nothing
        net = build(name, input_shape, num_classes)
        try:
            net(torch.zeros(1, *input_shape))
        except ValueError:
            return False
    return True


def digits_cnn(input_shape: Shape, num_classes: int) -> nn.Module:
    """Two strided convolutions and a hidden layer of 32: 224 ReLUs on 8 x 8, few enough for exact verification."""
    return _strided(input_shape, num_classes, (8, 16), kernel=3, hidden=32)


def small_cnn(input_shape: Shape, num_classes: int) -> nn.Module:
    """Two strided 4 x 4 convolutions of 16 and 32 channels and a hidden layer of 100 (as Wong and Kolter 2018)."""
    return _strided(input_shape, num_classes, (16, 32), kernel=4, hidden=100)


def fully_connected(*hidden: int) -> Builder:
    """A ReLU network on flattened images with so many neurons per hidden layer; He-uniform weights, zero biases."""

    def built(input_shape: Shape, num_classes: int) -> nn.Module:
        from torch import nn

        widths = (math.prod(input_shape), *hidden)

        def layers() -> list[nn.Module]:
            pairs = itertools.pairwise(widths)
            dense = [layer for read, written in pairs for layer in (nn.Linear(read, written), nn.ReLU())]
            return [nn.Flatten(), *dense, nn.Linear(widths[-1], num_classes)]

        return _he_uniform(layers)

    return built


def mnist_cnn_2028(input_shape: Shape, num_classes: int) -> nn.Module:
    """Two strided convolutions and a hidden layer; on 28 x 28, 8*13*13 + 16*6*6 + 100 = 2,028 ReLUs."""
    from torch import nn

    channels, *sides = input_shape
    places = math.prod(((side - 3) // 2 + 1 - 3) // 2 + 1 for side in sides)

    def layers() -> list[nn.Module]:
        convolutions = [
            nn.Conv2d(channels, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2),
            nn.ReLU(),
        ]
        head = [nn.Linear(16 * places, 100), nn.ReLU(), nn.Linear(100, num_classes)]
        return [*convolutions, nn.Flatten(), *head]

    return _he_uniform(layers)


def mnist_cnn(input_shape: Shape, num_classes: int) -> nn.Module:
    """Karkehabadi's network for MNIST: two 3 x 3 convolutions of stride 1, two dense layers, dropout .25 and .5.

    The paper leaves widths and pooling open. These (32 and 64 channels, 128 hidden, one 2 x 2 maximum) are from
    PyTorch's own MNIST example, which has the same layers and the same two dropouts.
    """
    from torch import nn

    channels, height, width = input_shape
    pooled = ((height - 4) // 2) * ((width - 4) // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=3),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * pooled, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, num_classes),
    )


def resnet10(input_shape: Shape, num_classes: int) -> nn.Module:
    """ResNet with one basic block per stage, with the small stem (see :func:`resnet18`)."""
    return _small_resnet(1, input_shape, num_classes)


def resnet18(input_shape: Shape, num_classes: int) -> nn.Module:
    """ResNet-18 for 32 x 32 and 64 x 64: the stem is one 3 x 3 convolution of stride 1, without pooling."""
    return _small_resnet(2, input_shape, num_classes)


def _strided(
    input_shape: Shape, num_classes: int, widths: tuple[int, int], kernel: int, hidden: int
) -> nn.Module:
    import torch
    from torch import nn

    convolutions = nn.Sequential(
        nn.Conv2d(input_shape[0], widths[0], kernel, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(widths[0], widths[1], kernel, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    with torch.no_grad():
        features = convolutions(torch.zeros(1, *input_shape)).shape[1]
    head = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))
    return nn.Sequential(*convolutions, *head)


def _he_uniform(layers: Callable[[], list[nn.Module]]) -> nn.Module:
    """A chain of layers with He-uniform weights and zero biases; torch's own first weights draw nothing."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(*layers())
    for layer in net:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return net


def _small_resnet(blocks: int, input_shape: Shape, num_classes: int) -> nn.Module:
    from torch import nn
    from torchvision.models.resnet import BasicBlock, ResNet

    net = ResNet(BasicBlock, [blocks] * 4, num_classes=num_classes)
    net.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(
        net.conv1.weight, mode="fan_out", nonlinearity="relu"
    )  # as its other convolutions
    net.maxpool = nn.Identity()
    return _out_of_place(net)


def _torchvision(name: str) -> Builder:
    """Torchvision's network for 224 x 224 RGB, without weights."""

    def built(input_shape: Shape, num_classes: int) -> nn.Module:
        from torchvision import models

        del input_shape
        return _out_of_place(models.get_model(name, weights=None, num_classes=num_classes))

    return built


def _out_of_place(net: nn.Module) -> nn.Module:
    """The same network with ReLUs that keep their inputs, as guided backpropagation needs."""
    from torch import nn

    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        builder: makes it.
        smallest: the least height and width that it takes, in pixels.
        rgb: whether it takes three channels only.
    """

    builder: Builder
    smallest: int
    rgb: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "digits-cnn": Architecture(digits_cnn, 4),
    "small-cnn": Architecture(small_cnn, 8),
    "mnist-cnn": Architecture(mnist_cnn, 6),
    "digits-fnn": Architecture(fully_connected(32, 32), 1),
    "mnist-fnn-200": Architecture(fully_connected(100, 100), 1),
    "mnist-fnn-800": Architecture(fully_connected(200, 200, 200, 200), 1),
    "mnist-cnn-2028": Architecture(mnist_cnn_2028, 7),
    "resnet10": Architecture(resnet10, 8),
    "resnet18": Architecture(resnet18, 8),
    "resnet18-imagenet": Architecture(_torchvision("resnet18"), 32, rgb=True),
    "alexnet": Architecture(_torchvision("alexnet"), 64, rgb=True),
    "vgg16": Architecture(_torchvision("vgg16"), 64, rgb=True),
}
