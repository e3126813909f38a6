"""The published maps and regions of the paper's authors, as their archive lays them out."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError
from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.maps import SemanticMaps

METHOD_NAMES = ("naive", "OIR_B", "OIR_W")


@dataclass(frozen=True)
class PublishedNetwork:
    """One network's published results; C classes of K shapes.

    Attributes:
        name: of the network.
        maps: its C * K maps; unit ids are ``class/shape id``.
        class_index: (C * K,) class of each map.
        regions: (C * K, method, point, 2, azimuth and elevation) last traced bounds, NaN where missing.
        regions_after: the same, one update later.
        initial: (point, azimuth and elevation).
    """

    name: str
    maps: SemanticMaps
    class_index: npt.NDArray[np.int64]
    regions: FloatArray
    regions_after: FloatArray
    initial: FloatArray


def is_published_archive(path: Path) -> bool:
    """Whether the file is laid out as the published archive."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return "network_names" in arrays.files and "initial_points" in arrays.files
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def load_published(path: Path) -> list[PublishedNetwork]:
    """Read all networks of a published archive.

    Raises:
        UserError: for a missing file or one of another form.
    """
    if not is_published_archive(path):
        raise UserError(
            f"published maps {path}: missing, or not the published archive (no 'network_names' inside)"
        )
    with np.load(path, allow_pickle=False) as arrays:
        return [_network(str(name), arrays) for name in arrays["network_names"]]


def _network(name: str, arrays: "np.lib.npyio.NpzFile") -> PublishedNetwork:
    """One network of an open archive."""
    scores, shape_ids = arrays[f"{name}_nsm"].astype(np.float64), arrays["shape_ids"]
    classes, shapes = scores.shape[:2]
    names = [str(each) for each in arrays["class_names"]]
    maps = SemanticMaps(
        maps=scores.reshape(classes * shapes, *scores.shape[2:]),
        azimuth_deg=arrays["azimuth"].astype(np.float64),
        elevation_deg=arrays["elevation"].astype(np.float64),
        unit_id=tuple(f"{names[c]}/{shape_ids[c, k]}" for c in range(classes) for k in range(shapes)),
    )
    return PublishedNetwork(
        name=name,
        maps=maps,
        class_index=np.repeat(arrays["class_index"].astype(np.int64), shapes),
        regions=_bounds(arrays[f"{name}_region"]),
        regions_after=_bounds(arrays[f"{name}_region_after"]),
        initial=arrays["initial_points"].astype(np.float64),
    )


def _bounds(regions: npt.NDArray[np.float32]) -> FloatArray:
    """(C, K, method, point, parameter, end) as stored, to (C * K, method, point, end, parameter)."""
    return regions.reshape(-1, *regions.shape[2:]).swapaxes(-1, -2).astype(np.float64)
