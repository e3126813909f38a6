"""One affine block of a network and the gates on its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.branches import Composite
from assay.tasks.verification.linear import Linear, in_windows


@dataclass(frozen=True)
class Layer:
    """An affine block followed by gates: an output passes where its gate is open and is 0 where it is shut.

    Attributes:
        maps: linear maps applied in order.
        bias: `(n,)` added to the result of the maps.
        splits: `(n,)` bool, the outputs that have a gate, which come first; the others pass unchanged. They are what
            a later block reads beside the gates (the skipped branch of a residual block).
        window: 0 where the gates are ReLUs; otherwise those outputs come in windows of so many, one after the other,
            and only the first largest of each passes.
    """

    maps: tuple[Linear, ...]
    bias: Tensor
    splits: Tensor
    window: int = 0

    @property
    def gates(self) -> int:
        """Number of outputs that have a gate."""
        return int(self.splits.sum())

    @property
    def neurons(self) -> int:
        """Number of ReLUs, or of the comparisons that max pooling takes."""
        return self.gates - self.gates // self.window if self.window else self.gates

    def open_gates(self, values: Tensor) -> Tensor:
        """`(N, n)` bool: which of the outputs `(N, n)` of the block pass; those of no gate do."""
        if not self.window:
            return (values > 0) | ~self.splits
        entries = in_windows(values[:, : self.gates], self.window)
        return self.with_ungated(first_of(entries == entries.amax(2, keepdim=True)).flatten(1))

    def with_ungated(self, gates: Tensor) -> Tensor:
        """What holds of the outputs with a gate `(N, gates)`, and True for the others: `(N, n)` bool."""
        return torch.cat([gates, gates.new_ones(len(gates), len(self.splits) - self.gates)], 1)

    def linear(self, rows: Tensor) -> Tensor:
        """The block without its bias, `(N, inputs) -> (N, n)`."""
        return Composite(self.maps).forward(rows)

    def transpose(self, rows: Tensor) -> Tensor:
        """The adjoint of `linear`, `(N, n) -> (N, inputs)`."""
        return Composite(self.maps).transpose(rows)

    def magnitude(self, bound: Tensor) -> Tensor:
        """The largest sum of absolute terms that an output adds up, given input bounds `(inputs,)`."""
        return self.spread(bound) + self.bias.abs()

    def spread(self, change: Tensor) -> Tensor:
        """The most that an output can change `(n,)` where the inputs change by as much as this `(inputs,)`."""
        return Composite(self.maps).magnitude(change[None])[0]

    def affine(self, forms: Tensor) -> Tensor:
        """Carry affine forms `(C, 1 + d, inputs)`, constants first, through the block: `(C, 1 + d, n)`."""
        out = self.linear(forms.flatten(0, 1)).reshape(*forms.shape[:2], -1)
        out[:, 0] += self.bias
        return out


def first_of(marked: Tensor) -> Tensor:
    """The first of the marked entries of each row `(..., k)`, bool of the same shape."""
    return marked & (marked.cumsum(-1) == 1)
