"""The nodes of a network's graph that are piecewise linear, each read as affine maps and gates in float64."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.common.errors import UserError
from assay.models.chain import ONNX_FLATTENS
from assay.tasks.verification.blocks import MOST_GATES, AffineValue, Blocks, TooManyGatesError, added, joined
from assay.tasks.verification.linear import (
    Convolution,
    Copies,
    Dense,
    DiagonalMap,
    Padding,
    Sums,
    sparse,
    windows,
)

Shape3 = tuple[int, int, int]


class UnsupportedLayerError(UserError):
    """The network has a node that the exact verifier does not take; `layer` is its name."""

    def __init__(self, layer: str, why: str) -> None:
        super().__init__(f"layer {layer} cannot be verified: {why}")
        self.layer = layer


@dataclass(frozen=True)
class GraphNode:
    """A node with its inputs.

    Attributes:
        name: of the node and its kind, for messages.
        what: the layer, the function, or the name of the method.
        values: its inputs that depend on the picture.
        settings: its other arguments in order.
        named: its arguments by name.
    """

    name: str
    what: Any
    values: tuple[AffineValue, ...]
    settings: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> AffineValue:
        """The only input."""
        if len(self.values) != 1:
            raise self.refused(f"it reads {len(self.values)} values")
        return self.values[0]

    @property
    def image_shape(self) -> Shape3:
        """(channels, height, width) of the only input."""
        shape = self.value.shape
        if len(shape) != 3:
            raise self.refused(f"it reads an image, but its input has the shape {shape}")
        return shape[0], shape[1], shape[2]

    def refused(self, why: str) -> UnsupportedLayerError:
        """The error that names this node."""
        return UnsupportedLayerError(self.name, why)


def _fully_connected(node: GraphNode, _blocks: Blocks) -> AffineValue:
    layer, value = node.what, node.value
    if len(value.shape) != 1 or value.shape[0] != layer.in_features:
        raise node.refused(f"it reads {layer.in_features} values, but gets the shape {value.shape}")
    return value.then(Dense(layer.weight.detach()), _bias(layer.bias), (layer.out_features,))


def _convolution(node: GraphNode, _blocks: Blocks) -> AffineValue:
    layer = node.what
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise node.refused("only explicit zero padding is read")
    in_shape = node.image_shape
    if in_shape[0] != layer.in_channels:
        raise node.refused(f"it reads {layer.in_channels} channels, but gets {in_shape[0]}")
    stride, padding, dilation = _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation)
    linear_map = Convolution(layer.weight.detach(), stride, padding, dilation, layer.groups, in_shape)
    bias = _bias(layer.bias)
    out_shape = linear_map.out_shape
    if bias is not None:
        bias = bias.repeat_interleave(out_shape[1] * out_shape[2])
    return node.value.then(linear_map, bias, out_shape)


def _batch_norm(node: GraphNode, _blocks: Blocks) -> AffineValue:
    layer, value = node.what, node.value
    if layer.running_mean is None or layer.running_var is None:
        raise node.refused("it keeps no running statistics, so it is not affine at evaluation")
    factor = torch.rsqrt(layer.running_var + layer.eps)
    if layer.weight is not None:
        factor = factor * layer.weight.detach()
    shift = -layer.running_mean * factor
    if layer.bias is not None:
        shift = shift + layer.bias.detach()
    spread = value.size // len(factor)
    return value.then(
        DiagonalMap(factor.repeat_interleave(spread)), shift.repeat_interleave(spread), value.shape
    )


def _average_pool(node: GraphNode, _blocks: Blocks) -> AffineValue:
    layer = node.what
    index, shape = _windows(node)
    read, counted = index >= 0, index >= (-1 if layer.count_include_pad else 0)
    divisor = layer.divisor_override or counted.sum(1, keepdim=True)
    return _averages(node, index, 1 / (read * divisor)[read].double(), shape)


def _averages(node: GraphNode, index: Tensor, weights: Tensor, shape: Shape3) -> AffineValue:
    """Weighted sums over windows `(outputs, k)` of indices, with a weight for each that is inside the image."""
    read = index >= 0
    rows = torch.arange(len(index))[:, None].expand_as(index)
    return node.value.then(
        sparse(rows[read], index[read], weights, (len(index), node.value.size)), None, shape
    )


def _adaptive_average_pool(node: GraphNode, _blocks: Blocks) -> AffineValue:
    in_shape, size = node.image_shape, node.what.output_size
    sides = [side or given for side, given in zip(_pair(size), in_shape[1:], strict=True)]
    if any(given % side for side, given in zip(sides, in_shape[1:], strict=True)):
        raise node.refused(f"{in_shape[1:]} pixels do not fall into {tuple(sides)} equal windows")
    kernel = (in_shape[1] // sides[0], in_shape[2] // sides[1])
    return _equal_averages(node, kernel)


def _mean_of_the_image(node: GraphNode, _blocks: Blocks) -> AffineValue:
    return _equal_averages(node, node.image_shape[1:])


def _equal_averages(node: GraphNode, kernel: tuple[int, int]) -> AffineValue:
    in_shape = node.image_shape
    index = windows(in_shape, kernel, kernel, (0, 0))
    weights = torch.full((index.numel(),), 1 / math.prod(kernel), dtype=torch.float64)
    shape = (in_shape[0], in_shape[1] // kernel[0], in_shape[2] // kernel[1])
    return _averages(node, index, weights, shape)


def _max_pool(node: GraphNode, blocks: Blocks) -> AffineValue:
    layer = node.what
    if _pair(layer.dilation) != (1, 1) or layer.return_indices:
        raise node.refused("only plain max pooling is read (no dilation or indices)")
    index, shape = _windows(node)
    size = node.value.size
    # padding never wins: it repeats the window's first entry, so it only ties
    first = torch.where(index < 0, size, index).amin(1, keepdim=True)
    index = torch.where(index < 0, first, index)
    entries = node.value.then(Copies(index.flatten(), size), None, (index.numel(),))
    return blocks.gate(entries, index.shape[1]).then(Sums(index.shape[1]), None, shape)


def _windows(node: GraphNode) -> tuple[Tensor, Shape3]:
    """What each window of a pooling layer reads (see `windows`), and the shape of its outputs."""
    layer, in_shape = node.what, node.image_shape
    kernel, padding = _pair(layer.kernel_size), _pair(layer.padding)
    stride = _pair(layer.stride)
    sides = []
    for side, pad, size, step in zip(in_shape[1:], padding, kernel, stride, strict=True):
        room = side + 2 * pad - size
        out = (-(-room // step) if layer.ceil_mode else room // step) + 1
        if layer.ceil_mode and (out - 1) * step >= side + pad:
            out -= 1  # torch lets no window begin in the padding on the right
        sides.append(out)
    out_sides = (sides[0], sides[1]) if layer.ceil_mode else None
    return windows(in_shape, kernel, stride, padding, out_sides), (in_shape[0], sides[0], sides[1])


def _padding(node: GraphNode, _blocks: Blocks) -> AffineValue:
    layer = node.what
    if isinstance(layer, nn.ZeroPad2d):
        mode, widths, filled = "constant", tuple(layer.padding), 0.0
    else:
        mode, widths, filled = layer.mode, tuple(layer.pads), float(layer.constant_value)
    if mode != "constant" or any(widths[4:]) or not math.isfinite(filled):
        raise node.refused("only borders of a finite constant, of rows and columns, are read")
    left, right, top, bottom = (*widths, 0, 0)[:4]
    border = Padding(node.image_shape, (left, right, top, bottom))
    bias = None
    if filled:
        inside = border.forward(torch.ones(1, node.value.size, dtype=torch.float64))[0]
        bias = (1 - inside) * filled
    return node.value.then(border, bias, border.out_shape)


def _flatten(node: GraphNode, _blocks: Blocks) -> AffineValue:
    return node.value.reshaped((node.value.size,))


def _view(node: GraphNode, blocks: Blocks) -> AffineValue:
    sizes = node.settings[0] if isinstance(node.settings[0], tuple | list) else node.settings
    if len(sizes) != 2 or sizes[1] != -1:
        raise node.refused("only flattening is read, as view(batch, -1)")
    return _flatten(node, blocks)


def _unflatten(node: GraphNode, _blocks: Blocks) -> AffineValue:
    if node.what.dim != 1 or len(node.value.shape) != 1:
        raise node.refused("only a flat row is read as another shape")
    return node.value.reshaped(tuple(node.what.unflattened_size))


def _relu(node: GraphNode, blocks: Blocks) -> AffineValue:
    return blocks.gate(node.value)


def _relu6(node: GraphNode, blocks: Blocks) -> AffineValue:
    """6 - relu(6 - relu(x))."""
    low = blocks.gate(node.value)
    six = torch.full((low.size,), 6.0, dtype=torch.float64)
    minus = DiagonalMap(-torch.ones_like(six))
    return blocks.gate(low.then(minus, six, low.shape)).then(minus, six, low.shape)


def _same(node: GraphNode, _blocks: Blocks) -> AffineValue:
    """Identity at evaluation."""
    return node.value


def _add(node: GraphNode, _blocks: Blocks) -> AffineValue:
    shapes = [value.shape for value in node.values]
    if len(shapes) != 2 or shapes[0] != shapes[1] or node.settings or node.named.get("alpha", 1) != 1:
        raise node.refused(f"only two values of one shape are added, not {_shown(node, shapes)}")
    return added(list(node.values))


def _concatenate(node: GraphNode, _blocks: Blocks) -> AffineValue:
    dimension = getattr(node.what, "axis", None)
    if dimension is None:
        dimension = node.named.get("dim", node.settings[0] if node.settings else 0)
    shapes = [value.shape for value in node.values]
    alike = {shape[1:] for shape in shapes}
    if dimension not in (1, -len(shapes[0])) or len(alike) != 1:
        raise node.refused(
            f"only values that differ in their channels alone are joined, not {_shown(node, shapes)}"
        )
    return joined(list(node.values), (sum(shape[0] for shape in shapes), *shapes[0][1:]))


def _shown(node: GraphNode, shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(map(str, (*shapes, *node.settings)))


def _as_layer(kind: type[nn.Module]) -> NodeReader:
    """The reader of a function with the same arguments as a kind of layer."""
    return lambda node, blocks: LAYERS[kind](replace(node, what=kind(*node.settings, **node.named)), blocks)


NodeReader = Callable[[GraphNode, Blocks], AffineValue]
LAYERS: dict[type[nn.Module], NodeReader] = {
    nn.Linear: _fully_connected,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_average_pool,
    nn.MaxPool2d: _max_pool,
    nn.ZeroPad2d: _padding,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.ReLU: _relu,
    nn.ReLU6: _relu6,
    nn.Identity: _same,
    nn.Dropout: _same,
}
_ONNX_LAYERS: dict[str, NodeReader] = {
    **dict.fromkeys(ONNX_FLATTENS, _flatten),
    "OnnxPadStatic": _padding,
    "OnnxGlobalAveragePool": _mean_of_the_image,
    "OnnxGlobalAveragePoolWithKnownInputShape": _mean_of_the_image,
    "OnnxConcat": _concatenate,
}
_FUNCTIONS: dict[Any, NodeReader] = {
    torch.relu: _relu,
    functional.relu: _relu,
    torch.flatten: _flatten,
    torch.reshape: _view,
    torch.add: _add,
    operator.add: _add,
    operator.iadd: _add,
    torch.cat: _concatenate,
    functional.avg_pool2d: _as_layer(nn.AvgPool2d),
    functional.max_pool2d: _as_layer(nn.MaxPool2d),
    functional.adaptive_avg_pool2d: _as_layer(nn.AdaptiveAvgPool2d),
    "relu": _relu,
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
    "add": _add,
}


def read_node(node: GraphNode, blocks: Blocks) -> AffineValue:
    """What a node gives.

    Raises:
        UnsupportedLayerError: it is of no kind that is read, or one gate too many; names it.
    """
    reader = _reader_of(node.what)
    if reader is None:
        raise node.refused(
            "read are Linear, Conv2d, pooling, padding, BatchNorm, Flatten, ReLU, adding and joining only"
        )
    try:
        return reader(node, blocks)
    except TooManyGatesError as error:
        raise node.refused(
            f"with it the network has more than {MOST_GATES:,} ReLUs and pooled values"
        ) from error


def _reader_of(what: Any) -> NodeReader | None:
    if not isinstance(what, nn.Module):
        return _FUNCTIONS.get(what)
    kind = type(what).__name__
    if kind == "OnnxBinaryMathOperation":
        return _FUNCTIONS.get(what.math_op_function)
    return LAYERS.get(type(what)) or _ONNX_LAYERS.get(kind)


def _bias(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
