"""Reads a layer's output as a map over the image: channels first, channels last, or tokens.

The output itself shows its kind. Heights and widths of a map are in the image's proportion. So at most one of the two
readings of four dimensions fits, unless there are as many channels as places. A convolution, a pooling or a batch
normalisation always has its channels first. Tokens (images, tokens, width) are a grid in the image's proportion, row by
row. Prefix tokens (class, distillation, register) come before it; they belong to no place in the image and are kept out
of the map. Their number is the network's own ``num_prefix_tokens`` where it states one, as timm's do; and as a width
counts only what a linear layer or a layer normalisation of the network takes.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.common.errors import UserError

Kind = Literal["vector", "nchw", "nhwc", "tokens"]

_MOST_PREFIX_TOKENS = 16
_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
)  # fmt: skip


@dataclass(frozen=True)
class LayerReading:
    """How a layer's output is read.

    Attributes:
        kind: the order of its dimensions; ``vector`` is (N, C).
        size: (height, width) of the map; (1, 1) for a vector.
        prefix: tokens before the map's.
    """

    kind: Kind
    size: tuple[int, int]
    prefix: int = 0

    def channels_first(self, output: Tensor) -> Tensor:
        """The map (N, C, h, w), or the vector (N, C); a view of ``output``, and itself where its channels are first."""
        if self.kind == "nhwc":
            return output.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            places = output[:, self.prefix :].transpose(1, 2)
            return places.reshape(*places.shape[:2], *self.size)
        return output

    def put_back(self, output: Tensor, changed: Tensor) -> Tensor:
        """``output`` with ``changed`` (N, C, h, w) instead of its map."""
        if self.kind == "nhwc":
            return changed.permute(0, 2, 3, 1)
        if self.kind == "tokens":
            return torch.cat([output[:, : self.prefix], changed.flatten(2).transpose(1, 2)], dim=1)
        return changed


def reading(network: nn.Module, name: str, output: Any, images: tuple[int, ...]) -> LayerReading:
    """How to read the output of a layer.

    Args:
        network: the one that the layer is a part of.
        name: of the layer, as in ``network.named_modules()``.
        output: what it gave.
        images: shape (N, C, H, W) of the network's input.

    Raises:
        UserError: the output is no map of the images, no tokens and no vector.
    """
    count, _, *sides = images
    shape = tuple(output.shape) if isinstance(output, Tensor) else None
    if shape is not None and shape[:1] == (count,):
        found = _read(network, name, shape, (sides[0], sides[1]))
        if found is not None:
            return found
    raise UserError(
        f"layer '{name}' gives {shape or type(output).__name__}, not (images, channels, height, width), (images, "
        f"height, width, channels), a grid of tokens or (images, channels) for {count} images of {sides[0]} x "
        f"{sides[1]}; name another layer"
    )


def _read(
    network: nn.Module, name: str, shape: tuple[int, ...], image: tuple[int, int]
) -> LayerReading | None:
    if len(shape) == 2:
        return LayerReading("vector", (1, 1))
    if len(shape) == 3:
        return _grid(_stated_prefix(network), shape[1], image) if _is_width(network, shape[2]) else None
    if len(shape) != 4:
        return None
    first, last = (shape[2], shape[3]), (shape[1], shape[2])
    fixed = isinstance(network.get_submodule(name), _CHANNELS_FIRST)
    if not fixed and not _in_proportion(first, image) and _in_proportion(last, image):
        return LayerReading("nhwc", last)
    return LayerReading("nchw", first)


def _grid(stated: int | None, tokens: int, image: tuple[int, int]) -> LayerReading | None:
    """The fewest prefix tokens that leave a grid in the image's proportion; the stated number, or none, comes first."""
    candidates = range(_MOST_PREFIX_TOKENS + 1) if stated is None else (stated, 0)
    for prefix in candidates:
        places = tokens - prefix
        height = round((max(places, 0) * image[0] / image[1]) ** 0.5)
        if height and places % height == 0 and _in_proportion((height, places // height), image):
            return LayerReading("tokens", (height, places // height), prefix)
    return None


def _stated_prefix(network: nn.Module) -> int | None:
    stated = (getattr(module, "num_prefix_tokens", None) for module in network.modules())
    return next((number for number in stated if isinstance(number, int)), None)


def _is_width(network: nn.Module, size: int) -> bool:
    """Whether the network treats a last dimension of ``size`` as features."""
    return any(
        (isinstance(module, nn.Linear) and size in (module.in_features, module.out_features))
        or (isinstance(module, nn.LayerNorm) and tuple(module.normalized_shape) == (size,))
        for module in network.modules()
    )


def _in_proportion(size: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a map of ``size`` can be a grid of square cells over the image, up to the rounding of one side."""
    return abs(size[0] * image[1] - size[1] * image[0]) < max(image)
