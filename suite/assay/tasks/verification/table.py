"""The table of all activation cells of one image: what holds where in Theta."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.attention import (
    HeatSpace,
    Inconsistency,
    inconsistency,
    margins,
    own_coordinates,
    smallest,
)
from assay.tasks.verification.cells import Cells, concatenate, split, volumes
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.neighbours import Part, Patterns
from assay.tasks.verification.paths import trace_paths
from assay.tasks.verification.subdivide import Leaves

# Gates that may differ within a block of cells, which share one pass back through the network, and within a part of it:
# more cells share more work, but each costs more.
_DIFFERING, _DIFFERING_NEARBY = 200, 80


@dataclass(frozen=True)
class CellTable:
    """One row per activation cell.

    Attributes:
        cells: N cells in Theta.
        piece: `(N,)` int64 index of the piece of Theta that holds the cell.
        keys: `(N,)` int64 hash of the activation pattern.
        volumes: `(N,)` areas (lengths, volumes).
        ai_max: `(N,)` supremum of ai over the cell.
        ai_min: `(N,)` proved lower bound of ai over the cell (equal to `ai_max` where the heat map stays).
        theta_ai: `(N, d)` the corner of `ai_max`.
        margin_min: `(N,)` smallest margin f_label - max f_j over the cell.
        margin_max: `(N,)` largest margin, or any upper bound of it that has its sign.
        theta_margin: `(N, d)` the corner of `margin_min`.
    """

    cells: Cells
    piece: Tensor
    keys: Tensor
    volumes: Tensor
    ai_max: Tensor
    ai_min: Tensor
    theta_ai: Tensor
    margin_min: Tensor
    margin_max: Tensor
    theta_margin: Tensor

    def __len__(self) -> int:
        return len(self.piece)

    def satisfied(self, delta: float | None) -> Tensor:
        """`(N,)` bool: cells where AR at delta (CR if delta is None) holds throughout."""
        return self.margin_min > 0 if delta is None else self.ai_max <= delta

    def violated(self, delta: float | None) -> Tensor:
        """`(N,)` bool: cells where AR at delta (CR if delta is None) holds nowhere."""
        return self.margin_max < 0 if delta is None else self.ai_min > delta


def join(tables: Sequence[CellTable]) -> CellTable:
    """One table of all rows."""

    def rows(name: str) -> Tensor:
        return torch.cat([getattr(table, name) for table in tables])

    names = [name for name in CellTable.__dataclass_fields__ if name != "cells"]
    return CellTable(concatenate([table.cells for table in tables]), **{name: rows(name) for name in names})


@dataclass(frozen=True)
class CellQuantity:
    """What to compute on each cell.

    Attributes:
        layers: the network, without clamping.
        labels: `(labels,)` int64 labels whose maps count.
        label: the label that CR asks to keep.
        space: coordinates and expected maps on this piece of Theta.
        piece: index of the piece.
    """

    layers: tuple[Layer, ...]
    labels: Tensor
    label: int
    space: HeatSpace
    piece: int

    def to_inputs(self, rows: Tensor) -> Tensor:
        """Rows `(N, n)` on the outputs of the first block as heat maps in the coordinates of the space."""
        return self.layers[0].transpose(rows) if self.space.first is None else rows @ self.space.first


def tabulate(leaves: Leaves, reading: CellQuantity) -> Iterator[CellTable]:
    """Read ai and margins off activation cells, in blocks that differ in few gates."""
    own = leaves.patterns[len(leaves.patterns) - len(reading.layers) + 1 :]  # without facets of any clamping
    patterns = Patterns.of(own[::-1], len(leaves.cells))
    for block in patterns.parts(torch.arange(len(leaves.cells)), _DIFFERING):
        yield _tabulate_block(leaves, patterns, block, reading)


def _tabulate_block(leaves: Leaves, patterns: Patterns, block: Part, reading: CellQuantity) -> CellTable:
    ai = _inconsistency(leaves.cells, patterns, block, reading)
    leaves = leaves[block.index]
    cells = leaves.cells
    row = torch.arange(len(cells))
    highest = ai.at(cells.points).max(1)
    lowest, _ = smallest(ai, cells)
    gaps = margins(leaves, reading.label)
    worst = gaps.amin(2).min(1)
    return CellTable(
        cells,
        torch.full_like(row, reading.piece),
        torch.stack(leaves.keys).sum(0) if leaves.keys else torch.zeros_like(row),
        volumes(cells),
        highest.values,
        lowest,
        cells.points[row, highest.indices],
        worst.values,
        _margin_bound(cells, gaps),
        cells.points[row, worst.indices],
    )


def _inconsistency(cells: Cells, patterns: Patterns, block: Part, reading: CellQuantity) -> Inconsistency:
    """Inconsistency on the cells of a block, in their order."""
    space, differing = reading.space, block.differing
    paths = trace_paths(reading.layers, reading.labels, block.always, differing, reading.to_inputs)
    paths.rows[: paths.labels] -= space.constant
    parts = list(patterns.parts(block.index, _DIFFERING_NEARBY))
    found = []
    for part in parts:
        near = paths.narrowed(part.always[differing], part.differing[differing])
        near, slopes = own_coordinates(near, space.slopes)
        differences = near.maps(patterns.passed(part.index, part.differing))
        found.append(inconsistency(differences, cells[part.index].centres, slopes, space.moving))
    return Inconsistency.join(found)[torch.cat([part.index for part in parts]).argsort()]


def _margin_bound(cells: Cells, gaps: Tensor) -> Tensor:
    """A bound with the sign of each cell's largest margin: from its corners, one rival, or by cutting.

    Args:
        cells: N cells.
        gaps: `(N, K, rivals)` f_label - f_j at the corners.
    """
    at_corners = gaps.amin(2).amax(1)
    by_one_rival = gaps.amax(1).amin(1)
    open_ = (at_corners < 0) & (by_one_rival >= 0)
    bound = by_one_rival.clone()
    for i in open_.nonzero().flatten().tolist():
        bound[i] = 1.0 if _wins_somewhere(cells[torch.tensor([i])], gaps[i]) else -1.0
    return bound


def _wins_somewhere(cell: Cells, gaps: Tensor) -> bool:
    """Whether all gaps `(K, rivals)`, affine on one cell, are positive at once somewhere in it."""
    homogeneous = torch.cat([cell.points[0], cell.points.new_ones(cell.points.shape[1], 1)], 1)
    forms = torch.linalg.lstsq(homogeneous, gaps, driver="gelsd").solution
    for rival, form in enumerate(forms.T):
        values = cell.points @ form[:-1] + form[-1]
        if bool((values <= 0).all()):
            return False
        if bool((values < 0).any()):
            cell = split(cell, values, torch.tensor([-100 - rival]))[1]
    return True
