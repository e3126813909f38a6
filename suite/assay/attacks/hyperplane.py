"""The shortest way within the box [0, 1] onto a hyperplane (Croce and Hein 2020, FAB, equation 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.attacks.settings import Norm
from assay.common.balls import per_image


def move_onto(points: Tensor, slopes: Tensor, rise: Tensor, norm: Norm) -> Tensor:
    """The shortest moves d with slopes . d = rise, such that points + d stays in [0, 1]; exact.

    Each pixel goes in the direction that helps, by min(t * pace, room): at pace 1 for L-infinity, at the size of its
    slope for L2. What is left is one number t per image, the root of a concave piecewise linear function. Newton's
    steps from below never pass it, and end when no further pixel has used up its room. In L1 the pixels of the steepest
    slopes go first, each as far as it can.

    Args:
        points: (n, C, H, W) in [0, 1].
        slopes: (n, C, H, W), the hyperplanes' normals.
        rise: (n,), by how much slopes . x has to change; of either sign.
        norm: What is shortest.

    Returns:
        (n, C, H, W). Where the box does not reach the hyperplane every pixel goes as far as it helps; where all
        slopes are 0 nothing moves.
    """
    if norm == "l1":
        return _steepest_first(points, slopes, rise)
    tiny, largest = torch.finfo(points.dtype).tiny, torch.finfo(points.dtype).max
    scale = slopes.flatten(1).abs().amax(dim=1).clamp_min(tiny)
    # Scaled, since squares of a saturated gradient underflow.
    size = (slopes.abs() / per_image(scale, slopes)).flatten(1)
    heading = (slopes.sign() * per_image(rise.sign(), slopes)).flatten(1)
    room = torch.where(heading > 0, 1 - points.flatten(1), points.flatten(1))
    pace = torch.ones_like(size) if norm == "linf" else size
    missing = rise.abs() / scale
    gain, most = size * pace, size * room
    free = torch.ones_like(size, dtype=torch.bool)
    time = torch.zeros_like(missing)
    while True:
        left = (missing - torch.where(free, 0.0, most).sum(dim=1)).clamp_min_(0)
        speed = torch.where(free, gain, 0.0).sum(dim=1)
        longest = torch.where(speed > 0, left / speed.clamp_min(tiny), largest).clamp_max_(largest)
        time = torch.maximum(time, longest)
        still = free & (time[:, None] * pace < room)
        if torch.equal(still, free):
            break
        free = still
    return (heading * torch.minimum(time[:, None] * pace, room)).view_as(points)


def _steepest_first(points: Tensor, slopes: Tensor, rise: Tensor) -> Tensor:
    """:func:`move_onto` in L1, where no pixel moves before all steeper ones have used up their room."""
    flat = slopes.flatten(1).double()
    scale = flat.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(slopes.dtype).tiny)
    heading = flat.sign() * rise.double().sign()[:, None]
    centre = points.flatten(1).double()
    steepness, order = (flat.abs() / scale).sort(dim=1, descending=True, stable=True)
    room = torch.where(heading > 0, 1 - centre, centre).gather(1, order)
    reached = (steepness * room).cumsum(dim=1)
    missing = rise.abs().double()[:, None] / scale - (reached - steepness * room)
    way = (missing / steepness.clamp_min(torch.finfo(torch.float64).tiny)).clamp_min(0).minimum(room)
    moves = torch.zeros_like(flat).scatter_(1, order, way * (steepness > 0)) * heading
    return moves.to(points.dtype).view_as(points)
