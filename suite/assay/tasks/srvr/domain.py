"""The box of semantic parameters that a study looks at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError
from assay.tasks.srvr.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Domain:
    """Ω, a box in n semantic parameters, each in its own unit.

    Attributes:
        names: the parameters, in the order of every point's coordinates.
        low: lower ends.
        high: upper ends.
        periodic: the parameters whose upper end is their lower end again. A circle has no ends, so a region may run
            across the seam, and is as long as the circle at most.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    periodic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the ends.

        Raises:
            UserError: where numbers of ends differ, or a lower end is not below its upper end.
        """
        if not len(self.names) == len(self.low) == len(self.high) > 0:
            raise UserError(f"domain of {list(self.names)}: give one [low, high] pair for each parameter")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low < high:
                raise UserError(f"domain of {name}: [{low:g}, {high:g}] is empty; low must be below high")

    @property
    def volume(self) -> float:
        """Product of the sides."""
        return float(np.prod(self.sides))

    @property
    def sides(self) -> FloatArray:
        """(n,) lengths of the sides."""
        return np.subtract(self.high, self.low)

    @property
    def circular(self) -> BoolArray:
        """(n,) bool: which parameters are circles."""
        return np.array([name in self.periodic for name in self.names])

    def clip(self, points: npt.ArrayLike) -> FloatArray:
        """The nearest points inside, (..., n); every coordinate of a circle is inside."""
        given = np.asarray(points, dtype=np.float64)
        return np.where(self.circular, given, np.clip(given, self.low, self.high))

    def require_inside(self, points: Sequence[Sequence[float]] | FloatArray) -> FloatArray:
        """Return initial points as an array (B, n).

        Raises:
            UserError: for a point with the wrong number of coordinates, not finite, or outside the domain.
        """
        for point in points:
            complete = len(point) == len(self.names)
            inside = complete and all(
                low <= value <= high for low, value, high in zip(self.low, point, self.high, strict=True)
            )
            if not inside:
                box = ", ".join(
                    f"{name} {low:g}..{high:g}"
                    for name, low, high in zip(self.names, self.low, self.high, strict=True)
                )
                given = ", ".join(f"{value:g}" for value in point)
                fault = "outside the domain" if complete else f"it needs {len(self.names)} coordinates"
                raise UserError(f"initial point ({given}): {fault}; give {box}")
        return np.asarray(points, dtype=np.float64).reshape(-1, len(self.names))


VIEW_DOMAIN = Domain(("azimuth_deg", "elevation_deg"), (0.0, -10.0), (360.0, 90.0))
"""The paper's: azimuth [0, 360], elevation [-10, 90] degrees."""
