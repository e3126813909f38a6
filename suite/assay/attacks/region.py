"""The inputs that bounds hold for: a box, and a ball of another norm within it where one is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks.settings import Norm


@dataclass(frozen=True)
class Region:
    """The inputs that bounds hold for.

    Attributes:
        low: (n, C, H, W), the smallest value of each pixel.
        high: (n, C, H, W), the largest.
        centre: (n, C, H, W).
        radius: around the centre, infinite where only the box counts.
        norm: what the radius is measured in.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    radius: float
    norm: Norm = "l2"

    def extent(self, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """(n, S) each: bounds from below and above, in the region, of linear functions, (n, S, C, H, W)."""
        return self._extent(
            slopes.flatten(2), lambda flat, value: (flat @ value.flatten(1)[:, :, None]).squeeze(2)
        )

    def extent_of_seen(self, slopes: Tensor, seen: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """As :meth:`extent`, of functions (n, S, C, h, w) of what ``seen`` shows them of pixels (n, C, H, W)."""
        return self._extent(slopes.flatten(2), lambda flat, value: (flat * seen(value).flatten(2)).sum(2))

    def _extent(self, flat: Tensor, total: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        at_middle = total(flat, (self.high + self.low) / 2)
        away = total(flat.abs(), (self.high - self.low) / 2)
        low, high = at_middle - away, at_middle + away
        if math.isinf(self.radius):
            return low, high
        at_centre = total(flat, self.centre)
        away = self.radius * (flat.abs().amax(dim=2) if self.norm == "l1" else flat.norm(dim=2))
        return torch.maximum(low, at_centre - away), torch.minimum(high, at_centre + away)


def ball_region(images: Tensor, eps: float, norm: Norm) -> Region:
    """The ball around each image, met with [0, 1]."""
    box = ((images - eps).clamp_min(0), (images + eps).clamp_max(1))
    return Region(*box, centre=images, radius=math.inf if norm == "linf" else eps, norm=norm)
