"""Convex cells of a parameter space in one, two or three dimensions, many at once.

Cells are padded arrays: intervals and polygons list their corners in cyclic order, polytopes list each corner
with the three facets that meet there. All cells are cut at once, each by its own hyperplane. A corner *on*
the cut goes to both sides, so no part of a cell is ever lost, however thin.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """A batch of convex cells.

    Attributes:
        points: `(N, K, d)` float64 corners; slots beyond `count` repeat the last corner.
        count: `(N,)` int64 number of corners.
        facets: `(N, K, 3)` int64 the facets that meet at each corner (d = 3), `(N, 0, 0)` otherwise.
    """

    points: Tensor
    count: Tensor
    facets: Tensor

    def __len__(self) -> int:
        return len(self.count)

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return self.points.shape[2]

    @property
    def used(self) -> Tensor:
        """`(N, K)` bool: slots that hold a corner of their own."""
        return torch.arange(self.points.shape[1], device=self.count.device) < self.count[:, None]

    @property
    def centres(self) -> Tensor:
        """`(N, d)` means of the corners: points inside."""
        return (self.points * self.used[..., None]).sum(1) / self.count[:, None]

    def __getitem__(self, index: Tensor) -> Cells:
        return Cells(self.points[index], self.count[index], self.facets[index])


def product_cell(factors: Sequence[Tensor]) -> Cells:
    """One cell, the product of segments `(2, 1)` and at most one triangle `(3, 2)`, of dimension 1 to 3."""
    choices = list(itertools.product(*(range(len(factor)) for factor in factors)))
    corners = torch.stack(
        [torch.cat([factor[i] for factor, i in zip(factors, c, strict=True)]) for c in choices]
    )
    facets = torch.empty(1, 0, 0, dtype=torch.int64)
    if corners.shape[1] == 2 and len(corners) == 4:
        corners = corners[[0, 1, 3, 2]]
    if corners.shape[1] == 3:
        facets = torch.tensor([[_facets_at(choice, factors) for choice in choices]])
    return Cells(corners[None], torch.tensor([len(corners)]), facets)


def _facets_at(choice: Sequence[int], factors: Sequence[Tensor]) -> list[int]:
    """Facets of a product at one corner, named -1, -2, ... (a triangle's by their opposite corners)."""
    facets, offset = [], -1
    for index, factor in zip(choice, factors, strict=True):
        corners = range(len(factor))
        facets += [offset - i for i in corners if (i == index if len(factor) == 2 else i != index)]
        offset -= len(factor)
    return facets


def concatenate(batches: Sequence[Cells]) -> Cells:
    """Join batches of cells, padding to the widest."""
    width = max(batch.points.shape[1] for batch in batches)
    points = torch.cat([_widen(batch.points, width) for batch in batches])
    facets = torch.cat(
        [_widen(batch.facets, width) if batch.facets.shape[2] else batch.facets for batch in batches]
    )
    return Cells(points, torch.cat([batch.count for batch in batches]), facets)


def _widen(slots: Tensor, width: int) -> Tensor:
    missing = width - slots.shape[1]
    return torch.cat([slots, slots[:, -1:].expand(-1, missing, -1)], 1) if missing else slots


def split(cells: Cells, values: Tensor, names: Tensor) -> tuple[Cells, Cells]:
    """Cut each cell by the zero set of its own affine function.

    Args:
        cells: N cells.
        values: `(N, K)` the function at the corners; each row has a positive and a negative entry, and exact
            zeros lie on the cut.
        names: `(N,)` int64 names of the new facets, unused so far in the cell (read in three dimensions
            only).

    Returns:
        The parts where the function is negative, and those where it is positive.
    """
    return _split_polytopes(cells, values, names) if cells.dimension == 3 else _split_polygons(cells, values)


def _split_polygons(cells: Cells, values: Tensor) -> tuple[Cells, Cells]:
    """Sutherland-Hodgman: walk around each polygon, keep a side's corners, add one on each crossed edge."""
    after, values_after = cells.points.roll(-1, 1), values.roll(-1, 1)
    crossed = (values > 0) & (values_after < 0) | (values < 0) & (values_after > 0)  # a product may underflow
    share = torch.where(crossed, values / (values - values_after), 0.0)[..., None]
    # Slots in walking order: each corner, then the point where the edge to the next corner is crossed.
    slots = torch.stack([cells.points, torch.lerp(cells.points, after, share)], 2).flatten(1, 2)
    used = cells.used
    sides = []
    for kept in ((values <= 0) & used, (values >= 0) & used):
        index, count = _compact(torch.stack([kept, crossed], 2).flatten(1, 2))
        points = slots.gather(1, index[..., None].expand(-1, -1, cells.dimension))
        sides.append(Cells(points, count, cells.facets))
    return sides[0], sides[1]


def _compact(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the kept slots of each row, in order, padded with the last; and how many there are."""
    count = keep.sum(1)
    width = int(count.max())
    position = torch.where(keep, keep.cumsum(1) - 1, width)
    slots = torch.arange(keep.shape[1], device=keep.device).expand_as(keep)
    index = torch.zeros(len(keep), width + 1, dtype=torch.int64, device=keep.device).scatter_(
        1, position, slots
    )
    last = torch.minimum(torch.arange(width, device=keep.device), count[:, None] - 1)
    return index.gather(1, last), count


def _split_polytopes(cells: Cells, values: Tensor, names: Tensor) -> tuple[Cells, Cells]:
    """Cut simple polytopes: two corners are joined by an edge where they share two facets.

    A corner on the cut counts as positive, with an edge of length zero to its copy on the negative side: so
    every corner keeps exactly three facets.
    """
    positive = (values >= 0) & cells.used
    negative = (values < 0) & cells.used
    cell, up, down = edges_between(cells.facets, positive, negative)
    above, below = values[cell, up], values[cell, down]
    share = (above / (above - below))[:, None]
    points = torch.lerp(cells.points[cell, up], cells.points[cell, down], share)
    shared = _shared_facets(cells.facets[cell, up], cells.facets[cell, down])
    facets = torch.cat([shared, names[cell, None]], 1)
    # Each crossed edge gives one new corner, which both sides have.
    new = _rows_of(cell, len(cells))
    sides = []
    for kept in (negative, positive):
        index, kept_count = _compact(torch.cat([kept, new < len(points)], 1))
        width = cells.points.shape[1]
        sides.append(
            Cells(
                _pick(cells.points, points, new, index, width),
                kept_count,
                _pick(cells.facets, facets, new, index, width),
            )
        )
    return sides[0], sides[1]


def edges_between(facets: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges from corners of one set to corners of another: (cell, corner of the first, of the second)."""
    shared = torch.zeros(*first.shape, first.shape[1], dtype=torch.int8, device=facets.device)
    for i, j in itertools.product(range(3), range(3)):
        shared += facets[:, :, None, i] == facets[:, None, :, j]
    cell, up, down = ((shared == 2) & first[:, :, None] & second[:, None, :]).nonzero(as_tuple=True)
    return cell, up, down


def _shared_facets(first: Tensor, second: Tensor) -> Tensor:
    """The two facets `(E, 2)` that the corners `(E, 3)` of each edge share."""
    common = (first[:, :, None] == second[:, None, :]).any(2)
    return first[common].reshape(-1, 2)


def _rows_of(cell: Tensor, cells: int) -> Tensor:
    """Lay entries sorted by cell out in rows: `(cells, widest)` indices, `len(cell)` where there is none."""
    count = torch.bincount(cell, minlength=cells)
    start = count.cumsum(0) - count
    column = torch.arange(len(cell), device=cell.device) - start[cell]
    rows = torch.full((cells, int(count.max())), len(cell), dtype=torch.int64, device=cell.device)
    rows[cell, column] = torch.arange(len(cell), device=cell.device)
    return rows


def _pick(old: Tensor, new: Tensor, rows: Tensor, index: Tensor, width: int) -> Tensor:
    """Slots by index: the first `width` from `old`, the rest from `new` through `rows`."""
    cell = torch.arange(len(index), device=index.device)[:, None]
    from_new = new[rows[cell, (index - width).clamp(min=0)].clamp(max=len(new) - 1)]
    from_old = old[cell, index.clamp(max=width - 1)]
    return torch.where((index < width)[..., None], from_old, from_new)


def volumes(cells: Cells) -> Tensor:
    """`(N,)` lengths, areas or volumes."""
    points = cells.points
    if cells.dimension == 1:
        return points[..., 0].amax(1) - points[..., 0].amin(1)
    if cells.dimension == 2:
        arms = points - points[:, :1]  # relative to a corner: no cancellation for small cells far from zero
        ahead = arms.roll(-1, 1)
        return (arms[..., 0] * ahead[..., 1] - arms[..., 1] * ahead[..., 0]).sum(1).abs() / 2
    return _polytope_volumes(cells)


def _polytope_volumes(cells: Cells) -> Tensor:
    """Add up tetrahedra, one for each edge and each facet beside it, with both centres as their apexes."""
    upper = torch.ones(cells.points.shape[1], cells.points.shape[1], dtype=torch.bool).triu(1)
    cell, one, other = edges_between(cells.facets, cells.used, cells.used)
    once = upper.to(cell.device)[one, other]
    cell, one, other = cell[once], one[once], other[once]
    origin = cells.centres[cell]
    ends = cells.points[cell, one] - origin, cells.points[cell, other] - origin
    total = cells.points.new_zeros(len(cells))
    shared = _shared_facets(cells.facets[cell, one], cells.facets[cell, other])
    for facet in shared.T:
        here = (cells.facets[cell] == facet[:, None, None]).any(2) & cells.used[cell]
        middle = (cells.points[cell] * here[..., None]).sum(1) / here.sum(1, keepdim=True) - origin
        total.index_add_(0, cell, torch.linalg.det(torch.stack([*ends, middle], 1)).abs() / 6)
    return total
