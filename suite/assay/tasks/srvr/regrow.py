"""Regions grown on maps from a file, the published archive's too, and what they agree with. No torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.maps import SemanticMaps, load_maps
from assay.tasks.srvr.metric import intersection_over_union, volume_ratio
from assay.tasks.srvr.published import METHOD_NAMES, PublishedNetwork, is_published_archive, load_published
from assay.tasks.srvr.regions import Regions, RegionSettings, grow_regions

PUBLISHED_INITIAL = ((130.0, 30.0), (50.0, 20.0), (200.0, 15.0), (310.0, 50.0))
LARGE_DEG2 = 100.0
"""Regions below this size agree poorly, since an interpolated map is not the network."""


@dataclass(frozen=True)
class Regrown:
    """Regions grown by one method on one set of maps, and the published ones where the file holds them.

    Attributes:
        source: the network's name; empty for maps of no stated network.
        maps: what they grew on.
        class_index: of each map; None where the file does not say.
        method: how they grew.
        initial: (P, 2) azimuth and elevation.
        found: N * P searches, all points of a map one after another.
        published: (N * P, 2, 2) bounds one update after the last traced one, NaN where missing; or None.
    """

    source: str
    maps: SemanticMaps
    class_index: Sequence[int] | None
    method: str
    initial: FloatArray
    found: Regions
    published: FloatArray | None

    @property
    def bounds(self) -> FloatArray:
        """(N * P, 2, 2): lower and upper, azimuth and elevation."""
        return np.stack((self.found.low, self.found.high), axis=1)

    @property
    def ratios(self) -> FloatArray:
        """(N * P,) Vol(D ∩ Ω) / Vol(Ω); NaN for a search that diverged."""
        return _ratios(np.where(self.found.diverged[:, None, None], np.nan, self.bounds))

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per search, as in the task's records."""
        points = len(self.initial)
        for index, (bounds, ratio) in enumerate(zip(self.bounds, self.ratios, strict=True)):
            unit, (azimuth, elevation) = index // points, self.initial[index % points]
            yield {
                "unit_id": "/".join(part for part in (self.source, self.maps.unit_id[unit]) if part),
                "class_index": None if self.class_index is None else int(self.class_index[unit]),
                "function": "map",
                "method": self.method,
                "initial_azimuth_deg": float(azimuth),
                "initial_elevation_deg": float(elevation),
                "azimuth_low_deg": float(bounds[0, 0]),
                "azimuth_high_deg": float(bounds[1, 0]),
                "elevation_low_deg": float(bounds[0, 1]),
                "elevation_high_deg": float(bounds[1, 1]),
                "volume_ratio": None if np.isnan(ratio) else float(ratio),
                "steps": int(self.found.steps[index]),
                "converged": bool(self.found.converged[index]),
                "error": "the search diverged" if self.found.diverged[index] else None,
            }


def regrow(
    path: Path, methods: Sequence[str], initial: Sequence[Sequence[float]], as_published: bool
) -> list[Regrown]:
    """Grow regions on every map of a file.

    Args:
        path: a file of ``assay maps``, or the published archive.
        methods: how.
        initial: points (azimuth, elevation) in degrees; the published four where empty.
        as_published: whether regions may leave the domain and never stop.

    Raises:
        UserError: for a file of another form, an unknown method, or a point outside the domain.
    """
    settings = [RegionSettings(method, as_published=as_published) for method in methods]
    points = VIEW_DOMAIN.require_inside(initial or PUBLISHED_INITIAL)
    networks = load_published(path) if is_published_archive(path) else []
    if networks:
        return [_grow_published(network, points, each) for network in networks for each in settings]
    maps = load_maps(path)
    return [
        Regrown("", maps, None, each.method, points, _grow(maps, points, each), None) for each in settings
    ]


def _grow(maps: SemanticMaps, points: FloatArray, settings: RegionSettings) -> Regions:
    count = len(maps.unit_id)
    score = maps.score(np.repeat(np.arange(count), len(points)))
    return grow_regions(score, np.tile(points, (count, 1)), VIEW_DOMAIN, settings)


def _grow_published(network: PublishedNetwork, points: FloatArray, settings: RegionSettings) -> Regrown:
    comparable = np.array_equal(points, network.initial)
    return Regrown(
        source=network.name,
        maps=network.maps,
        class_index=network.class_index.tolist(),
        method=settings.method,
        initial=points,
        found=_grow(network.maps, points, settings),
        published=_published(network, settings.method) if comparable else None,
    )


def _published(network: PublishedNetwork, method: str) -> FloatArray | None:
    if method not in METHOD_NAMES:
        return None
    return network.regions_after[:, METHOD_NAMES.index(method)].reshape(-1, 2, 2)


def comparison(regrown: Sequence[Regrown]) -> list[dict[str, Any]]:
    """SRVR in %, and how far the regions agree with the published ones: by network and method, then over methods."""
    rows = []
    for source in dict.fromkeys(each.source for each in regrown):
        members = [each for each in regrown if each.source == source]
        rows += [_compared(each.method, [each]) for each in members]
        if len(members) > 1:
            rows.append(_compared("all", members))
    return rows


def _compared(method: str, regrown: Sequence[Regrown]) -> dict[str, Any]:
    row = {"network": regrown[0].source, "method": method, "srvr_%": _srvr(regrown, published=False)}
    if any(each.published is None for each in regrown):
        return row
    agreement = _agreement(regrown)
    return row | {
        "published_srvr_%": _srvr(regrown, published=True),
        "median_iou_over_100_deg2": float(np.median(agreement)) if len(agreement) else None,
        "regions_over_100_deg2": len(agreement),
    }


def pooled_agreement(regrown: Sequence[Regrown]) -> dict[str, float]:
    """The median IoU with the published regions over 100 deg², all networks pooled, by method."""
    methods = dict.fromkeys(each.method for each in regrown if each.published is not None)
    pooled = {m: _agreement([each for each in regrown if each.method == m]) for m in methods}
    return {method: float(np.median(ious)) for method, ious in pooled.items() if len(ious)}


def _ratios(bounds: FloatArray) -> FloatArray:
    return volume_ratio(bounds[:, 0], bounds[:, 1], VIEW_DOMAIN)


def _srvr(regrown: Sequence[Regrown], published: bool) -> float:
    """The mean volume ratio in %, missing regions left out, as in the published table."""
    ratios = [
        _ratios(each.published) if published and each.published is not None else each.ratios
        for each in regrown
    ]
    return float(100 * np.nanmean(ratios))


def _agreement(regrown: Sequence[Regrown]) -> FloatArray:
    """IoU with the published regions, clipped to the domain, of those that are large."""
    ious: list[float] = []
    for each in regrown:
        if each.published is None:
            continue
        large = _ratios(each.published) * VIEW_DOMAIN.volume > LARGE_DEG2
        ious += intersection_over_union(each.bounds, each.published, VIEW_DOMAIN)[large].tolist()
    return np.array(ious)
