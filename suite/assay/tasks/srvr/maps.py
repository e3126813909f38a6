"""Semantic maps: a network's score for a shape over a grid of views; interpolated, on file, and averaged."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError
from assay.tasks.srvr.arrays import FloatArray, IntArray

FULL_TURN_DEG = 360.0
_TOLERANCE = 1e-6
_MOST_INTERVALS = 100_000


@dataclass(frozen=True)
class GridAxis:
    """Equally spaced values of one semantic parameter.

    Attributes:
        name: the parameter.
        low: the first value.
        step: the distance between values.
        count: how many there are.
        periodic: whether the first value follows the last one.
    """

    name: str
    low: float
    step: float
    count: int
    periodic: bool = False

    @property
    def values(self) -> FloatArray:
        """(count,) in the parameter's unit."""
        return np.asarray(self.low + self.step * np.arange(self.count), dtype=np.float64)

    def locate(self, coordinate: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
        """The cells before and after each coordinate, and how far it lies between them (0 to 1).

        A periodic axis wraps; any other is held at its ends.
        """
        position = (coordinate - self.low) / self.step
        position = position % self.count if self.periodic else np.clip(position, 0, self.count - 1)
        before = np.minimum(position.astype(np.int64), self.count - 1)
        after = before + 1
        after[after == self.count] = 0 if self.periodic else self.count - 1
        return before, after, position - before


def grid_axis(name: str, low: float, high: float, step: float, period: float | None = None) -> GridAxis:
    """The values ``low, low + step, ... high``, without ``high`` where that is one period above ``low``.

    Raises:
        UserError: where the step is not positive, does not divide the range, or makes more cells than anyone can
            render.
    """
    if not step > 0 or high < low:
        raise UserError(
            f"grid of {name}: [{low:g}, {high:g}] with step {step:g} is empty; give low <= high and step > 0"
        )
    intervals = round((high - low) / step)
    if abs(intervals * step - (high - low)) > _TOLERANCE * step:
        raise UserError(
            f"grid of {name}: step {step:g} does not divide the range [{low:g}, {high:g}]; "
            f"change the step, or end the range at {low + step * ((high - low) // step):g}"
        )
    if intervals > _MOST_INTERVALS:
        raise UserError(f"grid of {name}: step {step:g} makes {intervals:,} cells; choose a larger step")
    wraps = period is not None and abs(high - low - period) < _TOLERANCE
    return GridAxis(name, low, step, intervals if wraps else intervals + 1, wraps)


class InterpolatedMaps:
    """Multilinear interpolation of N maps over one grid; a score function for region searches.

    Search i looks at map ``map_of_search[i]``.
    """

    def __init__(self, values: npt.ArrayLike, axes: Sequence[GridAxis], map_of_search: npt.ArrayLike) -> None:
        """Hold the maps ``values``, (N, count of axis 1, ..., count of axis n); axes in coordinate order."""
        self._values = np.ascontiguousarray(values, dtype=np.float64)
        self._axes = tuple(axes)
        self._map_of_search = np.asarray(map_of_search, dtype=np.int64)
        shape = tuple(axis.count for axis in axes)
        if self._values.shape[1:] != shape:
            raise ValueError(
                f"maps of shape {self._values.shape}: expected (N, {', '.join(map(str, shape))})"
            )

    def __call__(self, searches: IntArray, points: FloatArray) -> FloatArray:
        """Scores (B, K) at points (B, K, n) for the given searches (B,)."""
        index = np.broadcast_to(self._map_of_search[searches][:, None], points.shape[:2])
        corners: list[tuple[IntArray, FloatArray]] = [(index, np.ones(index.shape))]
        for axis, column in zip(self._axes, np.moveaxis(points, 2, 0), strict=True):
            before, after, share = axis.locate(column)
            corners = [
                (flat * axis.count + cell, weight * part)
                for flat, weight in corners
                for cell, part in ((before, 1 - share), (after, share))
            ]
        flat_values = self._values.reshape(-1)
        return np.asarray(sum(weight * flat_values[flat] for flat, weight in corners))


@dataclass(frozen=True)
class SemanticMaps:
    """N network semantic maps over azimuth and elevation.

    Attributes:
        maps: (N, elevation, azimuth) scores in [0, 1]; NaN where a cell is missing.
        azimuth_deg: (A,) equally spaced.
        elevation_deg: (E,) equally spaced; one value for maps of a single parameter.
        unit_id: N names.
    """

    maps: FloatArray
    azimuth_deg: FloatArray
    elevation_deg: FloatArray
    unit_id: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            UserError: where they do not agree.
        """
        expected = (len(self.unit_id), len(self.elevation_deg), len(self.azimuth_deg))
        if self.maps.shape != expected:
            raise UserError(
                f"semantic maps: 'maps' has shape {self.maps.shape}, but unit_id, elevation_deg and "
                f"azimuth_deg call for {expected}; save them together"
            )

    @property
    def axes(self) -> tuple[GridAxis, GridAxis]:
        """Azimuth and elevation, the order of a point's coordinates."""
        azimuth = _axis_of("azimuth_deg", self.azimuth_deg, FULL_TURN_DEG)
        return azimuth, _axis_of("elevation_deg", self.elevation_deg, None)

    def score(self, map_of_search: npt.ArrayLike) -> InterpolatedMaps:
        """The maps as a bilinear function of (azimuth, elevation); azimuth is periodic, elevation held.

        Raises:
            UserError: for maps with missing cells.
        """
        if not np.isfinite(self.maps).all():
            missing = [
                unit
                for unit, cells in zip(self.unit_id, self.maps, strict=True)
                if not np.isfinite(cells).all()
            ]
            raise UserError(
                f"semantic maps: cells of {missing[:3]} are missing or NaN; finish these maps first"
            )
        return InterpolatedMaps(self.maps.transpose(0, 2, 1), self.axes, map_of_search)


def _axis_of(name: str, values: FloatArray, period: float | None) -> GridAxis:
    """The axis with these values.

    Raises:
        UserError: where they are not equally spaced and rising.
    """
    step = float(values[1] - values[0]) if len(values) > 1 else 1.0
    axis = GridAxis(
        name,
        float(values[0]),
        step,
        len(values),
        period is not None and abs(len(values) * step - period) < 1e-3,
    )
    if step <= 0 or not np.allclose(axis.values, values, atol=1e-3 * step):
        raise UserError(f"semantic maps: {name} must rise in equal steps; resample the maps on such a grid")
    return axis


def save_maps(target: Path | BinaryIO, maps: SemanticMaps) -> None:
    """Write maps as an ``.npz`` with ``maps``, ``azimuth_deg``, ``elevation_deg``, ``unit_id``."""
    np.savez_compressed(
        target,
        maps=maps.maps.astype(np.float32),
        azimuth_deg=maps.azimuth_deg,
        elevation_deg=maps.elevation_deg,
        unit_id=np.array(maps.unit_id),
    )


def load_maps(path: Path) -> SemanticMaps:
    """Read maps written by :func:`save_maps`, or by anyone in the same form.

    Raises:
        UserError: for a missing or damaged file, missing arrays, shapes that do not agree, or values that are no
            probabilities.
    """
    if not path.is_file():
        raise UserError(f"semantic maps {path}: no such file; `assay maps` writes one")
    found = _arrays(path)
    missing = [name for name in ("maps", "azimuth_deg", "elevation_deg", "unit_id") if name not in found]
    if missing:
        raise UserError(
            f"semantic maps {path}: lacks {', '.join(missing)}; `assay maps` writes the form expected"
        )
    if any(found[name].dtype.kind not in "fiu" for name in ("maps", "azimuth_deg", "elevation_deg")):
        raise UserError(
            f"semantic maps {path}: holds something other than numbers; `assay maps` writes the form expected"
        )
    maps = SemanticMaps(
        maps=found["maps"].astype(np.float64),
        azimuth_deg=np.atleast_1d(found["azimuth_deg"]).astype(np.float64),
        elevation_deg=np.atleast_1d(found["elevation_deg"]).astype(np.float64),
        unit_id=tuple(str(unit) for unit in np.atleast_1d(found["unit_id"])),
    )
    if not maps.maps.size:
        raise UserError(f"semantic maps {path}: holds no map; export a run that has finished at least one")
    if ((maps.maps < -_TOLERANCE) | (maps.maps > 1 + _TOLERANCE)).any():
        raise UserError(
            f"semantic maps {path}: its values lie from {np.nanmin(maps.maps):g} to {np.nanmax(maps.maps):g}; give "
            "probabilities, from 0 to 1"
        )
    return maps


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an ``.npz``.

    Raises:
        UserError: for a file of another form, cut off or damaged.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("no archive of arrays")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"semantic maps {path}: not a readable .npz file ({error}); export it again"
        ) from error


def best_band_score(scores: FloatArray) -> float:
    """The highest mean score over a map's (E, A) elevations; missing cells are left out.

    A shape counts as recognised where this is at least 0.1 (the paper's rule for taking a shape into its
    data).
    """
    return float(np.nanmax(np.nanmean(scores, axis=1)))


def join_maps(maps: Sequence[SemanticMaps]) -> SemanticMaps:
    """All maps as one set.

    Raises:
        UserError: for no maps, or maps on different grids.
    """
    if not maps or not any(each.unit_id for each in maps):
        raise UserError("there are no semantic maps; give a network that has at least one whole map")
    first = maps[0]
    for other in maps[1:]:
        if other.maps.shape[1:] != first.maps.shape[1:] or not np.allclose(
            [*other.azimuth_deg, *other.elevation_deg], [*first.azimuth_deg, *first.elevation_deg]
        ):
            raise UserError("semantic maps: they lie on different grids; use one grid for all networks")
    return SemanticMaps(
        maps=np.concatenate([each.maps for each in maps]),
        azimuth_deg=first.azimuth_deg,
        elevation_deg=first.elevation_deg,
        unit_id=tuple(unit for each in maps for unit in each.unit_id),
    )


def data_semantic_map(maps: Sequence[SemanticMaps]) -> FloatArray:
    """DSM: the mean over all maps given, (elevation, azimuth); what networks share comes from their data.

    Raises:
        UserError: for no maps, or maps on different grids.
    """
    return np.asarray(np.nanmean(join_maps(maps).maps, axis=0))


def class_means(maps: SemanticMaps, class_names: Sequence[str]) -> dict[str, FloatArray]:
    """The DSM of each class that has several of the maps, (elevation, azimuth); none where all are of one class.

    Args:
        maps: N of them, of one network or of several.
        class_names: N names.
    """
    members = {name: [i for i, each in enumerate(class_names) if each == name] for name in class_names}
    if len(members) < 2:
        return {}
    return {
        name: np.asarray(np.nanmean(maps.maps[some], axis=0))
        for name, some in members.items()
        if len(some) > 1
    }
