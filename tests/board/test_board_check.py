"""An honest submission passes every check; what `submit` writes is stable and tells nothing of the machine."""

import json
from statistics import fmean

import pytest
from board_place import RANK_BY, TASK, as_before, refused

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.documents import OutcomesDocument
from assay.board.submissions.outcomes import outcomes_document, unpacked
from assay.tasks.families import family


def test_an_honest_submission_passes_every_check(pristine):
    assert pristine.check() == []


def test_submitting_again_gives_the_same_bytes(place):
    before = {path: path.read_bytes() for path in place.submission.rglob("*") if path.is_file()}
    request = SubmitRequest(place.run, place.metadata, "digits_models:linear", "digits-linear")
    assert build_submissions(request, place.board) == [place.submission]
    assert before == {path: path.read_bytes() for path in place.submission.rglob("*") if path.is_file()}


def test_a_submission_holds_nothing_that_follows_from_its_records(pristine):
    held = {
        path.relative_to(pristine.submission).as_posix()
        for path in pristine.submission.rglob("*")
        if path.is_file()
    }
    assert held == {
        "manifest.json", "metadata.yaml", f"results/{TASK}.json", f"records/{TASK}.jsonl.gz", f"provenance/{TASK}.json",
    }  # fmt: skip


def test_a_submission_of_before_passes_every_check_with_what_it_holds(place):
    as_before(place.submission)
    assert (place.submission / f"outcomes/{TASK}.json").is_file()
    assert place.check() == []


def test_records_that_cannot_be_drawn_are_found_before_a_site_draws_them(place, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("nothing to draw")

    monkeypatch.setattr(type(family("adversarial")), "figures", breaks)
    refused(place, "ZeroDivisionError: nothing to draw", "records that can be drawn")


def test_the_outcomes_have_every_headline_metric_as_their_mean(place):
    as_before(place.submission)
    outcomes = json.loads((place.submission / f"outcomes/{TASK}.json").read_text())["metrics"]
    result = json.loads((place.submission / f"results/{TASK}.json").read_text())
    stated = {metric["name"]: metric["value"] for metric in result["metrics"] if metric["headline"]}
    assert RANK_BY in stated
    means = {name: fmean(unpacked(column)) for name, column in outcomes.items()}
    assert means == pytest.approx(stated)


def test_a_column_holds_any_score():
    scores = {"right": [1.0, None, 0.0], "score": [0.5, None, 1.0], "no mean": []}
    document = OutcomesDocument.model_validate_json(outcomes_document(scores).model_dump_json())
    assert document.metrics["right"] == "1-0"
    assert {name: list(unpacked(column)) for name, column in document.metrics.items()} == {
        "right": [1.0, None, 0.0], "score": [0.5, None, 1.0],
    }  # fmt: skip


def test_the_pictures_are_those_of_the_records_alone(place):
    as_before(place.submission)
    index = json.loads((place.submission / f"figures/{TASK}/index.json").read_text())
    assert [picture["file"] for picture in index["pictures"]] == ["accuracy-eps.json"]


def test_the_command_names_no_folder_of_the_machine(pristine):
    result = json.loads((pristine.submission / f"results/{TASK}.json").read_text())
    assert result["command"] == f"assay run --model digits_models:linear --task {TASK} --out out"
