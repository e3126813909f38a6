"""The box that outlines where a sensitivity map is strong. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: rows top .. bottom - 1, columns left .. right - 1."""

    top: int
    left: int
    bottom: int
    right: int


def outline(sensitivity: Map, mass: float = 0.5) -> Box:
    """The box that holds the most sensitive pixels which together make up `mass` of the whole map.

    Args:
        sensitivity: (H, W), at least 0; a map of zeros is outlined whole.
        mass: share of the map's sum in (0, 1].
    """
    if not sensitivity.any():
        return Box(0, 0, *sensitivity.shape)
    ranked = np.sort(sensitivity, axis=None)[::-1].astype(np.float64)
    count = int(np.searchsorted(np.cumsum(ranked), mass * ranked.sum() * (1 - 1e-9)))
    rows, columns = np.nonzero(sensitivity >= ranked[min(count, ranked.size - 1)])
    return Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
