from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from assay.common.errors import UserError
from assay.tasks.srvr.maps import (
    InterpolatedMaps,
    SemanticMaps,
    best_band_score,
    class_means,
    data_semantic_map,
    grid_axis,
    load_maps,
    save_maps,
)
from assay.tasks.srvr.published import is_published_archive


def make(count=2, seed=0):
    scores = np.random.default_rng(seed).uniform(0, 1, (count, 34, 120)).astype(np.float32)
    return SemanticMaps(
        scores.astype(float),
        np.arange(0, 360, 3.0),
        np.arange(-10, 90, 3.0),
        tuple(f"u{k}" for k in range(count)),
    )


def test_the_published_grid_has_120_by_34_cells():
    azimuth = grid_axis("azimuth_deg", 0, 360, 3, period=360)
    elevation = grid_axis("elevation_deg", -10, 89, 3)
    assert (azimuth.count, azimuth.periodic, azimuth.values[-1]) == (120, True, 357)
    assert (elevation.count, elevation.periodic, elevation.values[-1]) == (34, False, 89)


@pytest.mark.parametrize(
    ("low", "high", "step"), [(-10, 90, 3), (0, 360, 7), (0, 1, 0), (0, 1, -1), (2, 1, 1)]
)
def test_a_step_that_does_not_divide_the_range_is_a_clear_error(low, high, step):
    with pytest.raises(UserError, match="grid of elevation_deg"):
        grid_axis("elevation_deg", low, high, step, period=360)


def test_the_error_names_the_range_that_would_do():
    with pytest.raises(UserError, match="end the range at 89"):
        grid_axis("elevation_deg", -10, 90, 3)


def test_interpolation_is_exact_at_the_cells():
    maps = make()
    azimuth, elevation = maps.axes
    points = np.array(list(product(azimuth.values, elevation.values)))
    values = maps.score([0, 1])(np.array([0, 1]), np.broadcast_to(points, (2, *points.shape)))
    assert np.allclose(values.reshape(2, 120, 34), maps.maps.transpose(0, 2, 1))


@given(st.floats(-1000, 1000), st.floats(-200, 200))
def test_between_cells_it_is_bilinear_with_periodic_azimuth_and_held_elevation(azimuth, elevation):
    maps = make(1)
    padded = np.concatenate((maps.maps[0], maps.maps[0][:, :1]), axis=1)
    oracle = RegularGridInterpolator((np.arange(-10, 90, 3.0), np.arange(0, 361, 3.0)), padded)
    expected = oracle((np.clip(elevation, -10, 89), azimuth % 360))
    found = maps.score([0])(np.array([0]), np.array([[[azimuth, elevation]]]))[0, 0]
    assert found == pytest.approx(float(expected), abs=1e-9)


def test_interpolation_works_in_one_and_three_dimensions():
    line = grid_axis("a", 0, 2, 1)
    one = InterpolatedMaps([[0.0, 1.0, 4.0]], [line], [0])
    assert one(np.array([0]), np.array([[[0.5], [1.5], [9.0]]])).tolist() == [[0.5, 2.5, 4.0]]
    axes = [grid_axis(n, 0, 2, 1) for n in "abc"]
    values = np.add.outer(np.add.outer(np.arange(3), 10 * np.arange(3)), 100 * np.arange(3))
    three = InterpolatedMaps([values], axes, [0])
    assert three(np.array([0]), np.array([[[0.5, 1.25, 1.75]]]))[0, 0] == pytest.approx(0.5 + 12.5 + 175)


def test_each_search_reads_its_own_map():
    maps = SemanticMaps(np.array([[[0.1]], [[0.7]]]), np.array([0.0]), np.array([0.0]), ("a", "b"))
    found = maps.score([1, 0, 1])(np.array([0, 1, 2]), np.zeros((3, 1, 2)))
    assert found[:, 0].tolist() == [0.7, 0.1, 0.7]


def test_maps_survive_a_file(tmp_path):
    maps = make(3)
    save_maps(tmp_path / "maps.npz", maps)
    again = load_maps(tmp_path / "maps.npz")
    assert np.allclose(again.maps, maps.maps, atol=1e-7)
    assert again.unit_id == maps.unit_id
    assert np.array_equal(again.elevation_deg, maps.elevation_deg)
    with np.load(tmp_path / "maps.npz") as arrays:
        assert set(arrays.files) == {"maps", "azimuth_deg", "elevation_deg", "unit_id"}


def test_a_missing_file_and_missing_arrays_are_clear_errors(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_maps(tmp_path / "none.npz")
    np.savez(tmp_path / "part.npz", maps=np.zeros((1, 2, 2)))
    with pytest.raises(UserError, match="lacks azimuth_deg, elevation_deg, unit_id"):
        load_maps(tmp_path / "part.npz")


def damaged(path):
    """Some bytes of an array turned over."""
    whole = path.read_bytes()
    middle = len(whole) // 3
    turned = bytes(255 - byte for byte in whole[middle : middle + 40])
    path.write_bytes(whole[:middle] + turned + whole[middle + 40 :])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not an archive"),
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        damaged,
        lambda path: path.with_suffix(".npy").replace(path),
        lambda path: np.savez(path, maps=np.array([object()]), allow_pickle=True),
    ],
    ids=["empty", "text", "cut off", "damaged", "one array", "objects"],
)
def test_a_file_that_is_no_whole_archive_is_a_clear_error(tmp_path, spoil):
    path = tmp_path / "maps.npz"
    save_maps(path, make(3))
    np.save(path.with_suffix(".npy"), np.zeros(3))
    spoil(path)
    with pytest.raises(UserError, match=r"not a readable \.npz file"):
        load_maps(path)
    assert not is_published_archive(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"maps": np.full((1, 1, 4), 50.0)}, "from 50 to 50; give probabilities"),
        ({"maps": np.full((1, 1, 4), np.inf)}, "give probabilities"),
        ({"maps": np.full((1, 1, 4), "a")}, "holds something other than numbers"),
        ({"maps": np.zeros((0, 1, 4)), "unit_id": np.zeros(0)}, "holds no map"),
        ({"maps": np.zeros((1, 4))}, "call for"),
    ],
)
def test_what_is_no_map_is_a_clear_error(tmp_path, changes, complaint):
    good = {
        "maps": np.zeros((1, 1, 4)),
        "azimuth_deg": np.arange(4) * 90.0,
        "elevation_deg": 0.0,
        "unit_id": "a",
    }
    np.savez(tmp_path / "good.npz", **good)
    assert load_maps(tmp_path / "good.npz").unit_id == ("a",)
    np.savez(tmp_path / "bad.npz", **good | changes)
    with pytest.raises(UserError, match=complaint):
        load_maps(tmp_path / "bad.npz")


def test_maps_with_holes_shapes_that_disagree_and_uneven_axes_are_clear_errors():
    maps = make(1)
    maps.maps[0, 3, 4] = np.nan
    with pytest.raises(UserError, match=r"u0.*missing or NaN"):
        maps.score([0])
    with pytest.raises(UserError, match="call for"):
        SemanticMaps(np.zeros((1, 2, 3)), np.arange(2.0), np.arange(3.0), ("a",))
    uneven = SemanticMaps(np.zeros((1, 1, 3)), np.array([0.0, 1, 5]), np.zeros(1), ("a",))
    with pytest.raises(UserError, match="azimuth_deg must rise in equal steps"):
        uneven.score([0])


def test_the_data_semantic_map_is_the_mean_over_networks_and_shapes():
    first, second = make(2, seed=1), make(2, seed=2)
    mean = data_semantic_map([first, second])
    assert np.allclose(mean, (first.maps.sum(0) + second.maps.sum(0)) / 4)
    other = SemanticMaps(np.zeros((1, 1, 2)), np.arange(2.0), np.zeros(1), ("a",))
    with pytest.raises(UserError, match="different grids"):
        data_semantic_map([first, other])
    with pytest.raises(UserError, match="no semantic maps"):
        data_semantic_map([])


def test_a_class_s_mean_is_over_its_maps_of_all_networks():
    maps = make(3)
    means = class_means(maps, ["cup", "vase", "cup"])
    assert list(means) == ["cup"]
    assert np.allclose(means["cup"], (maps.maps[0] + maps.maps[2]) / 2)
    assert class_means(maps, ["cup"] * 3) == {}


def test_the_best_band_is_the_elevation_with_the_highest_mean():
    assert best_band_score(np.array([[0.0, 0.1], [0.2, 0.4], [0.9, np.nan]])) == pytest.approx(0.9)
