"""Figures from the authors' archive of semantic maps (Hamdi and Ghanem), for each shape."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.metric import volume_ratio
from assay.tasks.srvr.published import METHOD_NAMES, load_published
from assay.tasks.srvr.regrow import PUBLISHED_INITIAL, Regrown, regrow
from assay.tasks.srvr.traps import find_traps


def archive_figures(archive: Path) -> dict[str, dict[str, float]]:
    """Figures by ``network:quantity:method``, then by shape; missing regions are left out.

    ``srvr_published`` is of the published regions, ``srvr_regrown`` of regions grown anew on the published maps (%),
    ``mean_nsm`` the mean of the maps (probability), ``traps`` the number of semantic traps.

    Raises:
        UserError: a file of another form.
    """
    return dict(_figures(archive))


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
