import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.metric import (
    SearchVolume,
    intersection_over_union,
    srvr,
    volume_ratio,
)
from assay.tasks.srvr.published import METHOD_NAMES, load_published

PUBLISHED_SRVR = {
    "AlexNet": (0.49, 3.12, 0.0401),
    "VGG": (3.84, 4.60, 0.0672),
    "ResNet50": (12.32, 14.15, 0.2095),
    "Inceptionv3": (5.21, 4.97, 0.1917),
}


def searches_of(network, bounds):
    ratios = volume_ratio(bounds[..., 0, :], bounds[..., 1, :], VIEW_DOMAIN)
    return [
        SearchVolume(unit, int(network.class_index[i]), method, float(ratios[i, m, p]))
        for i, unit in enumerate(network.maps.unit_id)
        for m, method in enumerate(METHOD_NAMES)
        for p in range(ratios.shape[2])
    ]


def test_the_published_regions_give_the_stated_srvr(shared_srvr):
    overall = {}
    for network in load_published(shared_srvr / "published_dev.npz"):
        stated = PUBLISHED_SRVR[network.name]
        for bounds, expected in zip((network.regions, network.regions_after), stated[:2], strict=True):
            assert srvr(searches_of(network, bounds)).overall.value == pytest.approx(expected, abs=0.005)
        assert network.maps.maps.mean() == pytest.approx(stated[2], abs=5e-5)
        overall[network.name] = srvr(searches_of(network, network.regions_after)).overall.value
    assert max(overall, key=overall.__getitem__) == "ResNet50"
    assert overall["ResNet50"] > overall["Inceptionv3"]


def test_a_file_of_another_form_is_not_the_published_archive(tmp_path):
    with pytest.raises(UserError, match="not the published archive"):
        load_published(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ((0, -10), (360, 90), 1.0),
        ((-500, -500), (900, 900), 1.0),
        ((0, 0), (36, 10), 0.01),
        ((350, 80), (400, 200), 10 * 10 / 36000),
        ((400, 0), (500, 10), 0.0),
        ((50, 0), (40, 10), 0.0),
    ],
)
def test_the_volume_is_that_of_the_part_inside(low, high, expected):
    assert volume_ratio(low, high, VIEW_DOMAIN) == pytest.approx(expected)


def test_a_missing_region_has_no_volume_and_is_left_out():
    assert math.isnan(volume_ratio((math.nan, 0), (10, 10), VIEW_DOMAIN))
    found = srvr([SearchVolume("a", 0, "naive", 0.5), SearchVolume("b", 0, "naive", math.nan)])
    assert found.overall.value == 50
    assert (found.overall.shapes, found.overall.searches) == (1, 1)


def test_no_region_at_all_is_nan_not_nought():
    assert math.isnan(srvr([SearchVolume("a", 0, "naive", math.nan)]).overall.value)


@given(st.lists(st.floats(0, 1), min_size=9, max_size=20))
def test_the_interval_holds_the_value_and_stays_in_0_to_100(ratios):
    found = srvr([SearchVolume(str(k), k % 3, "naive", ratio) for k, ratio in enumerate(ratios)]).overall
    assert found.value == pytest.approx(100 * np.mean(ratios))
    assert -1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 100 + 1e-9


def test_too_few_shapes_have_no_interval():
    found = srvr([SearchVolume(str(k), 0, "naive", k / 10) for k in range(8)]).overall
    assert (found.low, found.high, found.shapes) == (None, None, 8)


@pytest.mark.slow
@pytest.mark.parametrize("shapes", [9, 10, 30])
def test_the_interval_covers_the_published_shapes_as_often_as_it_says(shapes, shared_srvr):
    for network in load_published(shared_srvr / "published_dev.npz"):
        ratios = volume_ratio(network.regions_after[..., 0, :], network.regions_after[..., 1, :], VIEW_DOMAIN)
        truth, generator, hits = 100 * np.nanmean(ratios), np.random.default_rng(0), 0
        for _ in range(400):
            drawn = generator.integers(len(ratios), size=shapes)
            searches = [
                SearchVolume(str(k), 0, "all", float(ratio))
                for k, shape in enumerate(drawn)
                for ratio in ratios[shape].ravel()
            ]
            found = srvr(searches).overall
            hits += found.low <= truth <= found.high
        assert hits / 400 >= 0.93, network.name


def test_the_interval_rests_on_shapes_not_searches():
    """Copies of a shape's searches add no information."""
    once = [SearchVolume(str(k), 0, "naive", k / 10) for k in range(10)]
    assert srvr(once).overall.low == pytest.approx(srvr(once * 4).overall.low)


def test_methods_and_classes_are_told_apart():
    found = srvr(
        [
            SearchVolume("a", 0, "naive", 0.1),
            SearchVolume("a", 0, "OIR_B", 0.3),
            SearchVolume("b", 4, "naive", 0.5),
            SearchVolume("b", 4, "OIR_B", 0.7),
        ],
    )
    assert {k: round(e.value, 6) for k, e in found.by_method.items()} == {"naive": 30, "OIR_B": 50}
    assert {k: round(e.value, 6) for k, e in found.by_class.items()} == {0: 20, 4: 60}
    assert found.overall.value == pytest.approx(40)


def test_iou_of_known_boxes():
    first, second = [[0, 0], [20, 10]], [[10, 0], [30, 10]]
    assert intersection_over_union(first, second, VIEW_DOMAIN) == pytest.approx(1 / 3)
    assert intersection_over_union(first, first, VIEW_DOMAIN) == pytest.approx(1)
    assert math.isnan(intersection_over_union([[500, 0], [600, 1]], [[500, 0], [600, 1]], VIEW_DOMAIN))
