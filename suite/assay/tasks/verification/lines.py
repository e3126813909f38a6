"""What the subdivision of cells by one layer's gates has to do: the affine forms of the gates, and what is open."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.cells import Cells
from assay.tasks.verification.linear import in_windows


@dataclass(frozen=True)
class Lines:
    """The affine forms of a layer's outputs on each cell; its gates open and shut along lines where these tie.

    Attributes:
        forms: `(C, 1 + d, n)` outputs, affine in theta.
        splits: `(n,)` bool, the outputs that have a gate.
        tolerance: `(n,)` what rounding can do to a value.
        first_name: facets cut by ReLU i are named `first_name + i`.
        window: 0 for ReLUs, the number of entries of a window for max pooling.
    """

    forms: Tensor
    splits: Tensor
    tolerance: Tensor
    first_name: int
    window: int = 0


@dataclass(frozen=True)
class CellsToCut:
    """Cells being cut, and the (cell, unit) pairs that may part the cell, sorted by cell.

    Attributes:
        cells: N cells.
        parent: `(N,)` int64 row of `Lines.forms`.
        pattern: `(N, n)` bool, the gates that are open as far as settled.
        pair_cell: `(P,)` int64.
        pair_unit: `(P,)` int64, a ReLU or a window.
        rivals: `(P, k)` bool, the entries of the window that may still be the largest; k = 0 for ReLUs.
    """

    cells: Cells
    parent: Tensor
    pattern: Tensor
    pair_cell: Tensor
    pair_unit: Tensor
    rivals: Tensor

    def pairs(self, which: Tensor) -> CellsToCut:
        """The same cells with some of the pairs (an index or mask)."""
        pairs = self.pair_cell[which], self.pair_unit[which], self.rivals[which]
        return CellsToCut(self.cells, self.parent, self.pattern, *pairs)

    def values(self, lines: Lines) -> Tensor:
        """The forms of the pairs at the corners of their cells: `(P, K, k)`, k = 1 for ReLUs."""
        forms = in_windows(lines.forms, lines.window or 1)[self.parent[self.pair_cell], :, self.pair_unit]
        points = self.cells.points[self.pair_cell]
        values: Tensor = forms[:, :1] + (points[..., None] * forms[:, None, 1:]).sum(2)
        return values


@dataclass(frozen=True)
class Cuts:
    """How each pair's cell would be cut.

    Attributes:
        values: `(P, K)` an affine function at the corners, positive and negative; exact zeros lie on the cut.
        names: `(P,)` int64 of the new facets.
        beaten: `(P, 2)` int64, the entry of the window that another beats where the function is negative, and where
            it is positive; None for ReLUs, which a cut settles.
    """

    values: Tensor
    names: Tensor
    beaten: Tensor | None = None


def in_random_order(open_: Tensor) -> tuple[Tensor, Tensor]:
    """The (cell, unit) pairs marked in `(N, units)`, sorted by cell, the units in one random order.

    It keeps the number of rounds near the logarithm of the number of cells.
    """
    order = torch.randperm(open_.shape[1], generator=torch.Generator().manual_seed(0)).to(open_.device)
    cell, column = open_[:, order].nonzero(as_tuple=True)
    return cell, order[column]


def box_bounds(cells: Cells, lines: Lines) -> tuple[Tensor, Tensor]:
    """The middle and the reach of each form on each cell's bounding box: `(N, n)` both."""
    lower, upper = cells.points.amin(1), cells.points.amax(1)
    centre, radius = (lower + upper) / 2, (upper - lower) / 2
    middle, reach = lines.forms[:, 0].clone(), torch.zeros_like(lines.forms[:, 0])
    for k in range(cells.dimension):  # far faster than a batched product of so few terms
        slope = lines.forms[:, 1 + k]
        middle.addcmul_(centre[:, k, None], slope)
        reach.addcmul_(radius[:, k, None], slope.abs())
    return middle, reach
