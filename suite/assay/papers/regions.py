"""Figures per shape from the authors' archive of semantic maps (Hamdi and Ghanem), computed once and kept."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from assay.data.hashes import content_sha256
from assay.papers.spec import RegionsMeasurement
from assay.runner.files import write_atomically
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.metric import volume_ratio
from assay.tasks.srvr.published import METHOD_NAMES, load_published
from assay.tasks.srvr.regrow import PUBLISHED_INITIAL, Regrown, regrow
from assay.tasks.srvr.traps import find_traps

FORMAT = 1  # of what is kept; raised whenever the same archive would give other figures
Figures = dict[str, dict[str, float]]
"""Figures by ``network:quantity:method``, then by shape; missing regions are left out."""


def shape_values(archive: Path, kept: Path, wanted: RegionsMeasurement) -> dict[str, float]:
    """One figure per shape.

    Args:
        archive: the authors' file.
        kept: where the figures of all networks are kept between runs.
        wanted: which figure of which network.

    Raises:
        UserError: a file of another form.
        KeyError: a network that the archive does not hold.
    """
    return figures_of(archive, kept)[f"{wanted.network}:{wanted.quantity}:{wanted.method}"]


def figures_of(archive: Path, kept: Path) -> Figures:
    """All figures of the archive, computed unless ``kept`` holds those of the same file."""
    sha256 = content_sha256(archive, packed=False)
    try:
        document = json.loads(kept.read_text(encoding="utf-8"))
        if (document["format"], document["sha256"]) == (FORMAT, sha256):
            figures: Figures = document["figures"]
            return figures
    except (OSError, ValueError, KeyError, TypeError):
        pass
    figures = dict(_figures(archive))
    document = {"format": FORMAT, "sha256": sha256, "figures": figures}
    write_atomically(kept, json.dumps(document, indent=1) + "\n")
    return figures


def _figures(archive: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for network in load_published(archive):
        shapes = network.maps.unit_id
        azimuth, elevation = network.maps.axes
        yield f"{network.name}:mean_nsm:all", _by_shape(shapes, network.maps.maps.mean(axis=(1, 2)))
        traps = np.array([len(find_traps(each, azimuth, elevation)) for each in network.maps.maps], float)
        yield f"{network.name}:traps:all", _by_shape(shapes, traps)
    grown = regrow(archive, METHOD_NAMES, (), as_published=False)
    for name in dict.fromkeys(each.source for each in grown):
        members = [each for each in grown if each.source == name]
        for quantity, ratios in (("srvr_published", _published), ("srvr_regrown", _grown)):
            for method, some in (("all", members), *((each.method, [each]) for each in members)):
                yield f"{name}:{quantity}:{method}", _mean_by_shape(some, ratios)


def _published(each: Regrown) -> np.ndarray:
    assert each.published is not None
    return volume_ratio(each.published[:, 0], each.published[:, 1], VIEW_DOMAIN)


def _grown(each: Regrown) -> np.ndarray:
    return each.ratios


def _mean_by_shape(members: list[Regrown], ratios: Callable[[Regrown], np.ndarray]) -> dict[str, float]:
    """The mean over methods and initial points, in %; shapes without any region are left out."""
    points = len(PUBLISHED_INITIAL)
    stacked = np.concatenate([ratios(each).reshape(-1, points) for each in members], axis=1)
    counts = np.isfinite(stacked).sum(axis=1)
    means = np.divide(np.nansum(stacked, axis=1), counts, out=np.full(len(stacked), np.nan), where=counts > 0)
    return _by_shape(members[0].maps.unit_id, 100 * means)


def _by_shape(shapes: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return {shape: float(value) for shape, value in zip(shapes, values, strict=True) if np.isfinite(value)}
