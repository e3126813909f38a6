"""Forged results: figures, units, pictures, specs and commands that do not follow from the records are refused."""

import io
import json

import numpy as np
import pytest
from board_place import (
    RANK_BY,
    RECORDS,
    RESULT,
    TASK,
    as_before,
    edit_result,
    lines,
    put_lines,
    refused,
    rewrite,
)
from PIL import Image

from assay.board.submissions import reader
from assay.board.submissions.pictures import _same_png


def test_more_units_than_the_data_set_has(place):
    extra = json.loads(lines(place)[0])
    extra["unit_id"] = "one-more"
    put_lines(place, [*lines(place), json.dumps(extra).encode() + b"\n"])
    refused(place, RECORDS, "records", "found 1798", "expected 1797")

    edit_result(place.submission, lambda document: document["coverage"].update(units=5000, done=5000))
    refused(place, RESULT, "coverage.units", "found 5000", "expected 1797")


def test_figures_that_do_not_follow_from_the_records(place):
    def better(document):
        metric = next(
            metric for metric in document["metrics"] if metric["name"] == "fgsm:robust_accuracy@1/10"
        )
        metric["value"] = 0.99

    edit_result(place.submission, better)
    refused(
        place, RESULT, "metrics.fgsm:robust_accuracy@1/10.value", "found 0.99", "follows from the records"
    )


def test_a_guard_that_failed_and_is_said_to_have_passed(place):
    changed = [line.replace(b'"in_box":true', b'"in_box":false') for line in lines(place)]
    put_lines(place, changed)
    refused(place, RESULT, "guards.inside_the_pixel_range.passed", "expected False")


def test_a_guard_that_failed(place):
    edit_result(place.submission, lambda document: document["guards"][0].update(passed=False))
    refused(place, RESULT, "guards.eps_zero_is_clean", "expected passed")


def test_a_unit_given_twice(place):
    changed = lines(place)
    changed[7] = changed[6]
    put_lines(place, changed)
    refused(place, RECORDS, "unit_id", "2 times", "every unit once")


def test_units_of_other_data(place):
    put_lines(place, [line.replace(b'"unit_id":"', b'"unit_id":"x') for line in lines(place)])
    refused(place, RECORDS, "the ids of the data set")


def test_a_picture_of_one_s_own(place):
    as_before(place.submission)
    name = f"figures/{TASK}/evil.png"
    rewrite(place.submission, {name: b"<svg onload=alert(1)>"})
    refused(place, f"figures/{TASK}/index.json", "evil.png", "each picture of the records")


def _redrawn(chart):
    chart["data"][0]["y"] = [1.0] * 3


def _titled(chart):
    chart["layout"]["title"] = "<a href='https://evil.example'>x</a>"


def _loading(chart):
    chart["layout"]["images"] = [{"source": "https://evil.example/x.png"}]


@pytest.mark.parametrize("change", [_redrawn, _titled, _loading])
def test_a_chart_that_does_not_follow_from_the_records(place, change):
    as_before(place.submission)
    name = f"figures/{TASK}/accuracy-eps.json"
    chart = json.loads((place.submission / name).read_text())
    change(chart)
    rewrite(place.submission, {name: json.dumps(chart).encode()})
    refused(place, name, "another picture", "the one that follows from the records")


def test_a_caption_that_does_not_follow_from_the_records(place):
    as_before(place.submission)
    name = f"figures/{TASK}/index.json"
    index = (place.submission / name).read_text().replace("Accuracy under attack", "Proved to be safe")
    rewrite(place.submission, {name: index.encode()})
    refused(place, name, "another picture")


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_compared_by_what_it_shows():
    pixels = np.random.default_rng(0).integers(3, 250, (20, 30, 3), dtype=np.uint8)
    rounded_elsewhere, painted = pixels + np.uint8(1), pixels.copy()
    painted[4:7, 5:9] = 250
    assert _same_png("p", _png(rounded_elsewhere), _png(pixels))
    assert not _same_png("p", _png(painted), _png(pixels))
    assert not _same_png("p", _png(pixels[:10]), _png(pixels))
    for damaged in (b"<svg onload=alert(1)>", _png(pixels)[:-80]):
        with pytest.raises(reader.UnreadableError, match="a PNG"):
            _same_png("p", damaged, _png(pixels))


def test_the_spec_hash_of_another_spec(place):
    edit_result(place.submission, lambda document: document.update(spec_sha256="1" * 64))
    refused(place, RESULT, "spec_sha256", "1" * 64)


def test_an_easier_spec_under_the_same_name(place):
    edit_result(place.submission, lambda document: document["spec"].update(eps=["0", "1/100", "1/90"]))
    refused(place, RESULT, "`spec`")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", {"sha256": "2" * 64}),
        ("model", {"weights_sha256": "3" * 64}),
        ("model", {"architecture": "other"}),
    ],
)
def test_other_data_or_weights_than_the_job_s(place, field, value):
    edit_result(place.submission, lambda document: document[field].update(value))
    refused(place, RESULT, "job_key")


@pytest.mark.parametrize(
    "command", ["rm -rf ~", "assay run --model x --task y --out out; rm -rf ~", "assay run 'x"]
)
def test_a_command_that_is_not_the_job_s(place, command):
    edit_result(place.submission, lambda document: document.update(command=command))
    refused(place, RESULT, "command", "expected assay run --model digits_models:linear")


@pytest.mark.parametrize(
    "change", [{"status": "partial"}, {"coverage": {"units": 1797, "done": 5, "errors": 0, "limited": True}}]
)
def test_partial_and_limited_results(place, change):
    edit_result(place.submission, lambda document: document.update(change))
    refused(place, RESULT, "--limit")


def _reversed(metrics):
    metrics[RANK_BY] = metrics[RANK_BY][::-1]  # the same mean


def _better(metrics):
    metrics[RANK_BY] = metrics[RANK_BY].replace("0", "1", 1)


def _shorter(metrics):
    metrics[RANK_BY] = metrics[RANK_BY][1:]


def _of_nothing(metrics):
    metrics["my own figure"] = metrics[RANK_BY]


@pytest.mark.parametrize("change", [_reversed, _better, _shorter, _of_nothing])
def test_outcomes_that_are_not_the_records(place, change):
    as_before(place.submission)
    name = f"outcomes/{TASK}.json"
    outcomes = json.loads((place.submission / name).read_text())
    change(outcomes["metrics"])
    rewrite(place.submission, {name: json.dumps(outcomes).encode()})
    refused(place, name)
