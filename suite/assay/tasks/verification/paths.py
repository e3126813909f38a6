"""The heat maps of neighbouring cells as sums over open paths.

Neighbours differ in few gates. One backward pass serves them all: it goes through the gates that are open in every
cell, stops at those that differ, and starts again from their inputs, one more row each. A cell's map is then the sum of
the rows, each weighted by the open paths that lead to it. Such paths are a small network of their own. So neighbours
among them, which differ in fewer gates still, are read off it in the same way at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.layer import Layer


@dataclass(frozen=True)
class Paths:
    """What labels and gates see of the inputs through the gates above.

    Attributes:
        rows: `(labels + m, r)` what each label, then each differing gate, sees where all differing gates are shut.
        reads: for each layer of gates, the last first, `(labels + gates above, gates)`: how much each row above reads
            of the differing gates of this layer.
        labels: their number.
    """

    rows: Tensor
    reads: tuple[Tensor, ...]
    labels: int

    def maps(self, passed: Tensor) -> Tensor:
        """The maps of cells where these differing gates `(m, N)` are open: `(r, labels, N)`."""
        weights = torch.zeros(len(self.rows), self.labels, passed.shape[1], dtype=torch.float64)
        weights[: self.labels] = torch.eye(self.labels, dtype=torch.float64)[..., None]
        flat, above, gates = weights.flatten(1), self.labels, passed.double()
        for read in self.reads:
            here = slice(above, above + read.shape[1])
            torch.mm(read.T, flat[:above], out=flat[here])
            weights[here] *= gates[here.start - self.labels : here.stop - self.labels, None]
            above = here.stop
        return (self.rows.T @ flat).reshape(-1, *weights.shape[1:])

    def narrowed(self, always: Tensor, differing: Tensor) -> Paths:
        """The paths of cells where some of the gates `(m,)` are always open and others differ, both bool."""
        # the result's rows in terms of these: each label, and each gate that differs, sees itself
        own = torch.cat([differing.new_ones(self.labels), differing])
        seen = torch.eye(len(own), dtype=torch.float64)[own]
        reads, above, start = [], self.labels, self.labels
        for read in self.reads:
            here = slice(start, start + read.shape[1])
            gates = slice(here.start - self.labels, here.stop - self.labels)
            below = seen[:above, :start] @ read
            seen[:above, here] = below * always[gates]
            reads.append(below[:, differing[gates]])
            above, start = above + reads[-1].shape[1], here.stop
        return Paths(seen @ self.rows, tuple(reads), self.labels)


def trace_paths(
    layers: tuple[Layer, ...],
    labels: Tensor,
    always: Tensor,
    differing: Tensor,
    to_inputs: Callable[[Tensor], Tensor],
) -> Paths:
    """The paths of a network in cells where some gates are always open and others differ.

    Args:
        layers: the network without any clamping put before it.
        labels: `(labels,)` int64; their maps are asked for.
        always: `(n,)` bool over the outputs of all blocks but the last, the last of these blocks first.
        differing: `(n,)` bool, in the same order.
        to_inputs: carries rows back through the first block, `(N, n) -> (N, r)`.
    """
    rows = torch.eye(len(layers[-1].bias), dtype=torch.float64)[labels]
    sizes = [len(layer.bias) for layer in layers[-2::-1]]
    reads = []
    for layer, always_open, differ in zip(
        layers[:0:-1], torch.split(always, sizes), torch.split(differing, sizes), strict=True
    ):
        rows = layer.transpose(rows)
        reads.append(rows[:, differ])
        inputs = torch.eye(len(differ), dtype=torch.float64)[differ]
        rows = torch.cat([rows * always_open, inputs])
    return Paths(to_inputs(rows), tuple(reads), len(labels))
