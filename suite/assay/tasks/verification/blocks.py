"""Affine blocks and gates gathered from the nodes of a network's graph.

A chain has one value at a time. Where a network branches, several values live at once. Then a block's outputs are the
gates' inputs and, without a gate, every other value that is read later. So the blocks of any graph are a chain, and the
verifier sees no difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.branches import Composite, JoinedBranches, Section, SumOfBranches
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.linear import Linear

Shape = tuple[int, ...]
MOST_GATES = 100_000
"""ReLUs and entries of pooling windows of a network. More cells than memory holds follow from more of them."""


class TooManyGatesError(Exception):
    """The network has more gates than :data:`MOST_GATES`."""


@dataclass(frozen=True)
class AffineValue:
    """What a node gives, as an affine function of all outputs of the last gates.

    Attributes:
        maps: linear maps applied in order.
        bias: `(n,)` added to the result of the maps; None for none.
        shape: of one image's value; its entries are flattened in this order.
    """

    maps: tuple[Linear, ...]
    bias: Tensor | None
    shape: Shape

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def offset(self) -> Tensor:
        """The bias `(n,)`, zeros where there is none."""
        return torch.zeros(self.size, dtype=torch.float64) if self.bias is None else self.bias

    def then(self, linear_map: Linear, bias: Tensor | None, shape: Shape) -> AffineValue:
        """A linear map of this value, with a bias `(outputs,)`, as a value of another shape."""
        moved = None if self.bias is None else linear_map.forward(self.bias[None])[0]
        if bias is not None:
            moved = bias if moved is None else moved + bias
        return AffineValue((*self.maps, linear_map), moved, shape)

    def reshaped(self, shape: Shape) -> AffineValue:
        """The same entries in another shape."""
        return AffineValue(self.maps, self.bias, shape)


def added(values: list[AffineValue]) -> AffineValue:
    """The sum of values of one shape."""
    branches = SumOfBranches(tuple(Composite(value.maps) for value in values))
    biases = [value.bias for value in values if value.bias is not None]
    bias = torch.stack(biases).sum(0) if biases else None
    return AffineValue((branches,), bias, values[0].shape)


def joined(values: list[AffineValue], shape: Shape) -> AffineValue:
    """Values side by side."""
    branches = tuple(Composite(value.maps) for value in values)
    maps = JoinedBranches(branches, tuple(value.size for value in values))
    return AffineValue((maps,), torch.cat([value.offset for value in values]), shape)


class Blocks:
    """The blocks gathered so far, and the values that later nodes read, by the names of the nodes."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.gates = 0
        self.values: dict[str, AffineValue] = {}

    def gate(self, value: AffineValue, window: int = 0) -> AffineValue:
        """Put gates on a value that no later node reads but through them, and carry the other values along.

        Args:
            value: what the gates see.
            window: 0 for ReLUs, the size of a window for max pooling.

        Raises:
            TooManyGatesError: the network has too many gates with these.
        """
        self.gates += value.size
        if self.gates > MOST_GATES:
            raise TooManyGatesError
        carried = list(self.values.values())
        block = joined([value, *carried], ()) if carried else value
        total = len(block.offset)
        splits = torch.arange(total) < value.size
        self.layers.append(Layer(block.maps, block.offset, splits, window))
        start = value.size
        for name, other in self.values.items():
            self.values[name] = _section(start, other.shape, total)
            start += other.size
        return _section(0, value.shape, total)

    def finish(self, value: AffineValue) -> tuple[Layer, ...]:
        """All blocks; the last one gives this value and has no gates."""
        splits = torch.zeros(value.size, dtype=torch.bool)
        return (*self.layers, Layer(value.maps, value.offset, splits))


def _section(start: int, shape: Shape, total: int) -> AffineValue:
    """The value of this shape that stands at `start` among all `total` outputs of a block."""
    size = math.prod(shape)
    maps = () if size == total else (Section(start, start + size, total),)
    return AffineValue(maps, None, shape)
