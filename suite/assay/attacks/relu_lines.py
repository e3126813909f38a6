"""Lines below and above a ReLU whose sign is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Relaxation:
    """Lines around relu(z) for l <= z <= u: slope_low * z <= relu(z) <= slope_high * z + offset."""

    slope_low: Tensor
    slope_high: Tensor
    offset: Tensor


Relaxations = Sequence[Relaxation | None]
"""One per layer, None where it is no ReLU."""


def is_open(low: Tensor, high: Tensor) -> Tensor:
    """Where the sign of what a ReLU reads, between these bounds, is not known: bool, of their shape."""
    return (low < 0) & (high > 0)


def relax(low: Tensor, high: Tensor, *, parallel: bool) -> Relaxation:
    """Lines around the ReLU; where its sign is open, the lower one is parallel to the upper, or 0 or z."""
    open_sign = is_open(low, high)
    active = (low >= 0).to(low.dtype)
    tiny = torch.finfo(low.dtype).tiny
    chord = high / (high - low).clamp_min(tiny)
    slope_high = torch.where(open_sign, chord, active)
    offset = torch.where(open_sign, -chord * low, torch.zeros_like(low))
    # The line 0 wastes less area below the ReLU where z is mostly negative, the line z where it is mostly positive.
    nearer = chord if parallel else (high > -low).to(low.dtype)
    return Relaxation(torch.where(open_sign, nearer, active), slope_high, offset)
