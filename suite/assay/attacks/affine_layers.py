"""Affine layers in the work of bounds: boxes carried forwards through them, linear functions backwards."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


def interval(layer: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of an affine layer's output, from those of its input (interval arithmetic)."""
    middle, spread = (high + low) / 2, (high - low) / 2
    if isinstance(layer, nn.Linear):
        spread = spread @ layer.weight.abs().T
    elif isinstance(layer, nn.Conv2d):
        geometry = layer.stride, cast(tuple[int, ...], layer.padding), layer.dilation, layer.groups
        spread = torch.nn.functional.conv2d(spread, layer.weight.abs(), None, *geometry)
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        spread = spread * channel_factor(layer, spread.dim() - 1).abs()
    else:
        spread = layer(spread)
    middle = layer(middle)
    return middle - spread, middle + spread


def through_affine(slopes: Tensor, layer: nn.Module, shape: Shape) -> tuple[Tensor, Tensor]:
    """Linear functions of an affine layer's output as functions of its input.

    Args:
        slopes: (n, S, *shape after the layer).
        layer: Not a ReLU.
        shape: Of the layer's input.

    Returns:
        The functions, (n, S, *shape), and the constants, (n, S), that the layer's bias adds.
    """
    if isinstance(layer, nn.Linear):
        return slopes @ layer.weight, _bias_term(slopes, layer.bias)
    if isinstance(layer, nn.Conv2d):
        return transposed(slopes, layer, shape, cast(tuple[int, ...], layer.padding)), _bias_term(
            slopes.sum((3, 4)), layer.bias
        )
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        factor = channel_factor(layer, len(shape))
        shift = layer(torch.zeros((1, *shape), dtype=slopes.dtype, device=slopes.device))
        return slopes * factor, (slopes * shift).flatten(2).sum(2)
    return slopes.reshape(*slopes.shape[:2], *shape), slopes.new_zeros(slopes.shape[:2])


def rows_of(
    layer: nn.Module, rows: Tensor, before: Shape, after: Shape, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Single outputs of an affine layer as functions of its input: `through_affine` of unit vectors.

    Args:
        layer: Not a ReLU.
        rows: (S,) int64, indices into the flattened output.
        before: Shape of the layer's input.
        after: Shape of its output.
        dtype: Of the functions.

    Returns:
        (1, S, *before) and (1, S).
    """
    if isinstance(layer, nn.Conv2d):
        return _patches(layer, rows, before, after)
    units = torch.nn.functional.one_hot(rows, math.prod(after)).to(dtype)
    return through_affine(units.view(1, len(rows), *after), layer, before)


def _patches(layer: nn.Conv2d, rows: Tensor, before: Shape, after: Shape) -> tuple[Tensor, Tensor]:
    """A convolution's outputs as functions of its input: each is a kernel, laid where that output looks.

    For a few outputs that is a hundredth of the work of a transposed convolution, which computes them all.

    Args:
        layer: The convolution.
        rows: (S,) int64, indices into the flattened output.
        before: (C, H, W) of the input.
        after: (C, H, W) of the output.

    Returns:
        (1, S, *before), the functions, and (1, S), the biases.
    """
    # Which channel and which place of the output an index means.
    channel, y, x = rows // math.prod(after[1:]), rows // after[2] % after[1], rows % after[2]
    pad, gap, stride = cast(tuple[int, int], layer.padding), layer.dilation, layer.stride
    # On the padded input every kernel fits; the padding is cut off at the end: it holds no pixels.
    wide = layer.weight.new_zeros(len(rows), before[0], before[1] + 2 * pad[0], before[2] + 2 * pad[1])
    _, inputs, height, width = layer.weight.shape
    device = rows.device
    # A group of output channels looks at its own input channels alone: `first` is the first of them.
    first = channel // (after[0] // layer.groups) * inputs
    # Index tensors (S, inputs, height, width) by broadcasting: row s, input channel, and the pixels that the kernel's
    # corner (y, x) * stride and its gaps lead to. So all kernels are written at once.
    places = (
        torch.arange(len(rows), device=device)[:, None, None, None],
        (first[:, None] + torch.arange(inputs, device=device))[:, :, None, None],
        (y[:, None] * stride[0] + gap[0] * torch.arange(height, device=device))[:, None, :, None],
        (x[:, None] * stride[1] + gap[1] * torch.arange(width, device=device))[:, None, None, :],
    )
    # A kernel meets no pixel twice, so writing suffices and nothing is added up.
    wide[places] = layer.weight[channel]
    slopes = wide[:, :, pad[0] : pad[0] + before[1], pad[1] : pad[1] + before[2]][None]
    return slopes, slopes.new_zeros((1, len(rows))) if layer.bias is None else layer.bias[channel][None]


def channel_factor(layer: nn.BatchNorm1d | nn.BatchNorm2d, dims: int) -> Tensor:
    """What a batch norm multiplies an image of so many dimensions with, one value per channel."""
    factor = torch.rsqrt(cast(Tensor, layer.running_var) + layer.eps)
    if layer.affine:
        factor = factor * layer.weight
    return factor.view(-1, *(1,) * (dims - 1))


def _bias_term(slopes: Tensor, bias: Tensor | None) -> Tensor:
    return slopes.new_zeros(slopes.shape[:2]) if bias is None else slopes @ bias


def transposed(slopes: Tensor, layer: nn.Conv2d, shape: Shape, padding: tuple[int, ...]) -> Tensor:
    """A convolution's transpose applied to each function: a product, then overlapping patches are added up.

    On a CPU that is two to five times as fast as `conv_transpose2d`.

    Args:
        slopes: (n, S, C, H, W).
        layer: The convolution.
        shape: (C, H, W) of its input.
        padding: Around its input.
    """
    outputs, groups = layer.out_channels, layer.groups
    kernels = layer.weight.reshape(groups, outputs // groups, -1)
    patches = kernels.transpose(1, 2) @ slopes.flatten(0, 1).reshape(
        -1, groups, outputs // groups, math.prod(slopes.shape[3:])
    )
    back = torch.nn.functional.fold(
        patches.flatten(1, 2),
        shape[1:],
        layer.kernel_size,
        layer.dilation,
        padding,
        layer.stride,
    )
    return back.view(*slopes.shape[:2], *shape)
