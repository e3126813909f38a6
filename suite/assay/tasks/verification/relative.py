"""Attention inconsistency relative to the attention itself, which no constant factor of the logits changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.table import CellTable

RELATIVE_DELTA = 0.25
"""The map may move by a quarter of its own norm."""


@dataclass(frozen=True)
class Relative:
    """How ai compares with the norm of the maps that it is the change of.

    Attributes:
        norm: sum over labels of ||map_j(x)||_2, of the image itself.
        satisfied: share of Theta in cells where ai stays within :data:`RELATIVE_DELTA` of the norm throughout.
        violated: share in cells where it does so nowhere.
        partial: share in cells where it does so in part.
    """

    norm: float
    satisfied: float = 0.0
    violated: float = 0.0
    partial: float = 0.0


def norm_of(maps: Tensor) -> float:
    """The sum over labels of the maps' norms, `(labels, C, H, W)`."""
    return float(torch.linalg.vector_norm(maps.flatten(1), dim=1).sum())


def relative(table: CellTable, norm: float, volume: float) -> Relative:
    """The shares of Theta, of the given volume, that the listed cells prove."""
    delta = RELATIVE_DELTA * norm
    satisfied, violated = table.satisfied(delta), table.violated(delta)
    partial = ~satisfied & ~violated
    shares = (float(table.volumes[which].sum()) / volume for which in (satisfied, violated, partial))
    return Relative(norm, *shares)
