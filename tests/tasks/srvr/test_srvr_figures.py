import io

import numpy as np
from PIL import Image

from assay.tasks.srvr.figures import (
    RegionMark,
    contact_sheet,
    map_figure,
    map_grid_figure,
    profile_figure,
    trace_figure,
)
from assay.tasks.srvr.maps import grid_axis
from assay.tasks.srvr.traps import find_traps

AZIMUTH = grid_axis("azimuth_deg", 0, 360, 30, period=360)
ELEVATION = grid_axis("elevation_deg", -10, 80, 30)
SCORES = np.full((4, 12), 0.9)
SCORES[1:3, 4] = 0.0


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_regions_and_traps_leave_their_mark_on_a_map():
    plain = pixels(map_figure(SCORES, AZIMUTH, ELEVATION, "cup"))
    region = RegionMark("naive", (30.0, 0.0), (120.0, 40.0), (50.0, 20.0))
    marked = pixels(map_figure(SCORES, AZIMUTH, ELEVATION, "cup", [region]))
    trapped = pixels(
        map_figure(SCORES, AZIMUTH, ELEVATION, "cup", traps=find_traps(SCORES, AZIMUTH, ELEVATION))
    )
    assert plain.shape == marked.shape
    assert 50 < (plain != marked).any(-1).sum() < 0.2 * plain[..., 0].size
    assert (plain != trapped).any()


def test_equal_inputs_give_equal_files():
    assert map_figure(SCORES, AZIMUTH, ELEVATION, "cup") == map_figure(SCORES, AZIMUTH, ELEVATION, "cup")


def test_traces_profiles_and_contact_sheets_are_pictures():
    trace = np.cumsum(np.random.default_rng(0).normal(size=(50, 2, 2)), axis=0)
    pictures = [
        trace_figure({"naive": trace, "OIR_B": trace + 1}, ("azimuth_deg", "elevation_deg"), "bounds"),
        trace_figure({"naive": trace[:, :, :1]}, ("azimuth_deg",), "bounds"),
        profile_figure({"lite0": SCORES[1], "lite1": SCORES[2]}, AZIMUTH, "profile"),
        contact_sheet(np.random.default_rng(0).uniform(size=(7, 16, 16)), [f"view {k}" for k in range(7)]),
    ]
    for png in pictures:
        assert pixels(png).std() > 1


def test_a_grid_of_maps_has_two_in_a_row():
    traps = find_traps(SCORES, AZIMUTH, ELEVATION)
    grids = [
        pixels(map_grid_figure({str(k): (SCORES, traps) for k in range(n)}, AZIMUTH, ELEVATION, "t"))
        for n in (1, 2, 3)
    ]
    assert grids[0].shape[0] == grids[1].shape[0] < grids[2].shape[0]
    assert grids[0].shape[1] < grids[1].shape[1] == grids[2].shape[1]


def test_a_contact_sheet_has_a_row_for_every_six_views():
    heights = [
        pixels(contact_sheet(np.zeros((count, 8, 8)), [""] * count)).shape[0] for count in (6, 7, 12, 13)
    ]
    assert heights[0] < heights[1] == heights[2] < heights[3]
