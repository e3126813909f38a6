"""Where azimuth is a circle its origin decides nothing."""

from dataclasses import replace

import numpy as np
import pytest

from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.metric import volume_ratio
from assay.tasks.srvr.published import load_published
from assay.tasks.srvr.regions import RegionSettings, grow_regions

CIRCLE = replace(VIEW_DOMAIN, periodic=("azimuth_deg",))


def _ratio(network, origin, domain=CIRCLE):
    maps = replace(network.maps, maps=np.roll(network.maps.maps, origin // 3, axis=2))
    points = network.initial.copy()
    points[:, 0] = (points[:, 0] + origin) % 360
    count = len(maps.unit_id)
    score = maps.score(np.repeat(np.arange(count), len(points)))
    found = grow_regions(score, np.tile(points, (count, 1)), domain, RegionSettings("OIR_B", steps=300))
    return float(volume_ratio(found.low, found.high, domain).mean())


def test_a_region_all_round_fills_the_circle_once():
    found = grow_regions(
        lambda _, points: np.ones(points.shape[:2]),
        [(310.0, 30.0)],
        CIRCLE,
        RegionSettings("naive", regulariser=0),
    )
    assert found.high[0, 0] - found.low[0, 0] == pytest.approx(360)
    assert volume_ratio(found.low, found.high, CIRCLE) == pytest.approx(1)


@pytest.mark.parametrize("name", ["AlexNet", "ResNet50"])
def test_the_origin_of_azimuth_changes_nothing(name, shared_srvr):
    network = {each.name: each for each in load_published(shared_srvr / "published_dev.npz")}[name]
    here = _ratio(network, 0)
    # Rounding of the shifted angles alone: searches follow a rough map for hundreds of steps.
    assert [_ratio(network, turn) for turn in (90, 180, 270)] == pytest.approx([here] * 3, rel=5e-3)
    assert _ratio(network, 180, VIEW_DOMAIN) != pytest.approx(_ratio(network, 0, VIEW_DOMAIN), rel=5e-3)
