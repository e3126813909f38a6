"""What is drawn: the heat map, the curves and the sheet, with the figures that stand in them."""

import io
import json

import pytest
from PIL import Image

from assay.data.draw import Draw
from assay.tasks.corruptions.task import TASK


@pytest.fixture
def found(run_digits):
    return run_digits(limit=12)


def figures(found):
    return {figure.name: figure for figure in TASK.figures(found.spec, found.records)}


def test_the_heat_map_has_every_cell_and_both_means(found):
    (trace,) = json.loads(figures(found)["heat-map"].content)["data"]
    assert trace["y"] == ["gaussian noise", "impulse noise", "contrast", "pixelate", "mean"]
    assert trace["x"] == ["1", "2", "3", "4", "5", "mean"]
    assert trace["z"][2][4] == pytest.approx(found.metrics["contrast:accuracy@5"].value)
    assert trace["z"][0][5] == pytest.approx(found.metrics["gaussian_noise:accuracy"].value)
    assert trace["z"][4][5] == pytest.approx(found.metrics["mean_accuracy"].value)


def test_the_curves_begin_with_the_clean_pictures(found):
    *each, mean = json.loads(figures(found)["severity"].content)["data"]
    assert len(each) == 4
    assert mean["x"] == [0, 1, 2, 3, 4, 5]
    assert mean["y"][0] == pytest.approx(found.metrics["clean_accuracy"].value)
    assert mean["y"][3] == pytest.approx(found.metrics["mean:accuracy@3"].value)


def test_the_sheet_shows_the_first_image_under_all_corruptions(found):
    figure = figures(found)["sheet-0"]
    assert found.records[0].unit_id in figure.caption
    with Image.open(io.BytesIO(figure.content)) as sheet:
        assert sheet.width > 500
        assert len(sheet.convert("RGB").getcolors(1 << 20)) > 10
    assert "sheet-1" not in figures(found)


def test_no_sheet_where_none_is_wanted(run_digits):
    found = run_digits(lines="corruptions: [contrast]\nsettings: cifar-10-c\nsheets: 0", limit=2)
    assert set(figures(found)) == {"heat-map", "severity"}


def test_the_worst_corruption_of_two_networks_is_compared_over_images(run_digits):
    """Each side's own worst: the difference is that of the figures, whichever corruptions they are."""
    from assay.tasks.corruptions.task import TASK

    one, other = (run_digits(limit=12, model=f"digits_models:{name}") for name in ("linear", "constant"))
    (found,) = TASK.paired(one.spec, one.records, other.records).values()
    gap = one.metrics["worst_corruption_accuracy"].value - other.metrics["worst_corruption_accuracy"].value
    assert found.difference == pytest.approx(gap)
    assert (found.n, found.of) == (12, "images")
    same = TASK.paired(one.spec, one.records, one.records)["worst_corruption_accuracy"]
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("draw", [Draw.FIRST, Draw.BALANCED])
def test_a_sheet_is_drawn_of_a_limited_job_s_first_image(run_digits, draw):
    """Of a draw, the first of the data set need not be among them: the first drawn has the sheet."""
    found = run_digits(limit=2, draw=draw)
    assert [bool(record.files) for record in found.records] == [True, False]
