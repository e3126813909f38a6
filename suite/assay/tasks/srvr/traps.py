"""Semantic traps (Hamdi & Ghanem, section 5): connected views of low score, enclosed by high ones."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from assay.common.errors import UserError
from assay.tasks.srvr.arrays import BoolArray, FloatArray, IntArray
from assay.tasks.srvr.maps import GridAxis

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class TrapSettings:
    """What counts as a trap.

    Attributes:
        low: a trap's lowest score is at most this.
        high: every way out of a trap leads over scores of at least this.
    """

    low: float = 0.1
    high: float = 0.5

    def __post_init__(self) -> None:
        """Check the thresholds.

        Raises:
            UserError: they are no scores, or the low one is not below the high one.
        """
        if not 0 <= self.low < self.high <= 1:
            raise UserError(
                f"traps of score {self.low:g} inside a rim of {self.high:g}: give 0 <= low < high <= 1"
            )


@dataclass(frozen=True)
class Trap:
    """One trap.

    Attributes:
        azimuth_deg: of its lowest cell.
        elevation_deg: of its lowest cell.
        lowest: the score there.
        area_deg2: azimuth × elevation degrees of its cells, all those below ``high``.
        depth: how far its lowest score lies below the lowest score on the rim around it.
        encircles: whether it runs all the way round the shape, between a high band above and one below.
    """

    azimuth_deg: float
    elevation_deg: float
    lowest: float
    area_deg2: float
    depth: float
    encircles: bool


def find_traps(
    scores: FloatArray, azimuth: GridAxis, elevation: GridAxis, settings: TrapSettings | None = None
) -> list[Trap]:
    """The traps of one map, the largest first.

    A trap is a connected set of cells below ``high`` (diagonal neighbours connect, so the rim is closed) that holds a
    cell of at most ``low``. It must not reach the map's edge: what lies beyond is unknown. A periodic azimuth has no
    edge; a map of one elevation has none above and below.

    Args:
        scores: (E, A) in [0, 1].
        azimuth: the columns' axis.
        elevation: the rows' axis.
        settings: the thresholds; the defaults where None.
    """
    thresholds = settings or TrapSettings()
    labels, count = label_regions(scores < thresholds.high, azimuth.periodic)
    open_labels = np.unique(labels[_edge(scores.shape, azimuth.periodic)])
    traps = [
        _describe(scores, labels == label, azimuth, elevation)
        for label in range(1, count + 1)
        if label not in open_labels and scores[labels == label].min() <= thresholds.low
    ]
    return sorted(traps, key=lambda trap: -trap.area_deg2)


def label_regions(mask: BoolArray, periodic: bool) -> tuple[IntArray, int]:
    """Number the connected sets of cells 1, 2, ... (0: not in the mask); columns wrap where ``periodic``."""
    labels, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    if not periodic:
        return labels.astype(np.int64), int(count)
    # Sets that touch across the seam, straight or diagonally, become one: each row of the first column is beside
    # three rows of the last.
    parent = np.arange(count + 1)
    first, last = labels[:, 0], labels[:, -1]
    for shift in (-1, 0, 1):
        rows = np.arange(max(0, -shift), len(first) - max(0, shift))
        for a, b in zip(first[rows], last[rows + shift], strict=True):
            if a and b:
                parent[parent == parent[b]] = parent[a]
    _, renumbered = np.unique(parent[labels], return_inverse=True)
    merged = renumbered.reshape(mask.shape) + (0 if (labels == 0).any() else 1)
    return merged.astype(np.int64), int(merged.max())


def _edge(shape: tuple[int, ...], periodic: bool) -> BoolArray:
    """The cells beyond which a map knows nothing."""
    edge = np.zeros(shape, dtype=bool)
    if shape[0] > 1:
        edge[[0, -1], :] = True
    if not periodic:
        edge[:, [0, -1]] = True
    return edge


def _describe(scores: FloatArray, cells: BoolArray, azimuth: GridAxis, elevation: GridAxis) -> Trap:
    """Measure one trap, given its cells."""
    padding = [(1, 1), (0, 0)]
    wide = np.pad(np.pad(cells, padding), [(0, 0), (1, 1)], mode="wrap" if azimuth.periodic else "constant")
    rim = ndimage.binary_dilation(wide, structure=_EIGHT_NEIGHBOURS)[1:-1, 1:-1] & ~cells
    row, column = np.unravel_index(np.argmin(np.where(cells, scores, np.inf)), scores.shape)
    lowest = float(scores[row, column])
    return Trap(
        azimuth_deg=float(azimuth.values[column]),
        elevation_deg=float(elevation.values[row]),
        lowest=lowest,
        area_deg2=float(cells.sum() * azimuth.step * elevation.step),
        depth=float(scores[rim].min() - lowest) if rim.any() else 0.0,
        encircles=bool(azimuth.periodic and cells.any(axis=0).all()),
    )
