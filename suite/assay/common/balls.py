"""The balls that perturbations live in: L-infinity, L2 and L1, always met with the box [0, 1].

Images are (N, C, H, W) in [0, 1], radii are (N,), and every row is treated alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from assay.common import randomness
from assay.common.l1_ball import L1Ball


class Ball(Protocol):
    """What a gradient attack needs to know of a norm."""

    def project_(self, adversarial: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """Move `adversarial`, in place, to the nearest point of the ball, then clip it to [0, 1]."""

    def direction_(self, gradient: Tensor) -> Tensor:
        """Turn `gradient`, in place, into the steepest step of length 1 in this norm; zero stays zero."""

    def random_start(self, images: Tensor, eps: Tensor, seeds: Tensor) -> Tensor:
        """Points uniform in the balls, clipped to [0, 1]; each depends on its own seed only."""

    def length(self, difference: Tensor) -> Tensor:
        """(N,) norms of the rows."""


@dataclass(frozen=True)
class LinfBall:
    """The L-infinity ball."""

    def project_(self, adversarial: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """See `Ball`."""
        radius = per_image(eps, images)
        difference = adversarial.sub_(images)
        # Not clamp_: with bounds that are broadcast it is ten times as slow.
        torch.minimum(difference, radius, out=difference)
        torch.maximum(difference, -radius, out=difference)
        return difference.add_(images).clamp_(0, 1)

    def project_alike_(self, adversarial: Tensor, images: Tensor, eps: float) -> Tensor:
        """As :meth:`project_`, to the bit, where all radii are equal: four operations where that takes eight."""
        return adversarial.sub_(images).clamp_(-eps, eps).add_(images).clamp_(0, 1)

    def direction_(self, gradient: Tensor) -> Tensor:
        """See `Ball`."""
        return gradient.sign_()

    def random_start(self, images: Tensor, eps: Tensor, seeds: Tensor) -> Tensor:
        """See `Ball`."""
        noise = randomness.uniform(seeds, images.shape[1:], images.dtype).mul_(2).sub_(1)
        return noise.mul_(per_image(eps, images)).add_(images).clamp_(0, 1)

    def length(self, difference: Tensor) -> Tensor:
        """See `Ball`."""
        return difference.flatten(1).abs().amax(dim=1)


@dataclass(frozen=True)
class L2Ball:
    """The Euclidean ball."""

    def project_(self, adversarial: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """See `Ball`."""
        difference = adversarial.sub_(images)
        tiny = torch.finfo(images.dtype).tiny
        shrink = (eps.to(images.dtype) / self.length(difference).clamp_min_(tiny)).clamp_max_(1)
        # The box holds the centre, so clipping afterwards only shortens the difference.
        return difference.mul_(per_image(shrink, images)).add_(images).clamp_(0, 1)

    def direction_(self, gradient: Tensor) -> Tensor:
        """See `Ball`."""
        return unit_(gradient, order=2)

    def random_start(self, images: Tensor, eps: Tensor, seeds: Tensor) -> Tensor:
        """See `Ball`."""
        direction = unit_(randomness.normal(seeds, images.shape[1:], images.dtype), order=2)
        radius = randomness.uniform(randomness.derive(seeds, 3), (1,), images.dtype).squeeze(1)
        radius = eps.to(images.dtype) * radius ** (1 / images[0].numel())
        return direction.mul_(per_image(radius, images)).add_(images).clamp_(0, 1)

    def length(self, difference: Tensor) -> Tensor:
        """See `Ball`."""
        return difference.flatten(1).square().sum(dim=1).sqrt()


LINF = LinfBall()
BALLS: dict[str, Ball] = {"linf": LINF, "l2": L2Ball(), "l1": L1Ball()}
"""By the name of the norm."""


def unit_(gradient: Tensor, order: int) -> Tensor:
    """Divide each row, in place, by its L1 or L2 norm; a zero row stays zero.

    The largest element is divided out first, since the square of a saturated gradient underflows.
    """
    tiny = torch.finfo(gradient.dtype).tiny
    largest = gradient.flatten(1).abs().amax(dim=1)
    gradient.div_(per_image(largest.clamp_min_(tiny), gradient))
    norm = torch.linalg.vector_norm(gradient.flatten(1), ord=order, dim=1)
    return gradient.div_(per_image(torch.clamp_min(norm, tiny), gradient))


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """(N,) values shaped and typed to be broadcast over (N, C, H, W) images."""
    return values.to(images.dtype).view(-1, *(1,) * (images.dim() - 1))
