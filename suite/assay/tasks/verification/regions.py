"""The part of Theta that is connected to the unperturbed image through cells that satisfy a property."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from assay.tasks.verification.cells import Cells
from assay.tasks.verification.table import CellTable

_TOUCH = 1e-10  # facets with centres this close, relative to Theta's sides, are one


@dataclass(frozen=True)
class Component:
    """Cells that satisfy a property and are connected to the origin through such cells.

    Attributes:
        member: `(N,)` bool over the cells of the table.
        share: volume of the component over Theta's.
        farthest: `(d,)` the safe point farthest from the origin, distances relative to Theta's sides; None
            where the origin itself is not in such a cell.
        boundary: `(F, 2, d)` border edges towards cells that do not satisfy the property (d = 2), or
            `(F, 1, d)` centres of such facets: the outermost boundary of Munakata et al. with its holes.
    """

    member: Tensor
    share: float
    farthest: Tensor | None
    boundary: Tensor


@dataclass(frozen=True)
class _Facets:
    """All facets of some cells: owning cell, centre `(F, d)` and, for polygons, both ends `(F, 2, d)`."""

    cell: Tensor
    centre: Tensor
    ends: Tensor


def origin_component(table: CellTable, satisfied: Tensor, lower: Tensor, upper: Tensor) -> Component:
    """Find the component of satisfying cells that holds the origin of Theta.

    Two cells are connected where they share a facet, not only a corner.

    Args:
        table: all cells.
        satisfied: `(N,)` bool.
        lower: `(d,)` Theta's lower ends.
        upper: `(d,)` Theta's upper ends.
    """
    scale = upper - lower
    safe = satisfied.nonzero().flatten()
    member = torch.zeros(len(table), dtype=torch.bool)
    facets = _facets(table.cells[safe], scale)
    nothing = Component(member, 0.0, None, facets.ends[:0])
    if not len(safe):
        return nothing
    # Two cells touch where a facet of each has the same centre; touching cells make the edges of a graph.
    pairs = torch.from_numpy(cKDTree(facets.centre / scale).query_pairs(_TOUCH, output_type="ndarray"))
    one, other = facets.cell[pairs[:, 0]].numpy(), facets.cell[pairs[:, 1]].numpy()
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(len(safe), len(safe)))
    component = torch.from_numpy(connected_components(graph, directed=False)[1])
    home = _holding_origin(table.cells[safe])
    inside = torch.isin(component, component[home])
    if not bool(inside.any()):
        return nothing
    member[safe[inside]] = True
    points = table.cells.points[member].flatten(0, 1)
    farthest = points[((points / scale).square().sum(1)).argmax()]
    shared = torch.zeros(len(facets.cell), dtype=torch.bool)
    # The border: facets that no other safe cell shares and that do not lie on the range's own edge.
    shared[pairs[facets.cell[pairs[:, 0]] != facets.cell[pairs[:, 1]]].flatten()] = True
    on_edge = ((facets.ends - lower).abs() <= _TOUCH * scale) | (
        (facets.ends - upper).abs() <= _TOUCH * scale
    )
    border = inside[facets.cell] & ~shared & ~on_edge.all(1).any(1)
    share = float(table.volumes[member].sum() / scale.prod())
    return Component(member, share, farthest, facets.ends[border])


def _holding_origin(cells: Cells) -> Tensor:
    """`(N,)` bool: cells that hold the origin (border included).

    Walking around a polygon that holds it, all turns about the origin have one sense; of a polytope, the
    origin is on the inner side of every facet.
    """
    points = cells.points
    near = ((points.amin(1) <= 0) & (points.amax(1) >= 0)).all(1)
    if cells.dimension == 1:
        return near
    if cells.dimension == 2:
        after = points.roll(-1, 1)
        turn = points[..., 0] * after[..., 1] - points[..., 1] * after[..., 0]
        return near & ((turn >= -1e-15).all(1) | (turn <= 1e-15).all(1))
    return _polytopes_holding_origin(cells, near)


def _polytopes_holding_origin(cells: Cells, near: Tensor) -> Tensor:
    holding = near.clone()
    for i in near.nonzero().flatten().tolist():
        points = cells.points[i, : int(cells.count[i])]
        for facet in torch.unique(cells.facets[i, : len(points)]):
            on = points[(cells.facets[i, : len(points)] == facet).any(1)]
            middle = on.mean(0)
            normal = torch.linalg.svd(on - middle).Vh[2]
            inward = ((points - middle) @ normal).sum()
            holding[i] &= bool(torch.sign(inward) * ((-middle) @ normal) >= -1e-12)
    return holding


def _facets(cells: Cells, scale: Tensor) -> _Facets:
    if cells.dimension == 1:
        return _interval_ends(cells)
    if cells.dimension == 2:
        after = cells.points.roll(-1, 1)
        long = (((after - cells.points) / scale).abs() > _TOUCH).any(2)
        cell, slot = long.nonzero(as_tuple=True)
        ends = torch.stack([cells.points[cell, slot], after[cell, slot]], 1)
        return _Facets(cell, ends.mean(1), ends)
    return _polytope_facets(cells)


def _interval_ends(cells: Cells) -> _Facets:
    cell = torch.arange(len(cells)).repeat(2)
    ends = torch.cat([cells.points.amin(1), cells.points.amax(1)])
    return _Facets(cell, ends, ends[:, None])


def _polytope_facets(cells: Cells) -> _Facets:
    """Facets, each with its bounding box's centre: the same from both sides, with any padding."""
    cell, slot = cells.used.nonzero(as_tuple=True)
    owner = cell.repeat_interleave(3)
    name = cells.facets[cell, slot].flatten()
    corners = cells.points[cell, slot].repeat_interleave(3, 0)
    _, facet = torch.unique(torch.stack([owner, name], 1), dim=0, return_inverse=True)
    count = int(facet.max()) + 1 if len(facet) else 0
    spread = facet[:, None].expand(-1, 3)
    low = torch.full((count, 3), torch.inf, dtype=torch.float64).scatter_reduce(0, spread, corners, "amin")
    high = torch.full((count, 3), -torch.inf, dtype=torch.float64).scatter_reduce(0, spread, corners, "amax")
    owners = torch.zeros(count, dtype=torch.int64).scatter_(0, facet, owner)
    centre = (low + high) / 2
    return _Facets(owners, centre, centre[:, None])
