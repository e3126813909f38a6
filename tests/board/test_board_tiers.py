"""Re-scored and re-run: what a maintainer finds, when it counts, and how a planted difference shows."""

import json
import subprocess
import sys

import pytest
from board_place import RANK_BY, TASK, rewrite, use_specs

from assay.board.site.build import build_site
from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.check import Board, other_names
from assay.board.submissions.register import admit, read_register
from assay.board.submissions.tiers import (
    SavedImages,
    compare_results,
    model_of,
    rerun,
    rescore,
    write_finding,
)
from assay.errors import UserError
from assay.results.document import ResultDocument
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs

SAVING = """\
schema: 1
family: adversarial
title: Images that are kept
data: digits
eps: [0, 1/10]
chunk_units: 600
attacks:
  - {method: fgsm}
"""


@pytest.fixture
def against(place):
    return Board(read_register(place.board), other_names(place.board / "submissions"))


def tier_on_the_row(place, tmp_path):
    build_site(place.board, tmp_path / "site")
    models = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["models"]
    return next(model["tier"] for model in models if model["id"] == "digits-linear")


def test_an_honest_submission_is_re_scored_without_a_difference(place, against, tmp_path):
    assert tier_on_the_row(place, tmp_path) == "submitted"
    finding = rescore(place.submission, against, ())
    assert finding.tasks[TASK].differences == ()
    assert finding.tasks[TASK].units_compared == 1797
    write_finding(place.board, place.submission, finding)
    assert tier_on_the_row(place, tmp_path) == "re-scored"


def test_a_finding_holds_only_for_the_files_that_were_looked_at(place, against, tmp_path):
    write_finding(place.board, place.submission, rescore(place.submission, against, ()))
    text = (place.submission / "metadata.yaml").read_text()
    rewrite(place.submission, {"metadata.yaml": text.replace("Apache-2.0", "MIT").encode()})
    assert tier_on_the_row(place, tmp_path) == "submitted"


def test_a_submission_cannot_bring_its_own_tier(place):
    rewrite(place.submission, {"tiers/re-run.json": b"{}"})
    assert any("tiers/re-run.json" in problem for problem in place.check())


@pytest.fixture
def saving(place, tmp_path, monkeypatch):
    """A submission whose run saved its adversarial images; gives its folder, what checks it, and its run."""
    (tmp_path / "specs" / "adversarial").mkdir(parents=True)
    (tmp_path / "specs" / "adversarial" / "saved.yaml").write_text(SAVING)
    use_specs(monkeypatch, tmp_path / "specs")
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    board, run = tmp_path / "board", tmp_path / "run"
    request = JobRequest(
        "digits_models:linear", "adversarial/saved", batch_size=256, switches=("save_adversarial",)
    )
    run_jobs(plan_jobs([request]), run)
    admit(board, "adversarial/saved", "fgsm:robust_accuracy@1/10", "higher", ())
    (folder,) = build_submissions(SubmitRequest(run, place.metadata), board)
    return folder, Board(read_register(board)), run


def test_saved_images_are_shown_to_the_model_again(saving):
    folder, against, run = saving
    finding = rescore(folder, against, (), SavedImages(run)).tasks["adversarial/saved"]
    assert (finding.differences, finding.images_compared) == ((), 2 * 1797)
    assert finding.units_compared == 1797


def test_an_image_that_is_not_what_the_outcome_says_is_a_difference(saving, monkeypatch):
    folder, against, run = saving
    table = "attack  eps  images  accuracy stored (8 bit)  accuracy now  images that differ\n"
    table += "fgsm  0  1797  94.1%  94.1%  none\nfgsm  1/10  1797  31.0%  33.1%  00007 00008\n"
    done = subprocess.CompletedProcess([], 1, stdout=table, stderr="")
    monkeypatch.setattr("assay.board.submissions.tiers.subprocess.run", lambda *_, **__: done)
    (difference,) = rescore(folder, against, (), SavedImages(run)).tasks["adversarial/saved"].differences
    assert "00007 00008" in difference


def test_images_of_another_job_say_nothing(place, against):
    with pytest.raises(UserError, match="saved no images of a job of"):
        rescore(place.submission, against, (), SavedImages(place.run))


def test_a_bad_submission_is_not_even_looked_at(place, against):
    (place.submission / "metadata.yaml").write_text("x")
    with pytest.raises(UserError, match=r"metadata\.yaml.*expected"):
        rescore(place.submission, against, ())


def test_the_whole_job_again_is_equal_and_its_tier_is_on_the_row(place, against, tmp_path):
    request = JobRequest("digits_models:linear", "", batch_size=256)
    finding = rerun(place.submission, against, request, tmp_path / "again")
    assert finding.tasks[TASK].differences == ()
    assert finding.environment["packages"]["torch"]
    write_finding(place.board, place.submission, finding)
    assert tier_on_the_row(place, tmp_path) == "re-run"


def test_a_function_that_a_stranger_named_is_not_called_unseen(place):
    with pytest.raises(UserError, match=r"read it, then add --model digits_models:linear"):
        model_of(place.submission)
    assert model_of(place.submission, "digits_models:linear") == "digits_models:linear"


@pytest.mark.parametrize(
    "name", ["timm/resnet10t.c3_in1k:test", "hf-hub:me/net", "robustbench/Standard:Linf", "onnx:net.onnx"]
)
def test_a_name_of_a_zoo_or_a_file_is_no_function(place, name):
    metadata = place.submission / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("digits_models:linear", name))
    assert model_of(place.submission) == name


def test_another_model_than_the_submission_s_is_refused(place, against, tmp_path):
    with pytest.raises(UserError, match="weights_sha256"):
        rerun(place.submission, against, JobRequest("digits_models:constant", ""), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_figure_outside_its_interval_is_listed(pristine):
    stated = ResultDocument.model_validate_json((pristine.submission / f"results/{TASK}.json").read_text())
    metrics = [
        metric.model_copy(update={"value": metric.ci_low - 0.01}) if metric.name == RANK_BY else metric
        for metric in stated.metrics
    ]
    inside = [
        metric
        if metric.ci_low is None or metric.value is None
        else metric.model_copy(update={"value": (metric.ci_low + metric.value) / 2})
        for metric in stated.metrics
    ]
    assert (
        compare_results(stated, stated.model_copy(update={"metrics": tuple(inside)}), [], []).differences
        == ()
    )
    found = compare_results(stated, stated.model_copy(update={"metrics": tuple(metrics)}), [], [])
    assert len(found.differences) == 1
    assert RANK_BY in found.differences[0]


def test_a_guard_that_fails_in_the_re_run_is_listed(pristine):
    stated = ResultDocument.model_validate_json((pristine.submission / f"results/{TASK}.json").read_text())
    guards = (stated.guards[0].model_copy(update={"passed": False}), *stated.guards[1:])
    found = compare_results(stated, stated.model_copy(update={"guards": guards}), [], [])
    assert stated.guards[0].name in found.differences[0]
