"""A batched scan-line rasteriser in plain PyTorch, for CPU and CUDA: which face does each sample see?

Faces are cut into rows, rows into fragments (one sample of one face), and the nearest fragment of each sample is kept.
A fragment has one int64 key, inverse depth above and face index below, so the nearest is the maximum. Every stage works
on pieces of a bounded number of items, so memory does not depend on the size of mesh or batch; time is linear in views
and faces. The result does not depend on how views are batched, bit by bit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.srvr.camera import HALF_ANGLE_DEG, Camera

_FACE_MASK = 2**32 - 1
_Corner = tuple[Tensor, Tensor, Tensor]


def visible_faces(corners: Tensor, camera: Camera, raster: int, max_items: int) -> Tensor:
    """The nearest face at each sample of the raster; both sides of a face are seen.

    Args:
        corners: (3, 3, F) float32: coordinate, corner, face; all in front of the cameras.
        camera: N cameras.
        raster: R, samples along a side.
        max_items: bound on how many faces (of a view), rows or fragments are held at a time; at least
            ``raster``.

    Returns:
        (N, R, R) int64 face indices, -1 where there is none. If faces have equal depth, the last one is seen.
    """
    count, face_count = len(camera), corners.shape[2]
    keys = torch.full((count * raster * raster,), -1, dtype=torch.int64, device=corners.device)
    for start in range(0, face_count, max_items):
        part = corners[:, :, start : start + max_items]
        views = max(max_items // part.shape[2], 1)
        for first_view in range(0, count, views):
            some = camera[first_view : first_view + views]
            triangles = _set_up(project(part, some, raster), raster, (first_view, start))
            _draw(triangles, raster, max_items, keys)
    faces = torch.where(keys < 0, keys, keys & _FACE_MASK)
    return faces.view(count, raster, raster)


def project(corners: Tensor, camera: Camera, raster: int) -> Tensor:
    """Perspective projection onto the raster; sample centres lie at integers.

    Args:
        corners: (3, 3, F): coordinate, corner, face; float32 or float64, which is also the result's type.
        camera: N cameras.
        raster: R, samples along a side.

    Returns:
        (3, 3, N, F): column, row and inverse depth; corner; view; face.
    """
    axes = camera.axes.to(corners)
    shift = (camera.axes * camera.eye[:, None, :]).sum(2).to(corners)
    x, y, z = (_weigh(axes[:, k], corners) - shift[:, k, None] for k in range(3))
    inverse = 1 / z
    scale = raster / (2 * math.tan(math.radians(HALF_ANGLE_DEG)))
    middle = (raster - 1) / 2
    return torch.stack((x * inverse * scale + middle, y * inverse * -scale + middle, inverse))


def _weigh(axis: Tensor, corners: Tensor) -> Tensor:
    """(N, 3) axes times (3, 3, F) corners: (3, N, F). Spelt out: no batch size changes a bit."""
    a, b, c = (axis[:, k, None] for k in range(3))
    x, y, z = corners.unsqueeze(2)
    total: Tensor = a * x + b * y + c * z
    return total


@dataclass(frozen=True)
class _Triangles:
    """P faces of views that can cover a sample, their corners sorted by row.

    Attributes:
        edges: (12, P) row, column, inverse depth of the first corner and of the second; then d column and d
            inverse depth by d row along the edges first-third, first-second and second-third.
        first_row: (P,) first sample row inside.
        row_count: (P,) int64.
        face: (P,) int64.
        view: (P,) int64.
    """

    edges: Tensor
    first_row: Tensor
    row_count: Tensor
    face: Tensor
    view: Tensor


@dataclass(frozen=True)
class _Rows:
    """Q rows of faces: index and inverse depth of the first sample, the latter's slope, how many samples."""

    first_sample: Tensor
    sample_count: Tensor
    inverse_depth: Tensor
    slope: Tensor
    face: Tensor


def _set_up(points: Tensor, raster: int, offsets: tuple[int, int]) -> _Triangles:
    """Drop the faces that cover no sample; sort the corners of the others and tabulate their edges.

    ``points`` is :func:`project`'s result; ``offsets`` are the indices of its first view and face.
    """
    face_count = points.shape[3]
    low, high = (
        torch.minimum(torch.minimum(points[:2, 0], points[:2, 1]), points[:2, 2]).ceil().clamp(min=0),
        torch.maximum(torch.maximum(points[:2, 0], points[:2, 1]), points[:2, 2])
        .floor()
        .clamp(max=raster - 1),
    )
    drawn = ((high[0] >= low[0]) & (high[1] >= low[1])).view(-1).nonzero()[:, 0]
    columns, rows, depths = points.view(3, 3, -1).index_select(2, drawn)
    a, b, c = _sort_by_row(list(zip(rows, columns, depths, strict=True)))
    first_row, last_row = (end[1].view(-1).index_select(0, drawn) for end in (low, high))
    return _Triangles(
        edges=torch.stack((*a, *b, *_slopes(a, c), *_slopes(a, b), *_slopes(b, c))),
        first_row=first_row,
        row_count=(last_row - first_row).long() + 1,
        face=drawn % face_count + offsets[1],
        view=drawn // face_count + offsets[0],
    )


def _sort_by_row(corners: list[_Corner]) -> list[_Corner]:
    """Order the three corners of each face from the top row to the bottom one."""
    for upper, lower in ((0, 1), (1, 2), (0, 1)):
        swap = corners[upper][0] > corners[lower][0]
        pairs = list(zip(corners[upper], corners[lower], strict=True))
        corners[upper] = _choose(swap, [b for _, b in pairs], [a for a, _ in pairs])
        corners[lower] = _choose(swap, [a for a, _ in pairs], [b for _, b in pairs])
    return corners


def _choose(condition: Tensor, yes: list[Tensor], no: list[Tensor]) -> _Corner:
    row, column, depth = (torch.where(condition, a, b) for a, b in zip(yes, no, strict=True))
    return row, column, depth


def _slopes(upper: _Corner, lower: _Corner) -> tuple[Tensor, Tensor]:
    """How column and inverse depth change by row along an edge; 0 for an edge within one row."""
    height = lower[0] - upper[0]
    scale = torch.where(height > 0, 1 / height, torch.zeros_like(height))
    return (lower[1] - upper[1]) * scale, (lower[2] - upper[2]) * scale


def _draw(triangles: _Triangles, raster: int, max_items: int, keys: Tensor) -> None:
    """Enter the triangles' fragments into ``keys``, (N * R * R,), in place."""
    for owner, offset in expand(triangles.row_count, max_items):
        rows = _cut(triangles, owner, offset, raster)
        for row, step in expand(rows.sample_count, max_items):
            depth = rows.inverse_depth.index_select(0, row) + rows.slope.index_select(0, row) * step
            # The bits of positive floats are in the order of the floats: one maximum compares depths, then faces.
            key = (depth.view(torch.int32).long() << 32) | rows.face.index_select(0, row)
            keys.scatter_reduce_(0, rows.first_sample.index_select(0, row) + step, key, "amax")


def _cut(triangles: _Triangles, owner: Tensor, offset: Tensor, raster: int) -> _Rows:
    """Where rows, ``offset`` rows below the first row of triangle ``owner``, enter and leave it."""
    row = triangles.first_row.index_select(0, owner) + offset
    edges = triangles.edges.index_select(1, owner)
    top_row, top_column, top_depth, mid_row, mid_column, mid_depth, *slopes = edges
    below_top, below_mid = row - top_row, row - mid_row
    # The long edge, from the first corner to the third, passes all rows; the two short ones share them at the middle
    # corner. So a row ends at the long edge and at one of the short ones, and the columns say which is on the left.
    above = below_mid < 0
    column_long = top_column + slopes[0] * below_top
    depth_long = top_depth + slopes[1] * below_top
    column_short = torch.where(above, top_column + slopes[2] * below_top, mid_column + slopes[4] * below_mid)
    depth_short = torch.where(above, top_depth + slopes[3] * below_top, mid_depth + slopes[5] * below_mid)
    left, right = torch.minimum(column_long, column_short), torch.maximum(column_long, column_short)
    depth_left = torch.where(column_long <= column_short, depth_long, depth_short)
    depth_right = depth_long + depth_short - depth_left
    # A row narrower than this holds one sample at the most, so the slope does not matter.
    slope = (depth_right - depth_left) / (right - left).clamp(min=1e-6)
    # Samples lie at integers: those from ceil(left) to floor(right) are inside, as far as they are in the picture.
    first = left.ceil().clamp(min=0)
    count = (right.floor().clamp(max=raster - 1) - first + 1).clamp(min=0)
    line = triangles.view.index_select(0, owner) * raster + row.long()
    return _Rows(
        first_sample=line * raster + first.long(),
        sample_count=count.long(),
        inverse_depth=depth_left + slope * (first - left),
        slope=slope,
        face=triangles.face.index_select(0, owner),
    )


def expand(counts: Tensor, max_items: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Enumerate ``counts[i]`` items of each owner i, in pieces.

    Yields:
        The items' owners and their numbers within the owner, (n,) int64 with 0 < n <= ``max_items``.
    """
    ends = counts.cumsum(0)
    starts = ends - counts
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, max_items):
        stop = min(start + max_items, total)
        edges = torch.tensor([start, stop - 1], device=counts.device)
        first, last = torch.searchsorted(ends, edges, right=True).tolist()
        own = slice(first, last + 1)
        inside = ends[own].clamp(max=stop) - starts[own].clamp(min=start)
        owner = torch.repeat_interleave(inside, output_size=stop - start) + first
        yield owner, torch.arange(start, stop, device=counts.device) - starts.index_select(0, owner)
