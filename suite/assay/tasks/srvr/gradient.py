"""How an image changes with the semantic parameters, analytically.

Shading is flat, so an image changes with the camera only where an edge separates two intensities. Between neighbouring
samples that see different faces, the nearer face's edge sweeps over the image with a speed that its two ends determine.
The derivative is the difference of the intensities times that speed (Reynolds' transport theorem). Every edge is met
along rows and along columns; the two are weighted by the squares of its normal's components, which sum to 1. With the
light, the shading itself changes. Lines where two faces cut through each other are not followed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from assay.tasks.srvr.camera import Camera, camera, place
from assay.tasks.srvr.rasteriser import project, visible_faces
from assay.tasks.srvr.render import (
    DEFAULT_SETTINGS,
    RenderSettings,
    Surface,
    render,
    shade,
    shade_slope,
)

EDGE_SUPERSAMPLING = 8
"""Samples along each side of a pixel when edges are looked for: more than an image needs."""
_CANDIDATES = 6
"""Edges of the two faces of a pair."""
_SLACK = 0.01
"""By how many samples a crossing may miss its pair, since edges and samples are rounded differently."""


def image_slopes(
    surface: Surface, names: Sequence[str], values: Tensor, settings: RenderSettings = DEFAULT_SETTINGS
) -> Tensor:
    """Derivatives of the images of N points of the semantic space, per unit of each parameter.

    Args:
        surface: the shape.
        names: n semantic parameters.
        values: (N, n) points.
        settings: of the images; edges are found at ``EDGE_SUPERSAMPLING`` or the settings' own, if finer.

    Returns:
        (N, n, S, S) float32; the same for all three channels.
    """
    fine = replace(settings, supersampling=max(settings.supersampling, EDGE_SUPERSAMPLING))
    slopes = [_view_slopes(surface, _View(tuple(names), point[None]), fine) for point in values.detach()]
    return torch.stack(slopes) if slopes else torch.zeros((0, len(names), fine.image_size, fine.image_size))


def render_points(
    surface: Surface, names: Sequence[str], values: Tensor, settings: RenderSettings = DEFAULT_SETTINGS
) -> Tensor:
    """Images (N, 3, S, S) of N points (N, n) of the semantic space, differentiable in ``values``."""
    images: Tensor = _Render.apply(values, surface, tuple(names), settings)
    return images


class _Render(torch.autograd.Function):
    """Draws forwards; multiplies by :func:`image_slopes` backwards."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, surface: Surface, names: tuple[str, ...], settings: RenderSettings
    ) -> Tensor:
        ctx.save_for_backward(values)
        ctx.drawn = surface, names, settings
        return render(surface, camera(place(names, values.detach())), settings).contiguous()

    @staticmethod
    def backward(ctx: Any, *grad_images: Tensor) -> tuple[Tensor, None, None, None]:
        (values,), (surface, names, settings) = ctx.saved_tensors, ctx.drawn
        slopes = image_slopes(surface, names, values, settings)
        grad = torch.einsum("nchw,nphw->np", grad_images[0], slopes)
        return grad.to(values), None, None, None


@dataclass(frozen=True)
class _View:
    """One point of the semantic space, (1, n)."""

    names: tuple[str, ...]
    point: Tensor

    def camera_at(self, point: Tensor) -> Camera:
        return camera(place(self.names, point))

    def derivatives(self, function: Callable[[Camera], Tensor]) -> Tensor:
        """Derivatives of a function of the camera by each parameter: (n, ...)."""
        directions = torch.eye(len(self.names), dtype=torch.float64)
        point = self.point.to("cpu", torch.float64)
        return torch.stack(
            [
                torch.func.jvp(lambda p: function(self.camera_at(p)), (point,), (d[None],))[1]
                for d in directions
            ]
        )


@dataclass(frozen=True)
class _Crossings:
    """Where edges pass between neighbouring samples: K of them.

    Attributes:
        index: (K,) which pair of neighbours.
        ends: (3, 2, K) coordinate, end, crossing: the edge's ends in space.
        share: (K,) how far along the edge, 0 to 1, in the image.
        place: (K,) how far from the pair's first sample to its second one, 0 to 1.
        lean: (K,) by how many samples the edge moves along the line from one line to the next.
    """

    index: Tensor
    ends: Tensor
    share: Tensor
    place: Tensor
    lean: Tensor


def _view_slopes(surface: Surface, view: _View, settings: RenderSettings) -> Tensor:
    """The derivatives of one image: (n, S, S)."""
    here = view.camera_at(view.point)
    faces = visible_faces(surface.corners, here, settings.raster_size, settings.max_items)
    light = shade(surface, here, faces)[0]
    slopes = shade_slope(surface, here, faces[0], view.derivatives(lambda cam: cam.light)[:, 0])
    for along in (0, 1):
        _add_edges(slopes, (surface, view, here), (faces[0], light), along, settings)
    return nn.functional.avg_pool2d(slopes, settings.supersampling)


def _add_edges(
    slopes: Tensor,
    scene: tuple[Surface, _View, Camera],
    samples: tuple[Tensor, Tensor],
    along: int,
    settings: RenderSettings,
) -> None:
    """Add what edges between neighbours in a row (``along`` 0) or column (1) contribute, to (n, R, R)."""
    (surface, view, here), raster = scene, settings.raster_size
    chunk = max(settings.max_items // _CANDIDATES, 1)
    faces, light = (s if along == 0 else s.T for s in samples)
    target = slopes if along == 0 else slopes.transpose(1, 2)
    lines, firsts = (faces[:, :-1] != faces[:, 1:]).nonzero(as_tuple=True)
    for line, first in zip(torch.split(lines, chunk), torch.split(firsts, chunk), strict=True):
        neighbours = torch.stack((faces[line, first], faces[line, first + 1]))
        found = _find_crossings(surface, here, neighbours, (line, first, along), raster)
        line, first = line[found.index], first[found.index]
        speed = _speed(view, found, along, raster)
        # An edge is met along rows and along columns. Here it counts by the square of its normal's component along
        # the line, 1 / (1 + lean^2); the other direction gives the rest.
        step = (light[line, first] - light[line, first + 1]) / (1 + found.lean**2)
        # Within the height of this line a slanted edge passes `reach` samples; the part beyond the middle of the pair
        # is the second sample's.
        reach = found.lean.abs().clamp(min=1e-6)
        second = ((found.place - 0.5) / reach + 0.5).clamp(0, 1)
        for column, part in ((first, 1 - second), (first + 1, second)):
            target.index_put_(
                (torch.arange(len(speed), device=line.device)[:, None], line[None], column[None]),
                (speed * step * part).to(target),
                accumulate=True,
            )


def _find_crossings(
    surface: Surface,
    here: Camera,
    neighbours: Tensor,
    pairs: tuple[Tensor, Tensor, int],
    raster: int,
) -> _Crossings:
    """The nearest edge of the two faces of each pair that passes between the samples.

    Args:
        surface: the shape.
        here: its one camera.
        neighbours: (2, K) faces of the first and second sample, -1 for none.
        pairs: the pairs' lines (K,), first samples (K,), and 0 for rows, 1 for columns.
        raster: samples along a side.
    """
    line, first, along = pairs
    count = len(line)
    corners = surface.corners[:, :, neighbours.clamp(min=0).reshape(-1)]
    points = project(corners, here, raster)[:, :, 0].view(3, 3, 2, count)
    begin, end = points, points.roll(-1, dims=1)
    # Where the edge meets the line of the samples. An edge along that line has no height, and a share that is infinite
    # or NaN, which does not pass.
    height = end[1 - along] - begin[1 - along]
    share = (line - begin[1 - along]) / height
    width = end[along] - begin[along]
    position = begin[along] + share * width - first
    depth = begin[2] + share * (end[2] - begin[2])  # inverse depth, which is linear in the image
    passes = (share >= 0) & (share <= 1) & (position >= -_SLACK) & (position <= 1 + _SLACK)
    depth = torch.where(passes & (neighbours >= 0), depth, torch.full_like(depth, -1.0)).view(
        _CANDIDATES, count
    )
    # The nearest edge hides the others. A pair without one is cut by the line where two faces meet inside each other.
    nearest, edge = depth.max(0)
    index = (nearest > 0).nonzero()[:, 0]
    edge = edge[index]
    corner, side = edge // 2, edge % 2
    by_side = corners.view(3, 3, 2, count)
    ends = torch.stack([by_side[:, (corner + k) % 3, side, index] for k in (0, 1)], dim=1)
    return _Crossings(
        index=index,
        ends=ends,
        share=share.view(_CANDIDATES, count)[edge, index],
        place=position.view(_CANDIDATES, count)[edge, index],
        lean=(width / height).view(_CANDIDATES, count)[edge, index],
    )


def _speed(view: _View, found: _Crossings, along: int, raster: int) -> Tensor:
    """How fast the crossings move along their lines, in samples per unit of each parameter: (n, K)."""
    ends = found.ends.to("cpu", torch.float64)
    moves = view.derivatives(lambda cam: project(ends, cam, raster)[:2, :, 0])
    share = found.share.to(ends)
    moved = moves[:, :, 0] + share * (moves[:, :, 1] - moves[:, :, 0])
    return (moved[:, along] - found.lean.to(ends) * moved[:, 1 - along]).to(found.share.device)
