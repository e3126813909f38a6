"""The rows that an attack works on: images waiting, and images live in the pool."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

Memory = dict[str, Tensor]
"""What a method remembers of each live image: tensors whose first dimension is the row."""


@dataclass(frozen=True)
class Inputs:
    """Images to attack, one row each.

    Attributes:
        position: (n,) int64 on the CPU, indices into the images given to the attack.
        images: (n, C, H, W) in [0, 1].
        labels: (n,) int64.
        targets: (n,) int64, classes that the loss aims at, or None.
        seeds: (n,) int64.
        eps: (n,) float64, radii.
        step_size: (n,) float64.
    """

    position: Tensor
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    seeds: Tensor
    eps: Tensor
    step_size: Tensor

    def __len__(self) -> int:
        return len(self.position)

    def select(self, rows: Tensor | slice) -> Self:
        """Some of the rows."""
        columns = {f.name: _pick(getattr(self, f.name), rows) for f in fields(self)}
        return type(self)(**columns)

    def join(self, other: Self) -> Self:
        """These rows, then the others."""
        columns = {f.name: _cat(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return type(self)(**columns)


@dataclass(frozen=True)
class Live:
    """Images under attack, one row each. `adversarial` and `memory` are updated in place by the method.

    Attributes:
        inputs: What is attacked.
        row: (n,) int64 on the CPU, rows of the result that these images fill.
        adversarial: (n, C, H, W), the iterates.
        step: (n,) int64 on the CPU, steps that led to these iterates.
        zero_gradient: (n,) bool, whether some gradient so far was exactly zero.
        memory: What the method remembers.
    """

    inputs: Inputs
    row: Tensor
    adversarial: Tensor
    step: Tensor
    zero_gradient: Tensor
    memory: Memory

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, rows: Tensor) -> Live:
        """Some of the rows, copied."""
        return Live(
            self.inputs.select(rows),
            self.row[rows.cpu()],
            self.adversarial[rows],
            self.step[rows.cpu()],
            self.zero_gradient[rows],
            {name: values[rows] for name, values in self.memory.items()},
        )

    def join(self, other: Live) -> Live:
        """These rows, then the others."""
        return Live(
            self.inputs.join(other.inputs),
            torch.cat([self.row, other.row]),
            torch.cat([self.adversarial, other.adversarial]),
            torch.cat([self.step, other.step]),
            torch.cat([self.zero_gradient, other.zero_gradient]),
            {name: torch.cat([values, other.memory[name]]) for name, values in self.memory.items()},
        )


def _pick(values: Tensor | None, rows: Tensor | slice) -> Any:
    if values is None or isinstance(rows, slice):
        return None if values is None else values[rows]
    return values[rows.to(values.device)]


def _cat(first: Tensor | None, second: Tensor | None) -> Any:
    return None if first is None or second is None else torch.cat([first, second])
