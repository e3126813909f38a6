"""An honest submission passes every check; what `submit` writes is stable and tells nothing of the machine."""

import json

import pytest
from board_place import RANK_BY, TASK

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.register import read_register


def test_an_honest_submission_passes_every_check(pristine):
    assert pristine.check() == []


def test_submitting_again_gives_the_same_bytes(place):
    before = {path: path.read_bytes() for path in place.submission.rglob("*") if path.is_file()}
    request = SubmitRequest(place.run, place.metadata, "digits_models:linear", "digits-linear")
    assert build_submissions(request, place.board, read_register(place.board)) == [place.submission]
    assert before == {path: path.read_bytes() for path in place.submission.rglob("*") if path.is_file()}


def test_the_outcomes_have_the_ranking_metric_as_their_mean(pristine):
    outcomes = json.loads((pristine.submission / f"outcomes/{TASK}.json").read_text())
    result = json.loads((pristine.submission / f"results/{TASK}.json").read_text())
    stated = next(metric["value"] for metric in result["metrics"] if metric["name"] == RANK_BY)
    assert outcomes["metric"] == RANK_BY
    assert sum(outcomes["values"]) / len(outcomes["values"]) == pytest.approx(stated)


def test_the_command_names_no_folder_of_the_machine(pristine):
    result = json.loads((pristine.submission / f"results/{TASK}.json").read_text())
    assert result["command"] == f"assay run --model digits_models:linear --task {TASK} --out out"
