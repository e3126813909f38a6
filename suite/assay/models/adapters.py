"""Adapters in front of a network that takes its pictures in another form than (N, C, H, W), RGB, any N."""

import torch
from torch import Tensor, nn

from assay.models.info import Layout


class ReversedChannels(nn.Module):
    """A network that takes BGR, for RGB."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, 3, H, W) in the order RGB; returns what the network returns."""
        output: Tensor = self.net(pixels.flip(1))
        return output


class ChannelsLast(nn.Module):
    """A network that takes (N, H, W, C), for (N, C, H, W)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W); returns what the network returns."""
        output: Tensor = self.net(pixels.permute(0, 2, 3, 1))
        return output


class FixedBatch(nn.Module):
    """A network that takes exactly ``size`` images, for any number of them."""

    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W); the last group is filled up with zeros, whose answers are dropped."""
        count = len(pixels)
        missing = -count % self.size
        filled = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])]) if missing else pixels
        return torch.cat([self.net(group) for group in torch.split(filled, self.size)])[:count]


def in_layout(net: nn.Module, layout: Layout) -> nn.Module:
    """The network, whatever its layout, as one that takes (N, C, H, W)."""
    return ChannelsLast(net) if layout == "nhwc" else net
