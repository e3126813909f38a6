"""Linear maps that take a block's inputs apart and put branches of a network together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from assay.tasks.verification.linear import Linear


@dataclass(frozen=True)
class Section:
    """The inputs from `start` to `stop`, of a given number of inputs."""

    start: int
    stop: int
    inputs: int

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows[:, self.start : self.stop]

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return self.forward(rows)

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return functional.pad(rows, (self.start, self.inputs - self.stop))


@dataclass(frozen=True)
class Composite:
    """Maps applied in order."""

    maps: tuple[Linear, ...]

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        for linear_map in self.maps:
            rows = linear_map.forward(rows)
        return rows

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        for linear_map in self.maps:
            rows = linear_map.magnitude(rows)
        return rows

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        for linear_map in reversed(self.maps):
            rows = linear_map.transpose(rows)
        return rows


@dataclass(frozen=True)
class SumOfBranches:
    """The sum of what several maps make of the same inputs (a residual add)."""

    branches: tuple[Linear, ...]

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return _total([branch.forward(rows) for branch in self.branches])

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return _total([branch.magnitude(rows) for branch in self.branches])

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return _total([branch.transpose(rows) for branch in self.branches])


@dataclass(frozen=True)
class JoinedBranches:
    """What several maps make of the same inputs, side by side.

    Attributes:
        branches: the maps.
        sizes: how many outputs each has.
    """

    branches: tuple[Linear, ...]
    sizes: tuple[int, ...]

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return torch.cat([branch.forward(rows) for branch in self.branches], 1)

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return torch.cat([branch.magnitude(rows) for branch in self.branches], 1)

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        parts = torch.split(rows, list(self.sizes), 1)
        return _total([branch.transpose(part) for branch, part in zip(self.branches, parts, strict=True)])


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
