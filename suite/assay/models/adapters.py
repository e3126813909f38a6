"""Adapters for networks that do not take pictures as (N, C, H, W), in RGB, in batches of any size."""

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.check import ask
from assay.models.info import Layout


class ReversedChannels(nn.Module):
    """Hands RGB pictures to a network that takes BGR."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, 3, H, W) in the order RGB; returns what the network returns."""
        output: Tensor = self.net(pixels.flip(1))
        return output


class ChannelsLast(nn.Module):
    """Hands (N, C, H, W) to a network that takes (N, H, W, C)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W); returns what the network returns."""
        output: Tensor = self.net(pixels.permute(0, 2, 3, 1))
        return output


class FixedBatch(nn.Module):
    """Hands any number of images to a network that takes exactly ``size`` and returns one or several tensors."""

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
    """Hands a copy to a network that writes into its input, so that callers keep theirs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W), left as they are; returns what the network returns."""
        output: Tensor = self.net(pixels.clone())
        return output


class AtLeastTwo(nn.Module):
    """Shows a single image twice to a network that cannot take one alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W); returns logits (N, classes)."""
        output: Tensor = self.net(pixels.repeat(2, 1, 1, 1))[:1] if len(pixels) == 1 else self.net(pixels)
        return output


def takes_one(net: nn.Module, images: Tensor) -> bool:
    """Whether a network that takes ``images`` (N, C, H, W) also gives logits for a single one."""
    try:
        logits = ask(net, images[:1], "")
    except UserError:
        return False
    return isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == 1


def in_layout(net: nn.Module, layout: Layout) -> nn.Module:
    """A network of any layout, made to take (N, C, H, W)."""
    return ChannelsLast(net) if layout == "nhwc" else net
