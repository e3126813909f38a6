"""What no perturbation can do: sound lower bounds of the margin for small ReLU networks.

Linear relaxation, propagated backwards (Wong and Kolter 2018; CROWN: Zhang et al. 2018), in plain PyTorch. Bounds
hold up to the rounding of the arithmetic they are computed in, for which who uses them leaves a margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.attacks.relu_chain import Chain, interval, rows_of, through_affine
from assay.attacks.settings import Norm

_CHUNK = 512


@dataclass(frozen=True)
class Region:
    """The inputs that bounds hold for.

    Attributes:
        low: (n, C, H, W), the smallest value of each pixel.
        high: (n, C, H, W), the largest.
        centre: (n, C, H, W).
        radius: Euclidean radius around the centre, infinite where only the box counts.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    radius: float

    def extent(self, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """(n, S) each: bounds from below and above, in the region, of linear functions, (n, S, C, H, W)."""
        flat = slopes.flatten(2)
        spread = (self.high - self.low).flatten(1)[:, :, None] / 2
        middle = (self.high + self.low).flatten(1)[:, :, None] / 2
        at_middle, away = (flat @ middle).squeeze(2), (flat.abs() @ spread).squeeze(2)
        low, high = at_middle - away, at_middle + away
        if math.isinf(self.radius):
            return low, high
        at_centre = (flat @ self.centre.flatten(1)[:, :, None]).squeeze(2)
        away = self.radius * flat.norm(dim=2)
        return torch.maximum(low, at_centre - away), torch.minimum(high, at_centre + away)


@dataclass(frozen=True)
class _Relaxation:
    """Lines around relu(z) for l <= z <= u: slope_low * z <= relu(z) <= slope_high * z + offset."""

    slope_low: Tensor
    slope_high: Tensor
    offset: Tensor


Relaxations = Sequence[_Relaxation | None]
"""One per layer, None where it is no ReLU."""


def ball_region(images: Tensor, eps: float, norm: Norm) -> Region:
    """The ball around each image, met with [0, 1]."""
    box = ((images - eps).clamp_min(0), (images + eps).clamp_max(1))
    return Region(*box, centre=images, radius=math.inf if norm == "linf" else eps)


def relaxed_margins(chain: Chain, images: Tensor, labels: Tensor, eps: float, norm: Norm = "linf") -> Tensor:
    """(N,): a lower bound of the label's margin over every other class, anywhere in each image's ball.

    Images are bounded one by one, which is fastest on a CPU: what is unsure in any image of a batch is bounded in all.

    Args:
        chain: From pixels in [0, 1] to logits.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        eps: Radius.
        norm: The ball's norm.
    """
    pairs = zip(torch.split(images, 1), torch.split(labels, 1), strict=True)
    return torch.cat([margin_lower_bounds(chain, x, y, eps, norm) for x, y in pairs])


@torch.no_grad()
def margin_lower_bounds(
    chain: Chain, images: Tensor, labels: Tensor, eps: float, norm: Norm = "linf"
) -> Tensor:
    """`relaxed_margins` of all images at once."""
    region = ball_region(images, eps, norm)
    bounds = _pre_activation_bounds(chain, region)
    classes = chain.shapes[-1][0]
    # Row j of an image: z_label - z_j, whose lowest value says whether class j can win.
    slopes = torch.eye(classes, dtype=images.dtype, device=images.device)
    slopes = slopes[labels][:, None, :] - slopes[None, :, :]
    best = torch.full((len(images), classes), -torch.inf, dtype=images.dtype, device=images.device)
    # Below a ReLU of open sign several lines are sound. Neither choice is the better one everywhere, and the larger of
    # two lower bounds is a lower bound too.
    for parallel in (True, False):
        relaxations = [None if b is None else _relax(*b, parallel=parallel) for b in bounds]
        best = torch.maximum(best, _below(slopes, chain, relaxations, region))
    # The label's own row is 0 and says nothing.
    return best.scatter(1, labels[:, None], torch.inf).amin(dim=1)


def _pre_activation_bounds(chain: Chain, region: Region) -> list[tuple[Tensor, Tensor] | None]:
    """For each layer, the bounds of its input where it is a ReLU, else None; each from the ones before it."""
    bounds: list[tuple[Tensor, Tensor] | None] = []
    relaxations: list[_Relaxation | None] = []
    low, high = region.low, region.high
    for layer in chain.layers:
        if isinstance(layer, nn.ReLU):
            _tighten_(low, high, chain, relaxations, region)
            bounds.append((low, high))
            relaxations.append(_relax(low, high, parallel=True))
            low, high = low.clamp_min(0), high.clamp_min(0)
        else:
            bounds.append(None)
            relaxations.append(None)
            low, high = interval(layer, low, high)
    return bounds


def _tighten_(low: Tensor, high: Tensor, chain: Chain, relaxations: Relaxations, region: Region) -> None:
    """Tighten, in place, the bounds of the values after the relaxed layers whose sign is open in some image.

    A value whose sign is known already passes its ReLU exactly, so that tighter bounds of it would change nothing.
    """
    last = len(relaxations) - 1
    if _interval_is_exact(chain.layers[: last + 1], region):
        return
    flat_low, flat_high = low.view(len(low), -1), high.view(len(high), -1)
    unsure = ((flat_low < 0) & (flat_high > 0)).any(dim=0).nonzero().squeeze(1)
    # In parts, for one linear function per value takes as much memory as the whole input.
    for rows in torch.split(unsure, _CHUNK) if len(unsure) else ():
        slopes, constant = rows_of(
            chain.layers[last], rows, chain.shapes[last], chain.shapes[last + 1], low.dtype
        )
        below, above = _both_sides(slopes, constant, chain, relaxations[:last], region)
        flat_low[:, rows] = torch.maximum(flat_low[:, rows], below)
        flat_high[:, rows] = torch.minimum(flat_high[:, rows], above)


def _interval_is_exact(layers: Sequence[nn.Module], region: Region) -> bool:
    """Whether interval arithmetic cannot be bettered: one sum of each pixel's interval, scaled at most."""
    sums = sum(isinstance(layer, nn.Linear | nn.Conv2d) for layer in layers)
    return math.isinf(region.radius) and sums <= 1 and not any(isinstance(layer, nn.ReLU) for layer in layers)


def _both_sides(
    slopes: Tensor, constant: Tensor, chain: Chain, relaxations: Relaxations, region: Region
) -> tuple[Tensor, Tensor]:
    """(n, S) each: bounds from below and above of functions, (1, S, *shape), of the values after relaxed layers.

    The lines around each ReLU are parallel, so that one linear function serves both sides.
    """
    low = high = constant
    for index in reversed(range(len(relaxations))):
        relaxation = relaxations[index]
        if relaxation is None:
            slopes, extra = through_affine(slopes, chain.layers[index], chain.shapes[index])
            low, high = low + extra, high + extra
            continue
        offset = relaxation.offset.flatten(1)[:, :, None]
        flat = slopes.flatten(2)
        low = low + (flat.clamp_max(0) @ offset).squeeze(2)
        high = high + (flat.clamp_min(0) @ offset).squeeze(2)
        # Both lines have this slope. The lower one passes through 0, so only the upper one adds its offset: to the
        # upper bound where the function rises in the value, to the lower one where it falls.
        slopes = slopes * relaxation.slope_high[:, None]
    below, above = region.extent(slopes)
    return below + low, above + high


def _below(slopes: Tensor, chain: Chain, relaxations: Relaxations, region: Region) -> Tensor:
    """(n, S): lower bounds of the linear functions `slopes`, (n, S, K), of the logits."""
    constant = torch.zeros(slopes.shape[:2], dtype=slopes.dtype, device=slopes.device)
    for index in reversed(range(len(chain.layers))):
        relaxation = relaxations[index]
        if relaxation is not None:
            slopes, extra = _through_relu(slopes, relaxation)
        else:
            slopes, extra = through_affine(slopes, chain.layers[index], chain.shapes[index])
        constant = constant + extra
    return region.extent(slopes)[0] + constant


def _through_relu(slopes: Tensor, relaxation: _Relaxation) -> tuple[Tensor, Tensor]:
    """Replace relu(z) by the line that bounds each function from below."""
    # From below, a function that rises in relu(z) takes its lower line, one that falls the upper.
    up, down = slopes.clamp_min(0), slopes.clamp_max(0)
    before = up * relaxation.slope_low[:, None] + down * relaxation.slope_high[:, None]
    return before, (down.flatten(2) @ relaxation.offset.flatten(1)[:, :, None]).squeeze(2)


def _relax(low: Tensor, high: Tensor, *, parallel: bool) -> _Relaxation:
    """Lines around the ReLU; where its sign is open, the lower one is parallel to the upper, or 0 or z."""
    open_sign = (low < 0) & (high > 0)
    active = (low >= 0).to(low.dtype)
    tiny = torch.finfo(low.dtype).tiny
    chord = high / (high - low).clamp_min(tiny)
    slope_high = torch.where(open_sign, chord, active)
    offset = torch.where(open_sign, -chord * low, torch.zeros_like(low))
    # The line 0 wastes less area below the ReLU where z is mostly negative, the line z where it is mostly positive.
    nearer = chord if parallel else (high > -low).to(low.dtype)
    return _Relaxation(torch.where(open_sign, nearer, active), slope_high, offset)
