"""Saliency maps, attention inconsistency and margins on activation cells.

Within a cell the map of each label is constant and the expected map affine in theta. So the attention inconsistency
(Munakata et al., eq. 2) is convex there: a sum over labels of norms of affine functions. Its maximum is at a corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from assay.tasks.verification.cells import Cells
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.linear import Dense
from assay.tasks.verification.paths import Paths
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
    """The labels whose maps count: `(..., L)` int64, the predicted label first but where all count.

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
    """Coordinates for heat maps that keep the pixels' norms, with fewer numbers where possible.

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


def own_coordinates(paths: Paths, slopes: Tensor) -> tuple[Paths, Tensor]:
    """The rows of paths and the slopes `(m, labels, r)` in fewer coordinates, with the same norms."""
    vectors = torch.cat([paths.rows, slopes.flatten(0, 1)])
    if len(vectors) < vectors.shape[1]:
        vectors = torch.linalg.qr(vectors.T, mode="r").R.T
    count = len(paths.rows)
    return replace(paths, rows=vectors[:count]), vectors[count:].reshape(*slopes.shape[:2], vectors.shape[1])


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

    def __getitem__(self, index: Tensor) -> Inconsistency:
        return Inconsistency(
            self.centres[index], self.squares[index], self.gradients[index], self.curvature, self.moving
        )

    @staticmethod
    def join(parts: Sequence[Inconsistency]) -> Inconsistency:
        """The quadratics of all cells in order; how the expected maps move is the same in all parts."""
        centres, squares, gradients = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("centres", "squares", "gradients")
        )
        return Inconsistency(centres, squares, gradients, parts[0].curvature, parts[0].moving)

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


def inconsistency(
    differences: Tensor, centres: Tensor, slopes: Tensor, moving: tuple[int, ...]
) -> Inconsistency:
    """Inconsistency on each cell.

    Args:
        differences: `(r, labels, N)` maps without the constant part of the expected ones.
        centres: `(N, d)` a point inside each cell.
        slopes: `(m, labels, r)` the change of the expected maps with each moving parameter.
        moving: the m moving parameters.
    """
    if moving:
        differences = differences - torch.einsum("nm,mlr->rln", centres[:, list(moving)], slopes)
    return Inconsistency(
        centres,
        torch.linalg.vector_norm(differences, dim=0).square().T,
        -2 * torch.einsum("rln,mlr->nlm", differences, slopes),
        torch.einsum("mlr,olr->lmo", slopes, slopes),
        moving,
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
    # ai is convex, so its tangent lies below it: the least value of the tangent on a cell is taken at a corner.
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
