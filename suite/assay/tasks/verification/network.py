"""A chain of torch layers read as affine blocks, ReLUs and max pooling in float64.

The verifier sees a network as `layers`: an affine block, then gates on its outputs, and so on; the last block has
none. A ReLU opens a gate where its output is positive. Max pooling is an affine block that copies the entries of each
window side by side, gates of which the largest entry's alone is open, and a sum over each window in the next block.
Ties go to the first entry of a window, as in torch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.chain import ONNX_FLATTENS, NotAChainError, steps_of
from assay.tasks.verification.linear import (
    Convolution,
    Copies,
    Dense,
    DiagonalMap,
    Linear,
    Sums,
    in_windows,
    sparse,
    windows,
)

Shape = tuple[int, int, int]


class UnsupportedLayerError(UserError):
    """The network has a layer that is not piecewise linear in the supported way; `layer` is its name."""

    def __init__(self, layer: str, why: str) -> None:
        super().__init__(f"layer {layer} cannot be verified: {why}")
        self.layer = layer


@dataclass(frozen=True)
class Layer:
    """An affine block followed by gates: an output passes where its gate is open and is 0 where it is shut.

    Attributes:
        maps: linear maps applied in order.
        bias: `(n,)` added to the result of the maps.
        splits: `(n,)` bool, the outputs that have a gate; the others pass unchanged.
        window: 0 where the gates are ReLUs; otherwise the outputs come in windows of so many, one after the other, of
            which only the first largest passes.
    """

    maps: tuple[Linear, ...]
    bias: Tensor
    splits: Tensor
    window: int = 0

    @property
    def neurons(self) -> int:
        """Number of ReLUs, or of the comparisons that max pooling takes."""
        gates = int(self.splits.sum())
        return gates - gates // self.window if self.window else gates

    def open_gates(self, values: Tensor) -> Tensor:
        """`(N, n)` bool: which of the outputs `(N, n)` of the block pass; those of no gate do."""
        if not self.window:
            return (values > 0) | ~self.splits
        entries = in_windows(values, self.window)
        return first_of(entries == entries.amax(2, keepdim=True)).flatten(1)

    def linear(self, rows: Tensor) -> Tensor:
        """The block without its bias, `(N, inputs) -> (N, n)`."""
        for linear_map in self.maps:
            rows = linear_map.forward(rows)
        return rows

    def transpose(self, rows: Tensor) -> Tensor:
        """The adjoint of `linear`, `(N, n) -> (N, inputs)`."""
        for linear_map in reversed(self.maps):
            rows = linear_map.transpose(rows)
        return rows

    def magnitude(self, bound: Tensor) -> Tensor:
        """The largest sum of absolute terms that an output adds up, given input bounds `(inputs,)`."""
        return self.spread(bound) + self.bias.abs()

    def spread(self, change: Tensor) -> Tensor:
        """The most that an output can change `(n,)` where the inputs change by as much as this `(inputs,)`."""
        rows = change[None]
        for linear_map in self.maps:
            rows = linear_map.magnitude(rows)
        return rows[0]

    def affine(self, forms: Tensor) -> Tensor:
        """Carry affine forms `(C, 1 + d, inputs)`, constants first, through the block: `(C, 1 + d, n)`."""
        out = self.linear(forms.flatten(0, 1)).reshape(*forms.shape[:2], -1)
        out[:, 0] += self.bias
        return out


def first_of(marked: Tensor) -> Tensor:
    """The first of the marked entries of each row `(..., k)`, bool of the same shape."""
    return marked & (marked.cumsum(-1) == 1)


@dataclass(frozen=True)
class PiecewiseNetwork:
    """A piecewise linear classifier.

    Attributes:
        layers: the blocks, float64; the last has no splits.
        input_shape: (channels, height, width) of one image.
        module: the network itself in float64, evaluation mode, for confirmation by automatic differentiation.
    """

    layers: tuple[Layer, ...]
    input_shape: Shape
    module: nn.Module

    @property
    def neurons(self) -> int:
        """Number of ReLUs (max-pooling comparisons included)."""
        return sum(layer.neurons for layer in self.layers)

    @property
    def pools(self) -> bool:
        """Whether it has max pooling."""
        return any(layer.window for layer in self.layers)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return len(self.layers[-1].bias)

    def logits(self, images: Tensor) -> Tensor:
        """The network itself on images `(N, channels, height, width)` float64: `(N, classes)`.

        Run one image at a time: a graph read from ONNX may have its batch size fixed at one.
        """
        return torch.cat([self.module(image[None]).reshape(1, -1) for image in images])


@dataclass
class _LayerBuilder:
    """Layers gathered so far, and the affine block being gathered."""

    shape: tuple[int, ...]
    layers: list[Layer] = field(default_factory=list)
    maps: list[Linear] = field(default_factory=list)
    bias: Tensor | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def image_shape(self, layer: str) -> Shape:
        if len(self.shape) != 3:
            raise UnsupportedLayerError(layer, f"it reads an image, but its input has the shape {self.shape}")
        return self.shape[0], self.shape[1], self.shape[2]

    def append(self, linear_map: Linear, bias: Tensor | None, shape: tuple[int, ...]) -> None:
        self.maps.append(linear_map)
        if self.bias is not None:
            self.bias = linear_map.forward(self.bias[None])[0]
        self.shape = shape
        if bias is not None:
            self.bias = bias if self.bias is None else self.bias + bias

    def gate(self, window: int = 0, every: bool = True) -> None:
        bias = torch.zeros(self.size, dtype=torch.float64) if self.bias is None else self.bias
        splits = torch.full((self.size,), every, dtype=torch.bool)
        self.layers.append(Layer(tuple(self.maps), bias, splits, window))
        self.maps, self.bias = [], None


def _fully_connected(name: str, module: nn.Module, build: _LayerBuilder) -> None:
    assert isinstance(module, nn.Linear)
    if len(build.shape) != 1 or build.shape[0] != module.in_features:
        raise UnsupportedLayerError(
            name, f"it reads {module.in_features} values, but gets the shape {build.shape}"
        )
    build.append(Dense(module.weight.detach()), _bias(module.bias), (module.out_features,))


def _convolution(name: str, module: nn.Module, build: _LayerBuilder) -> None:
    assert isinstance(module, nn.Conv2d)
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedLayerError(name, "only explicit zero padding is read")
    in_shape = build.image_shape(name)
    if in_shape[0] != module.in_channels:
        raise UnsupportedLayerError(name, f"it reads {module.in_channels} channels, but gets {in_shape[0]}")
    stride, padding, dilation = _pair(module.stride), _pair(module.padding), _pair(module.dilation)
    linear_map = Convolution(module.weight.detach(), stride, padding, dilation, module.groups, in_shape)
    bias = _bias(module.bias)
    out_shape = linear_map.out_shape
    if bias is not None:
        bias = bias.repeat_interleave(out_shape[1] * out_shape[2])
    build.append(linear_map, bias, out_shape)


def _batch_norm(name: str, module: nn.Module, build: _LayerBuilder) -> None:
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedLayerError(name, "it keeps no running statistics, so it is not affine at evaluation")
    factor = torch.rsqrt(module.running_var + module.eps)
    if module.weight is not None:
        factor = factor * module.weight.detach()
    shift = -module.running_mean * factor
    if module.bias is not None:
        shift = shift + module.bias.detach()
    spread = build.size // len(factor)
    build.append(DiagonalMap(factor.repeat_interleave(spread)), shift.repeat_interleave(spread), build.shape)


def _average_pool(name: str, module: nn.Module, build: _LayerBuilder) -> None:
    assert isinstance(module, nn.AvgPool2d)
    kernel, padding = _pair(module.kernel_size), _pair(module.padding)
    if module.ceil_mode or module.divisor_override or (not module.count_include_pad and any(padding)):
        raise UnsupportedLayerError(
            name, "only plain average pooling is read (no ceil_mode, divisor or open borders)"
        )
    index, shape = _windows(name, module, build)
    read = index >= 0
    rows = torch.arange(len(index))[:, None].expand_as(index)
    values = torch.full((int(read.sum()),), 1 / math.prod(kernel), dtype=torch.float64)
    build.append(sparse(rows[read], index[read], values, (len(index), build.size)), None, shape)


def _max_pool(name: str, module: nn.Module, build: _LayerBuilder) -> None:
    assert isinstance(module, nn.MaxPool2d)
    if module.ceil_mode or _pair(module.dilation) != (1, 1) or module.return_indices:
        raise UnsupportedLayerError(
            name, "only plain max pooling is read (no ceil_mode, dilation or indices)"
        )
    index, shape = _windows(name, module, build)
    # padding never wins: it repeats the window's first entry, with which it ties
    first = torch.where(index < 0, build.size, index).amin(1, keepdim=True)
    index = torch.where(index < 0, first, index)
    build.append(Copies(index.flatten(), build.size), None, (index.numel(),))
    build.gate(index.shape[1])
    build.append(Sums(index.shape[1]), None, shape)


def _windows(name: str, module: nn.AvgPool2d | nn.MaxPool2d, build: _LayerBuilder) -> tuple[Tensor, Shape]:
    in_shape = build.image_shape(name)
    kernel, padding = _pair(module.kernel_size), _pair(module.padding)
    stride = _pair(module.stride)
    height, width = (
        (side + 2 * pad - size) // step + 1
        for side, pad, size, step in zip(in_shape[1:], padding, kernel, stride, strict=True)
    )
    return windows(in_shape, kernel, stride, padding), (in_shape[0], height, width)


def _flatten(_name: str, _module: object, build: _LayerBuilder) -> None:
    build.shape = (build.size,)


def _unflatten(name: str, module: nn.Module, build: _LayerBuilder) -> None:
    assert isinstance(module, nn.Unflatten)
    if module.dim != 1 or len(build.shape) != 1:
        raise UnsupportedLayerError(name, "only a flat row is read as another shape")
    build.shape = tuple(module.unflattened_size)


def _relu(_name: str, _module: object, build: _LayerBuilder) -> None:
    build.gate()


def _skip(_name: str, _module: object, _build: _LayerBuilder) -> None:
    """Identity at evaluation."""


_READERS: dict[type[nn.Module], Callable[[str, nn.Module, _LayerBuilder], None]] = {
    nn.Linear: _fully_connected,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.ReLU: _relu,
    nn.Identity: _skip,
    nn.Dropout: _skip,
}
_FUNCTIONS = {
    torch.relu: _relu,
    nn.functional.relu: _relu,
    torch.flatten: _flatten,
    "relu": _relu,
    "flatten": _flatten,
}


def read_network(module: nn.Module, input_shape: Shape) -> PiecewiseNetwork:
    """Read a torch module as a piecewise linear network.

    Args:
        module: a chain of Linear, Conv2d, AvgPool2d, MaxPool2d, BatchNorm, Flatten, ReLU (Dropout and
            Identity are skipped), pixels in [0, 1] to logits. It is copied, put in evaluation mode and in
            float64.
        input_shape: (channels, height, width).

    Raises:
        UnsupportedLayerError: a layer is of another kind (the error names it), or the graph is not a chain.
        UserError: a weight is NaN or infinite.
    """
    module = exact_copy(module)
    return PiecewiseNetwork(read_layers(module, input_shape), input_shape, module)


def exact_copy(module: nn.Module) -> nn.Module:
    """A float64 copy in evaluation mode; raises UserError for weights that are not finite."""
    module = copy.deepcopy(module).cpu().double().eval().requires_grad_(False)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(
                f"the weights {name} hold NaN or infinite values: use a network with finite weights"
            )
    return module


def read_layers(module: nn.Module, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The blocks of a module in float64 whose input has this shape (without the batch)."""
    build = _LayerBuilder(shape)
    try:
        steps = steps_of(module, _READERS)
    except NotAChainError as error:
        raise UnsupportedLayerError(error.layer, error.why) from error
    for name, step in steps:
        _read_step(name, step, build)
    build.gate(every=False)
    return tuple(build.layers)


def _read_step(name: str, step: object, build: _LayerBuilder) -> None:
    kind = type(step).__name__ if isinstance(step, nn.Module) else name
    label = f"{name} ({kind})"
    if isinstance(step, nn.Module) and type(step) in _READERS:
        _READERS[type(step)](label, step, build)
    elif kind in ONNX_FLATTENS:
        _flatten(label, step, build)
    elif not isinstance(step, nn.Module) and step in _FUNCTIONS:
        _FUNCTIONS[step](label, step, build)
    else:
        raise UnsupportedLayerError(
            label, "read are Linear, Conv2d, pooling, BatchNorm, Flatten and ReLU only"
        )


def _bias(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
