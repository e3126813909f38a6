"""Saliency maps, attention inconsistency and margins on activation cells.

Within a cell the map of each label is constant and the expected map affine in theta, so the attention
inconsistency (Munakata et al., eq. 2) is convex there: a sum over labels of norms of affine functions. Its
maximum is at a corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assay.tasks.verification.cells import Cells
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.linear import Dense
from assay.tasks.verification.subdivide import Leaves

Labels = Literal["predicted", "all", "top5"]
_TOP = 5


def saliency_maps(module: torch.nn.Module, image: Tensor, labels: Tensor) -> Tensor:
    """map_j(x), the gradient of logit j by the pixels, by automatic differentiation: `(labels, C, H, W)`."""
    pixels = image.clone().requires_grad_()
    logits = module(pixels[None]).flatten()
    rows = [torch.autograd.grad(logits[int(label)], pixels, retain_graph=True)[0] for label in labels]
    return torch.stack(rows)


def counted_labels(logits: Tensor, labels: Labels) -> Tensor:
    """Whose maps count: `(..., L)` int64, the predicted label first but where all count.

    Args:
        logits: `(..., classes)`.
        labels: the predicted one, all, or the five of the largest logits.
    """
    if labels == "all":
        return torch.arange(logits.shape[-1], device=logits.device).expand(*logits.shape[:-1], -1)
    if labels == "predicted":
        return logits.argmax(-1, keepdim=True)
    return logits.topk(min(_TOP, logits.shape[-1]), dim=-1).indices


@dataclass(frozen=True)
class HeatSpace:
    """Coordinates for heat maps in which norms are those of the pixels, with fewer numbers where possible.

    All maps of a network that starts with a matrix lie in its row space; together with the expected maps they
    span a space that is often far smaller than the image.

    Attributes:
        first: `(n, r)` the first block's matrix in these coordinates, or None: coordinates are the pixels.
        constant: `(labels, r)` expected maps at theta = 0.
        slopes: `(d, labels, r)` their change with each parameter; only of the parameters in `moving`.
        moving: parameters that move the expected maps.
    """

    first: Tensor | None
    constant: Tensor
    slopes: Tensor
    moving: tuple[int, ...]


def heat_space(layer: Layer, expected: Tensor) -> HeatSpace:
    """Choose coordinates for the maps of a network with this first layer.

    Args:
        layer: the network's first block.
        expected: `(1 + d, labels, inputs)` the expected maps, affine in theta.
    """
    moving = tuple(k for k in range(len(expected) - 1) if bool((expected[1 + k] != 0).any()))
    constant, slopes = expected[0], expected[[1 + k for k in moving]]
    if len(layer.maps) != 1 or not isinstance(layer.maps[0], Dense):
        return HeatSpace(None, constant, slopes, moving)
    weight = layer.maps[0].weight
    rows = torch.cat([weight, constant, slopes.flatten(0, 1)])
    if len(rows) >= rows.shape[1]:
        return HeatSpace(None, constant, slopes, moving)
    basis = torch.linalg.qr(rows.T).Q
    return HeatSpace(weight @ basis, constant @ basis, slopes @ basis, moving)


def local_maps(
    layers: tuple[Layer, ...], leaves: Leaves, labels: Tensor, space: HeatSpace
) -> tuple[Tensor, HeatSpace]:
    """The maps of cells that lie close together, in coordinates of their own: `(N, labels, q)`, and these.

    Such cells differ in few ReLUs. One backward pass serves them all: it goes through the ReLUs that pass in every
    cell, stops at those that differ, and starts again from their inputs, one more row each. A cell's map is then the
    sum of the rows, each weighted by the open paths that lead to it. All maps lie in the span of the rows, so a QR
    factorisation of these gives coordinates in which norms are those of the pixels.

    Args:
        layers: the network without any clamping put before it.
        leaves: the cells; the patterns of the last `len(layers) - 1` split layers are those of `layers`.
        labels: `(labels,)` int64.
        space: coordinates for the maps of all cells, in which the result's are found.
    """
    rows = torch.eye(len(layers[-1].bias), dtype=torch.float64, device=labels.device)[labels]
    reads: list[tuple[Tensor, Tensor]] = []  # a layer each: how rows read the ReLUs that differ, which pass
    for layer, passed in zip(layers[:0:-1], reversed(leaves.patterns), strict=False):
        rows = layer.transpose(rows)
        always = passed.all(0)
        differing = (passed.any(0) & ~always).nonzero().flatten()
        reads.append((rows[:, differing], passed[:, differing]))
        inputs = rows.new_zeros(len(differing), len(always))
        inputs[torch.arange(len(differing), device=labels.device), differing] = 1
        rows = torch.cat([rows * always, inputs])
    rows = layers[0].transpose(rows) if space.first is None else rows @ space.first
    weights = torch.eye(len(labels), dtype=torch.float64, device=labels.device).expand(
        len(leaves.cells), -1, -1
    )
    for read, passed in reads:
        weights = torch.cat([weights, (weights @ read) * passed[:, None]], 2)
    vectors = torch.cat([rows, space.constant, space.slopes.flatten(0, 1)])
    if len(vectors) < vectors.shape[1]:
        vectors = torch.linalg.qr(vectors.T, mode="r").R.T
    rest = len(vectors) - len(rows) - len(labels)
    own, constant, slopes = torch.split(vectors, [len(rows), len(labels), rest])
    moved = HeatSpace(None, constant, slopes.reshape(-1, *constant.shape), space.moving)
    return weights @ own, moved


@dataclass(frozen=True)
class Inconsistency:
    """The attention inconsistency on each cell: sum over labels of sqrt(quadratic in theta).

    Attributes:
        centres: `(N, d)` where the quadratics are expanded, inside the cells (no cancellation).
        squares: `(N, labels)` squared norms there.
        gradients: `(N, labels, m)` derivatives of the squares by the m moving parameters.
        curvature: `(labels, m, m)` half their second derivatives.
        moving: the m moving parameters.
    """

    centres: Tensor
    squares: Tensor
    gradients: Tensor
    curvature: Tensor
    moving: tuple[int, ...]

    def at(self, points: Tensor) -> Tensor:
        """Inconsistency at points `(N, K, d)` of each cell: `(N, K)`."""
        if not self.moving:
            return self.squares.sqrt().sum(1, keepdim=True).expand(-1, points.shape[1])
        return self._squares_at(self._arms(points)).sqrt().sum(2)

    def slope_at(self, points: Tensor) -> Tensor:
        """A subgradient by the moving parameters at points `(N, K, d)`: `(N, K, m)`."""
        arms = self._arms(points)
        norms = self._squares_at(arms).sqrt()
        change = self.gradients[:, None] + 2 * torch.einsum("nkm,lmo->nklo", arms, self.curvature)
        return torch.where(norms[..., None] > 0, change / (2 * norms[..., None]), 0.0).sum(2)

    def _arms(self, points: Tensor) -> Tensor:
        return (points - self.centres[:, None])[..., list(self.moving)]

    def _squares_at(self, arms: Tensor) -> Tensor:
        linear = torch.einsum("nkm,nlm->nkl", arms, self.gradients)
        bent = torch.einsum("nkm,nko,lmo->nkl", arms, arms, self.curvature)
        return (self.squares[:, None] + linear + bent).clamp(min=0)


def inconsistency(maps: Tensor, centres: Tensor, space: HeatSpace) -> Inconsistency:
    """Inconsistency on each cell from its maps `(N, labels, r)` and a point `(N, d)` inside each cell."""
    difference = maps - space.constant
    if not space.moving:
        squares = torch.linalg.vector_norm(difference, dim=2).square()
        return Inconsistency(
            centres, squares, difference[..., :0], difference.new_zeros(maps.shape[1], 0, 0), ()
        )
    difference = difference - torch.einsum("nm,mlr->nlr", centres[:, list(space.moving)], space.slopes)
    return Inconsistency(
        centres,
        torch.linalg.vector_norm(difference, dim=2).square(),
        -2 * torch.einsum("nlr,mlr->nlm", difference, space.slopes),
        torch.einsum("mlr,olr->lmo", space.slopes, space.slopes),
        space.moving,
    )


def smallest(ai: Inconsistency, cells: Cells) -> tuple[Tensor, Tensor]:
    """Bounds `(N,)` below and above the smallest ai in each cell.

    Frank-Wolfe with an exact line search: the tangent's smallest corner value is a proved lower bound, and
    the best point met the upper one. One moving parameter needs two rounds; more may leave a gap.
    """
    best = ai.at(cells.points).min(1)
    if not ai.moving:
        return best.values, best.values
    point = cells.points[torch.arange(len(cells), device=best.indices.device), best.indices]
    lower, upper = torch.zeros_like(best.values), best.values
    for _ in range(2 if len(ai.moving) == 1 else 12):
        value, slope = ai.at(point[:, None])[:, 0], ai.slope_at(point[:, None])[:, 0]
        toward = torch.einsum("nkm,nm->nk", (cells.points - point[:, None])[..., list(ai.moving)], slope).min(
            1
        )
        upper = torch.minimum(upper, value)
        lower = torch.maximum(lower, value + toward.values)
        corner = cells.points[torch.arange(len(cells), device=slope.device), toward.indices]
        point = _line_search(ai, point, corner)
    # a square near zero is known to eps times the square at the centre, its root to 1.5e-8 of that root
    slack = 4e-8 * ai.squares.sqrt().sum(1)
    return (torch.minimum(lower, upper) - slack).clamp(min=0), upper


def _line_search(ai: Inconsistency, start: Tensor, end: Tensor) -> Tensor:
    """The point of least ai on each segment, by bisection on the derivative."""
    direction = end - start
    low, high = torch.zeros_like(start[:, 0]), torch.ones_like(start[:, 0])
    for _ in range(30):
        middle = (low + high) / 2
        slope = ai.slope_at((start + middle[:, None] * direction)[:, None])[:, 0]
        rising = (slope * direction[:, list(ai.moving)]).sum(1) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return start + ((low + high) / 2)[:, None] * direction


def margins(leaves: Leaves, label: int) -> Tensor:
    """f_label - f_j at the corners of each cell, for every other label j: `(N, K, classes - 1)`."""
    points = leaves.cells.points
    ones = points.new_ones(*points.shape[:2], 1)
    logits = torch.cat([ones, points], 2) @ leaves.logits
    others = [j for j in range(logits.shape[2]) if j != label]
    return logits[..., label : label + 1] - logits[..., others]
