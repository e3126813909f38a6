import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.tasks.srvr.maps import GridAxis, grid_axis
from assay.tasks.srvr.traps import TrapSettings, find_traps, label_regions

AZIMUTH = grid_axis("azimuth_deg", 0, 360, 3, period=360)
ELEVATION = grid_axis("elevation_deg", -10, 89, 3)


def high_map():
    return np.full((34, 120), 0.9)


def test_a_planted_hole_is_found_with_its_area_depth_and_place():
    scores = high_map()
    scores[10:13, 40:44] = 0.3
    scores[11, 41] = 0.05
    (trap,) = find_traps(scores, AZIMUTH, ELEVATION)
    assert (trap.azimuth_deg, trap.elevation_deg) == (41 * 3, -10 + 11 * 3)
    assert trap.area_deg2 == 12 * 9
    assert trap.depth == pytest.approx(0.85)
    assert trap.lowest == pytest.approx(0.05)
    assert not trap.encircles


@pytest.mark.parametrize(
    "hole",
    [(slice(0, 3), slice(40, 44)), (slice(31, 34), slice(40, 44)), (slice(0, 34), slice(40, 44))],
)
def test_a_low_region_that_reaches_the_edge_is_not_enclosed(hole):
    scores = high_map()
    scores[hole] = 0.0
    assert find_traps(scores, AZIMUTH, ELEVATION) == []


def test_a_dip_that_is_not_low_enough_and_a_rim_that_is_not_high_are_no_traps():
    shallow = high_map()
    shallow[10:13, 40:44] = 0.2
    assert find_traps(shallow, AZIMUTH, ELEVATION) == []
    low_rim = np.full((34, 120), 0.4)
    low_rim[10:13, 40:44] = 0.0
    assert find_traps(low_rim, AZIMUTH, ELEVATION) == []
    assert len(find_traps(low_rim, AZIMUTH, ELEVATION, TrapSettings(low=0.1, high=0.35))) == 1


def test_a_diagonal_way_out_opens_a_trap():
    scores = high_map()
    for k in range(12):
        scores[k, 40 + k] = 0.0
    assert find_traps(scores, AZIMUTH, ELEVATION) == []


def test_a_trap_across_the_azimuth_seam_is_one_trap():
    scores = high_map()
    scores[10:13, 118:] = 0.0
    scores[10:13, :2] = 0.0
    (trap,) = find_traps(scores, AZIMUTH, ELEVATION)
    assert trap.area_deg2 == 12 * 9
    half_turn = GridAxis("azimuth_deg", 0, 1.5, 120)
    assert find_traps(scores, half_turn, ELEVATION) == []


def test_a_low_band_between_high_bands_encircles_the_shape():
    scores = high_map()
    scores[10:13] = 0.0
    (trap,) = find_traps(scores, AZIMUTH, ELEVATION)
    assert trap.encircles


def test_a_map_of_one_elevation_has_traps_too():
    scores = np.full((1, 120), 0.9)
    scores[0, 5:8] = 0.0
    level = GridAxis("elevation_deg", 0, 1, 1)
    assert len(find_traps(scores, AZIMUTH, level)) == 1


@given(st.integers(0, 1000), st.integers(0, 119))
def test_turning_the_shape_turns_the_traps(seed, shift):
    smooth = np.random.default_rng(seed).uniform(0, 1, (9, 120))
    level = grid_axis("elevation_deg", 0, 8, 1)
    here = find_traps(smooth, AZIMUTH, level)
    there = find_traps(np.roll(smooth, shift, axis=1), AZIMUTH, level)
    assert sorted((t.elevation_deg, t.area_deg2, t.depth) for t in here) == sorted(
        (t.elevation_deg, t.area_deg2, t.depth) for t in there
    )


def test_labels_cover_the_mask_and_nothing_else():
    mask = np.random.default_rng(0).uniform(size=(20, 30)) < 0.4
    labels, count = label_regions(mask, periodic=True)
    assert np.array_equal(labels > 0, mask)
    assert set(np.unique(labels[mask])) == set(range(1, count + 1))


def test_a_map_that_is_low_throughout_is_one_region_and_no_trap():
    labels, count = label_regions(np.ones((4, 5), bool), periodic=True)
    assert count == 1
    assert (labels == 1).all()
    assert find_traps(np.zeros((34, 120)), AZIMUTH, ELEVATION) == []
