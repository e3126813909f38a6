"""The table of all activation cells of one image: what holds where in Theta."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.attention import HeatSpace, inconsistency, local_maps, margins, smallest
from assay.tasks.verification.cells import Cells, concatenate, split, volumes
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.subdivide import Leaves, sums_of_marked

_DIFFERING = (
    150  # ReLUs that may differ within a block of cells: more cells share more work, but each costs more
)
_FEW = 8  # cells that are not parted further
_TOGETHER = 10  # ReLUs that change together from which a block is cut along their line


@dataclass(frozen=True)
class CellTable:
    """One row an activation cell.

    Attributes:
        cells: N cells in Theta.
        piece: `(N,)` int64 index of the piece of Theta that holds the cell.
        keys: `(N,)` int64 hash of the activation pattern.
        volumes: `(N,)` areas (lengths, volumes).
        ai_max: `(N,)` supremum of ai over the cell.
        ai_min: `(N,)` proved lower bound of ai over the cell (equal to `ai_max` where the heat map stays).
        theta_ai: `(N, d)` corner at which `ai_max` is taken.
        margin_min: `(N,)` smallest margin f_label - max f_j over the cell.
        margin_max: `(N,)` largest margin, or any upper bound of it that has its sign.
        theta_margin: `(N, d)` corner at which `margin_min` is taken.
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
        """`(N,)` bool: cells in which AR at delta (or CR where delta is None) holds throughout."""
        return self.margin_min > 0 if delta is None else self.ai_max <= delta

    def violated(self, delta: float | None) -> Tensor:
        """`(N,)` bool: cells in which AR at delta (or CR where delta is None) holds nowhere."""
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


def tabulate(leaves: Leaves, reading: CellQuantity) -> Iterator[CellTable]:
    """Read ai and margins off activation cells, in blocks that differ in few ReLUs."""
    everything = torch.arange(len(leaves.cells), device=leaves.logits.device)
    own = leaves.patterns[len(leaves.patterns) - len(reading.layers) + 1 :]  # without those of any clamping
    patterns = torch.cat(own, 1) if own else everything[:, None] < 0
    for index in _blocks(everything, patterns):
        yield _tabulate_block(leaves[index], reading)


def _blocks(index: Tensor, patterns: Tensor) -> Iterator[Tensor]:
    """Part cells, which come along a curve, until few ReLUs differ among those of a part.

    Where many ReLUs change together the cut goes between their two sides (a convolution sees the same grey in many
    places, so whole sets of its ReLUs share one zero line), elsewhere through the middle of the curve.
    """
    here = patterns[index]
    differing = (here.any(0) & ~here.all(0)).nonzero().flatten()
    if len(differing) <= _DIFFERING or len(index) <= _FEW:
        yield index
        return
    changed = here[:, differing] != here[:1, differing]
    odd = torch.randint(-(2**62), 2**62, (len(index), 1), generator=torch.Generator().manual_seed(0))
    names = sums_of_marked(changed.T, odd[:, 0].to(index.device))  # hashes: equal where ReLUs change together
    _, member, count = torch.unique(names, return_inverse=True, return_counts=True)
    if int(count.max()) >= _TOGETHER:
        side = changed[:, (member == count.argmax()).nonzero()[0, 0]]
    else:
        side = torch.arange(len(index), device=index.device) < len(index) // 2
    yield from _blocks(index[side], patterns)
    yield from _blocks(index[~side], patterns)


def _tabulate_block(leaves: Leaves, reading: CellQuantity) -> CellTable:
    cells = leaves.cells
    row = torch.arange(len(cells), device=leaves.logits.device)
    maps, space = local_maps(reading.layers, leaves, reading.labels, reading.space)
    ai = inconsistency(maps, cells.centres, space)
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
