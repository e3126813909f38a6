"""One chart of several models on one task: its curves are the figures of the result documents."""

import json
import re

import pytest

from assay.board.page import run_page
from assay.board.together import MOST, chart_of_models, charts_together, pictures_beside
from assay.runner.assemble import write_report
from assay.tasks.base import Figure
from assay.tasks.corruptions.task import TASK
from assay.tasks.shared.curves import CurvePoint
from small_jobs import JobRequest, run, write_spec

SPEC = "schema: 1\nfamily: corruptions\ntitle: T\ndata: digits-test\ncorruptions: [contrast, shot_noise]\n"
MODELS = ("digits_models:linear", "digits_models:blurred", "digits_fnn")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    task = write_spec(folder, "t", SPEC + "settings: cifar-10-c\nseverities: [1, 3, 5]\nsheets: 0\n")
    return write_report(run([JobRequest(model, task, limit=40) for model in MODELS], folder / "out"))


def test_every_curve_is_a_model_s_own_figures_from_the_clean_pictures_on(report):
    (figure,) = charts_together(report.results)
    traces = {trace["name"]: trace for trace in json.loads(figure.content)["data"]}
    assert set(traces) == {result.model.name for result in report.results}
    for result in report.results:
        trace, known = traces[result.model.name], {metric.name: metric for metric in result.metrics}
        points = [known["clean_accuracy"], *(known[f"mean:accuracy@{severity}"] for severity in (1, 3, 5))]
        assert trace["x"] == [0, 1, 3, 5]
        assert trace["y"] == pytest.approx([point.value for point in points])
        bars = trace["error_y"]
        assert bars["array"] == pytest.approx([point.ci_high - point.value for point in points])
        assert bars["arrayminus"] == pytest.approx([point.value - point.ci_low for point in points])
        assert f"{result.model.name} {points[-1].value:.1%}" in figure.caption
    assert "(n 40)" in figure.caption


def test_the_page_of_a_run_shows_it_once_and_only_where_there_are_several(report):
    page = run_page(report.results, report.figures)
    assert (
        len(re.findall("Mean accuracy over severity, several models", page)) == 2
    )  # its label and its caption
    assert "several models" not in run_page(report.results[:1], report.figures)


def test_it_is_drawn_where_no_model_has_a_chart_of_its_own(report):
    assert "Plotly.newPlot" in run_page(report.results, {})
    assert "plotly.js" in run_page(report.results, {})


def test_only_the_best_are_drawn_where_there_are_too_many_to_tell_apart():
    curves = {f"m{number}": [CurvePoint(1, number / 100, None, None, 9)] for number in range(MOST + 3)}
    figure = chart_of_models(TASK.curves, curves, "T")
    names = [trace["name"] for trace in json.loads(figure.content)["data"]]
    assert names == [f"m{number}" for number in range(MOST + 2, 2, -1)]
    assert "The 3 models below these are left out." in figure.caption


def test_fewer_than_two_curves_make_no_chart():
    assert chart_of_models(TASK.curves, {"a": [CurvePoint(1, 0.5, None, None, 9)], "b": []}, "T") is None


def test_a_hostile_name_is_no_markup_in_the_legend():
    curve = [CurvePoint(1, 0.5, None, None, 9)]
    figure = chart_of_models(TASK.curves, {"<a href='x'>": curve, "b": curve}, "T")
    assert "<a href" not in figure.content


def picture(name, content):
    return Figure(name, f"Title of {name}", "A caption.", "png", content)


def test_pictures_of_one_thing_stand_side_by_side_and_a_models_own_do_not():
    chart = Figure("curve", "Curve", "", "plotly", "{}")
    rows = pictures_beside(
        {"a": [picture("x", b"a"), chart, picture("only a", b"a")], "b": [picture("x", b"b"), chart], "c": []}
    )
    assert [(row.name, [(model, figure.content) for model, figure in row.pictures]) for row in rows] == [
        ("x", [("a", b"a"), ("b", b"b")])
    ]
    assert pictures_beside({"a": [picture("x", b"a")]}) == []


def test_the_page_shows_each_picture_in_one_place_beside_the_other_models(report):
    own = {
        (result.model.name, result.task): [picture("x", result.model.name.encode()), picture("y", b"y")]
        for result in report.results[:2]
    }
    page = run_page(report.results, own)
    family = page.partition('<details class="family" id="corruptions">')[2]
    rows = re.findall(r'<div class="beside".*?</div>', family, re.DOTALL)
    assert [len(re.findall("<img", row)) for row in rows] == [2, 2]
    assert len(re.findall("<img", family)) == 4
    for model, _ in own:
        assert f"{model}: Title of x" in rows[0]
