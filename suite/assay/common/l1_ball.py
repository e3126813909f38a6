"""The L1 ball, met with the box [0, 1]: few pixels may change by much (Croce and Hein 2021, "Mind the box")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.common import randomness

_SLACK = 1e-6  # of the radius: float32 may add as much to the sum of all pixels' changes
_SHARE = 0.01  # of the values, those of the steepest slopes, that a plain step changes
_MOST_ROUNDS = 100
_EXACT = 1e-12  # of the radius


@dataclass(frozen=True)
class L1Ball:
    """The L1 ball; see :class:`assay.common.balls.Ball` for what its methods do."""

    def project_(self, adversarial: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """Move to the nearest point, in L2, of the ball and the box together (section 2.2, equation 5).

        Clipping the ball's nearest point does not give it: that leaves a part of the radius unused.
        """
        centre = images.double().flatten(1)
        change = adversarial.double().flatten(1) - centre
        room = torch.where(change > 0, 1 - centre, centre)
        size = change.abs()
        shrunk = size - shrinkage(size, room, eps.double() * (1 - _SLACK))[:, None]
        moved = shrunk.clamp_min_(0).minimum(room).copysign(change).add_(centre)
        return adversarial.copy_(moved.view_as(adversarial)).clamp_(0, 1)

    def direction_(self, gradient: Tensor) -> Tensor:
        """A step of length 1, shared equally by the hundredth of the values with the steepest slopes.

        One value alone would be the steepest step; Tramer and Boneh (2019, "SLIDE") take a hundredth, as one value has
        little room in the box.
        """
        flat = gradient.flatten(1)
        return sparse_step_(gradient, torch.full((len(flat),), max(round(_SHARE * flat.shape[1]), 1)))

    def random_start(self, images: Tensor, eps: Tensor, seeds: Tensor) -> Tensor:
        """Uniform in the ball, then clipped."""
        count = images[0].numel()
        exponential = -torch.log1p(-randomness.uniform(seeds, (count + 1,), torch.float64))
        # Shares of a whole, with one more part left over, are uniform in the ball's positive orthant.
        share = exponential[:, :count] / exponential.sum(dim=1, keepdim=True)
        signs = randomness.uniform(randomness.derive(seeds, 3), (count,), torch.float64) - 0.5
        change = share.copysign(signs) * (eps.double() * (1 - _SLACK))[:, None]
        return images.add(change.view_as(images).to(images.dtype)).clamp_(0, 1)

    def length(self, difference: Tensor) -> Tensor:
        """(N,) norms, summed in float64."""
        return difference.flatten(1).abs().sum(dim=1, dtype=torch.float64).to(difference.dtype)


def shrinkage(size: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """(N,) float64: the smallest s >= 0 for which the sum of min(max(size - s, 0), room) is no more than the radius.

    The sum falls with s and is piecewise linear. Newton's steps end on its piece; where one would leave the bracket,
    it is halved instead.

    Args:
        size: (N, D) float64, >= 0.
        room: (N, D) float64, >= 0.
        radius: (N,) float64, >= 0.
    """
    low, high = torch.zeros_like(radius), size.amax(dim=1)
    shrink = low.clone()
    for _ in range(_MOST_ROUNDS):
        left = size - shrink[:, None]
        free = (left > 0) & (left < room)
        excess = left.clamp_min_(0).minimum(room).sum(dim=1) - radius
        low = torch.where(excess > 0, shrink, low)
        high = torch.where(excess > 0, high, shrink)
        settled = (excess <= 0) & (excess >= -_EXACT * radius) | (high <= low * (1 + _EXACT)) | (high == 0)
        if bool(settled.all()):
            break
        # A little beyond the root, so that rounding does not leave it on the side of too much for ever.
        newton = shrink + excess / free.sum(dim=1).clamp_min(1) + _EXACT / 2 * radius / size.shape[1]
        fits = (newton > low) & (newton < high)
        shrink = torch.where(settled, shrink, torch.where(fits, newton, (low + high) / 2))
    return high


def sparse_step_(gradient: Tensor, count: Tensor) -> Tensor:
    """Turn `gradient`, in place, into the step of L1 length 1 that is equal in its largest values.

    Args:
        gradient: (N, C, H, W).
        count: (N,) int64, of how many values; ties of the smallest of them take part too.
    """
    flat = gradient.flatten(1)
    size = flat.abs()
    count = count.to(size.device).clamp(1, size.shape[1])
    smallest = size.sort(dim=1, descending=True).values.gather(1, count[:, None] - 1)
    signs = flat.sign().mul_(size >= smallest)
    signs.div_(signs.abs().sum(dim=1, keepdim=True).clamp_min_(1))
    return gradient.copy_(signs.view_as(gradient))


def drop_way_out_(slope: Tensor, points: Tensor) -> Tensor:
    """Set to 0, in place, the slopes along which points, (N, C, H, W), would leave the box."""
    return slope.masked_fill_(((points >= 1) & (slope > 0)) | ((points <= 0) & (slope < 0)), 0)
