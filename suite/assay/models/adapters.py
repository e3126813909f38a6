"""Adapters in front of a network that takes its pictures in another form than (N, C, H, W), RGB, any N."""

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.check import ask
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
    """A network that takes exactly ``size`` images and returns a tensor or several, for any number of images."""

    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        """pixels: (N, C, H, W); the last group is filled up with zeros, whose answers are dropped."""
        count = len(pixels)
        missing = -count % self.size
        filled = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])]) if missing else pixels
        outputs = [self.net(group) for group in torch.split(filled, self.size)]
        if isinstance(outputs[0], Tensor):
            return torch.cat(outputs)[:count]
        return tuple(torch.cat(groups)[:count] for groups in zip(*outputs, strict=True))


class OwnInput(nn.Module):
    """A network that writes into its input, for callers that keep theirs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W), left as they are; returns what the network returns."""
        output: Tensor = self.net(pixels.clone())
        return output


class AtLeastTwo(nn.Module):
    """A network that takes no single image, for any number of them: a single one is shown to it twice."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W); returns logits (N, classes)."""
        output: Tensor = self.net(pixels.repeat(2, 1, 1, 1))[:1] if len(pixels) == 1 else self.net(pixels)
        return output


def takes_one(net: nn.Module, images: Tensor) -> bool:
    """Whether a network that answers ``images`` (N, C, H, W) with logits answers a single one with its logits."""
    try:
        logits = ask(net, images[:1], "")
    except UserError:
        return False
    return isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == 1


def in_layout(net: nn.Module, layout: Layout) -> nn.Module:
    """The network, whatever its layout, as one that takes (N, C, H, W)."""
    return ChannelsLast(net) if layout == "nhwc" else net
