"""Single outputs of early convolutions as linear functions of the few pixels that they look at.

Carried back in windows of just those, such a function costs a tenth of one of all pixels, and has the same bounds up to
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from assay.attacks.affine_layers import Shape, channel_factor, transposed
from assay.attacks.region import Region
from assay.attacks.relu_graph import Add, ReluGraph
from assay.attacks.relu_lines import Relaxation, Relaxations

_PASSED = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, Add)
_MOST = 0.5  # of a value's places: in larger windows a function costs as much as one of the whole value


@dataclass(frozen=True)
class _WindowedFunctions:
    """S linear functions of a value of the graph, each 0 outside of its window; all windows are of one size.

    Attributes:
        slopes: (n, S, C, h, w); 0 where a window sticks out of the value.
        top: (S,) int64, the first row of each window; it may stick out.
        left: (S,) int64, the first column.
    """

    slopes: Tensor
    top: Tensor
    left: Tensor

    def seen(self, value: Tensor) -> Tensor:
        """What the windows show of a value, (n, C, H, W): (n, S, C, h, w), 0 where they stick out."""
        height, width = self.slopes.shape[3:]
        low = torch.stack([self.top, self.left])
        high = low + torch.tensor([[height], [width]], device=low.device)
        beyond = high.amax(1) - torch.tensor(value.shape[2:], device=low.device)
        wide = max(0, -int(low.amin()), int(beyond.amax()))
        padded = nn.functional.pad(value, (wide,) * 4)
        row_length, channel_length = padded.shape[3], math.prod(padded.shape[2:])
        corner = (self.top + wide) * row_length + self.left + wide
        device = corner.device
        rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
        channels = torch.arange(value.shape[1], device=device)
        way = channels[:, None, None] * channel_length + rows[:, None] * row_length + columns
        places = (corner[:, None] + way.flatten()).flatten()
        return padded.flatten(1).index_select(1, places).view(len(value), len(corner), *way.shape)

    def inside(self, shape: Shape) -> _WindowedFunctions:
        """The same functions of a value of a shape, with what sticks out of it set to 0."""
        return replace(self, slopes=self.slopes * self.seen(self.slopes.new_ones((1, 1, *shape[1:]))))

    def through(self, layer: nn.Module, before: Shape) -> tuple[_WindowedFunctions, Tensor]:
        """As functions of what an affine layer reads, and the constants, (n, S), that it adds."""
        sums = self.slopes.sum((3, 4))
        if isinstance(layer, nn.BatchNorm2d):
            shift = layer(self.slopes.new_zeros((1, before[0], 1, 1))).flatten()
            return replace(self, slopes=self.slopes * channel_factor(layer, 3)), sums @ shift
        assert isinstance(layer, nn.Conv2d)
        back = transposed(self.slopes, layer, (before[0], *_wider(layer, self.slopes.shape[3:])), (0, 0))
        found = _WindowedFunctions(back, *_corner(layer, self.top, self.left))
        constant = sums.new_zeros(sums.shape[:2]) if layer.bias is None else sums @ layer.bias
        return found.inside(before), constant

    def through_relu(self, lines: Relaxation) -> tuple[_WindowedFunctions, Tensor]:
        """As functions of what a ReLU reads, between parallel lines; constants (2, n, S), from below and above."""
        offset = self.seen(lines.offset)
        # The lower line passes through 0, so only the upper one adds its offset: to the upper bound where the function
        # rises in the value, to the lower one where it falls.
        low, high = (
            (part * offset).flatten(2).sum(2) for part in (self.slopes.clamp_max(0), self.slopes.clamp_min(0))
        )
        return replace(self, slopes=self.slopes * self.seen(lines.slope_high)), torch.stack((low, high))

    def plus(self, other: _WindowedFunctions) -> _WindowedFunctions:
        """The sum with functions of the same value whose windows are shifted by the same offset in every row."""
        top, left = torch.minimum(self.top, other.top), torch.minimum(self.left, other.left)
        places = [each._within(top, left) for each in (self, other)]
        height, width = (max(place[k] + place[k + 2] for place in places) for k in (0, 1))
        first, second = (
            nn.functional.pad(each.slopes, (x, width - x - w, y, height - y - h))
            for each, (y, x, h, w) in zip((self, other), places, strict=True)
        )
        return _WindowedFunctions(first + second, top, left)

    def _within(self, top: Tensor, left: Tensor) -> tuple[int, int, int, int]:
        """Where windows lie in larger ones that begin at `top` and `left`: row, column, height, width."""
        return int(self.top[0] - top[0]), int(self.left[0] - left[0]), *self.slopes.shape[3:]


def extent_in_windows(
    rows: Tensor, value: int, graph: ReluGraph, relaxations: Relaxations, region: Region
) -> tuple[Tensor, Tensor]:
    """(n, S) each: bounds from below and above of single entries, (S,) int64, of a value that `is_seen_in_windows`.

    Args:
        rows: indices into the flattened value.
        value: its number.
        graph: the network.
        relaxations: parallel lines, one per layer up to the value.
        region: what the bounds hold for.
    """
    begun, entries, constant = _entries(rows, value, graph, region.low.dtype)
    open_values = {begun: entries}
    for number in range(begun, 0, -1):
        windows, layer = open_values.pop(number, None), number - 1
        if windows is None:
            continue
        lines, module = relaxations[layer], graph.layers[layer]
        if not isinstance(module, Add):
            before = graph.before(layer)
            windows, extra = windows.through(module, before) if lines is None else windows.through_relu(lines)
            constant = constant + extra
        for each in graph.inputs[layer]:
            open_values[each] = windows if each not in open_values else open_values[each].plus(windows)
    windows = open_values[0]
    below, above = region.extent_of_seen(windows.slopes, windows.seen)
    low, high = constant.expand(2, *below.shape)
    return below + low, above + high


def is_seen_in_windows(value: int, graph: ReluGraph) -> bool:
    """Whether each entry of a value depends on windows that are small on every value before it."""
    sides = {value: (1, 1)}
    # Layers are in order, so going backwards all readers of a value come before it.
    for number in range(value, 0, -1):
        side = sides.pop(number, None)
        if side is None:
            continue
        module, read = graph.layers[number - 1], graph.inputs[number - 1]
        if not isinstance(module, _PASSED):
            return False
        if isinstance(module, nn.Conv2d):
            side = _wider(module, side)
            if math.prod(side) > _MOST * math.prod(graph.before(number - 1)[1:]):
                return False
        for each in read:
            known = sides.get(each, side)
            sides[each] = max(known[0], side[0]), max(known[1], side[1])
    return True


def _wider(layer: nn.Conv2d, side: Sequence[int]) -> tuple[int, int]:
    """The size of a convolution's input windows, from that of its output windows."""
    stride, gaps, kernel = (
        cast(tuple[int, int], it) for it in (layer.stride, layer.dilation, layer.kernel_size)
    )
    height, width = ((side[k] - 1) * stride[k] + gaps[k] * (kernel[k] - 1) + 1 for k in (0, 1))
    return height, width


def _entries(
    rows: Tensor, value: int, graph: ReluGraph, dtype: torch.dtype
) -> tuple[int, _WindowedFunctions, Tensor]:
    """Single entries, (S,) int64 into the flattened value, as functions of it or, of a convolution's, of its input.

    Returns:
        Which value the functions read, the functions, and constants, (1, S).
    """
    shape, layer = graph.shapes[value], graph.layers[value - 1]
    channel, place = rows // math.prod(shape[1:]), rows % math.prod(shape[1:])
    units = torch.eye(shape[0], dtype=dtype, device=rows.device)[None, :, :, None, None]
    at = place // shape[2], place % shape[2]
    if not isinstance(layer, nn.Conv2d):
        return value, _WindowedFunctions(units[:, channel], *at), units.new_zeros(1, len(rows))
    # All entries of a channel are the same function of their windows.
    before = graph.before(value - 1)
    kernels = transposed(units, layer, (before[0], *_wider(layer, (1, 1))), (0, 0))
    windows = _WindowedFunctions(kernels[:, channel], *_corner(layer, *at)).inside(before)
    constant = units.new_zeros(1, len(rows)) if layer.bias is None else layer.bias[None, channel]
    return graph.inputs[value - 1][0], windows, constant


def _corner(layer: nn.Conv2d, top: Tensor, left: Tensor) -> Iterable[Tensor]:
    """Where the windows of what a convolution reads begin."""
    stride, padding = cast(tuple[int, int], layer.stride), cast(tuple[int, int], layer.padding)
    return top * stride[0] - padding[0], left * stride[1] - padding[1]
