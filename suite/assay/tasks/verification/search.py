"""Look for the worst attention and the worst margin of any differentiable network over a range Theta.

A deterministic grid over Theta first, then a climb: its boxes are halved along each parameter, those with the best
corners first, a large box before a small one. A box whose corners all agree lies on a plateau and is left alone. For ai
of a piecewise linear network has steps and no slope: better values lie across the plateau's border. What is found
bounds the supremum of ai from below and the least margin from above; nothing is proved of what is not found. The
network's own passes in float64 confirm both points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.boxes import BETTER, Boxes, Look
from assay.tasks.verification.moves import Motions
from assay.tasks.verification.readings import UnchangedImages
from assay.tasks.verification.relative import RELATIVE_DELTA
from assay.tasks.verification.spec import SearchSettings

_INSET = (1e-4, 1.3e-4)  # of the range: off the round values where pixels and whole shifts tie
_AGREE = 0.01  # relative; a larger difference between the search's pass and the confirming one is no rounding


@dataclass(frozen=True)
class Point:
    """A point of Theta, and the figure there by the network's own pass in float64.

    Attributes:
        theta: `(d,)` float64.
        value: ai or margin.
    """

    theta: Tensor
    value: float


@dataclass(frozen=True)
class SearchFinding:
    """What the search found of one image.

    Attributes:
        label: the predicted label.
        norm: sum over labels of the norms of the image's own maps.
        ai: the largest attention inconsistency found: a lower bound of its supremum.
        margin: the smallest margin found: an upper bound of the least.
        within: share of the grid where ai is at most :data:`RELATIVE_DELTA` of the norm; 0 where the norm is 0.
        satisfied: the same for AR at each delta asked, then CR.
        points: how many points were looked at.
        confirmed: the fresh passes show what the search saw, up to rounding.
    """

    label: int
    norm: float
    ai: Point
    margin: Point
    within: float
    satisfied: tuple[float, ...]
    points: int
    confirmed: bool


def search(
    fast: UnchangedImages,
    exact: UnchangedImages,
    motions: Motions,
    deltas: Sequence[float],
    settings: SearchSettings,
) -> list[SearchFinding]:
    """Look at each image for the worst of both.

    Args:
        fast: the images in the network's own precision.
        exact: the same in float64, which confirms.
        motions: the range.
        deltas: thresholds of AR.
        settings: how hard to look.
    """
    unit = grid(motions.dimension, settings.grid)
    images = len(fast.images)
    rows, points = torch.arange(images).repeat_interleave(len(unit)), unit.repeat(images, 1)
    seen = fast.attention(motions, rows, _theta(motions, points)).reshape(images, len(unit), 2)
    attention, margin = seen[..., 0], seen[..., 1]

    def look_at_attention(rows: Tensor, points: Tensor) -> Tensor:
        return fast.attention(motions, rows, _theta(motions, points))[:, 0]

    def look_at_margin(rows: Tensor, points: Tensor) -> Tensor:
        return -fast.margins(motions, rows, _theta(motions, points))

    worst, height = climb(look_at_attention, unit, attention, settings)
    least, depth = climb(look_at_margin, unit, -margin, settings)
    worst, least = _theta(motions, worst), _theta(motions, least)
    every = torch.arange(images)
    again = exact.attention(motions, every, worst)[:, 0]
    margins = exact.margins(motions, every, least)
    norms = exact.norms.tolist()
    largest = margin.abs().amax(1)
    confirmed = ((again - height).abs() <= _AGREE * height) & ((margins + depth).abs() <= _AGREE * largest)
    boxes = min(settings.boxes, (settings.grid - 1) ** motions.dimension)
    # A box halved along each of d axes has 3^d corners, of which 2^d are known. Both climbs look at these.
    looked = len(unit) + 2 * settings.rounds * boxes * (3**motions.dimension - 2**motions.dimension)
    return [
        SearchFinding(
            label=int(exact.label[i]),
            norm=norms[i],
            ai=Point(worst[i], float(again[i])),
            margin=Point(least[i], float(margins[i])),
            within=_share(attention[i] <= RELATIVE_DELTA * norms[i]) if norms[i] else 0.0,
            satisfied=(*(_share(attention[i] <= delta) for delta in deltas), _share(margin[i] > 0)),
            points=looked,
            confirmed=bool(confirmed[i]),
        )
        for i in range(images)
    ]


def grid(dimension: int, density: int) -> Tensor:
    """Points of the unit cube, its corners among them: `(density ** dimension, dimension)` float64."""
    steps = torch.linspace(0, 1, density, dtype=torch.float64)
    return torch.cartesian_prod(*[steps] * dimension).reshape(-1, dimension)


def climb(look: Look, unit: Tensor, values: Tensor, settings: SearchSettings) -> tuple[Tensor, Tensor]:
    """The best point of the grid and of its boxes as they are halved, for each image.

    Args:
        look: what is climbed.
        unit: `(P, d)` the grid.
        values: `(N, P)` what is climbed, at the grid.
        settings: how many boxes are halved in a round, and how many rounds.

    Returns:
        `(N, d)` points of the unit cube, and `(N,)` what was seen there.
    """
    every = torch.arange(len(values))
    first = _first_best(values)
    best, height = unit[first], values[every, first]
    boxes = Boxes.of(unit, values, settings.grid)
    for _ in range(settings.rounds if settings.boxes else 0):
        chosen, boxes = boxes.take(settings.boxes)
        halved = chosen.halved(look)
        boxes = boxes.joined(halved)
        points, seen = halved.corner_points().flatten(1, 2), halved.values.flatten(1)
        top = _first_best(seen)
        better = seen[every, top] > height + BETTER * height.abs()
        best = torch.where(better[:, None], points[every, top], best)
        height = torch.where(better, seen[every, top], height)
    return best, height


def _first_best(values: Tensor) -> Tensor:
    """`(N, K)` to the index `(N,)` of the first value that is the largest up to rounding."""
    largest = values.amax(1, keepdim=True)
    near = values >= largest - BETTER * largest.abs()
    return near.to(torch.uint8).argmax(1)


def _theta(motions: Motions, unit: Tensor) -> Tensor:
    low, high = _INSET
    inside: Tensor = torch.lerp(motions.lower, motions.upper, low + unit * (1 - low - high))
    return inside


def _share(holds: Tensor) -> float:
    return float(holds.double().mean())
