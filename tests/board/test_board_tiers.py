"""Re-scored and re-run: what a maintainer finds, when it counts, and how a planted difference shows."""

import json

import pytest
from board_place import RANK_BY, TASK, rewrite

from assay.board.site.build import build_site
from assay.board.submissions.check import Board, other_names
from assay.board.submissions.documents import SpotCheck, TaskFinding
from assay.board.submissions.register import read_register
from assay.board.submissions.tiers import (
    compare_results,
    model_of,
    rerun,
    rescore,
    write_finding,
)
from assay.common.errors import UserError
from assay.results.document import ResultDocument
from assay.runner.jobs import JobRequest


@pytest.fixture
def against(place):
    return Board(read_register(place.board), other_names(place.board / "submissions"))


def tier_on_the_row(place, tmp_path):
    build_site(place.board, tmp_path / "site")
    models = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["models"]
    return next(model["tier"] for model in models if model["id"] == "digits-linear")


def test_the_arithmetic_of_an_honest_submission_has_no_difference_and_gives_no_tier(place, against, tmp_path):
    assert tier_on_the_row(place, tmp_path) == "submitted"
    finding = rescore(place.submission, against, ())
    assert finding.tasks[TASK].differences == ()
    assert finding.tasks[TASK].units_compared == 1797
    write_finding(place.board, place.submission, finding)
    assert tier_on_the_row(place, tmp_path) == "submitted"  # arithmetic proves no more than that


SHOWN = TaskFinding(
    differences=(), figures_compared=1, units_compared=1, images_compared=1,
    spot_check=SpotCheck(salt="s", eps="1/10", images=20, broken=0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("finding", "tier", "supported"),
    [
        (SHOWN, "re-scored", True),
        (SHOWN.model_copy(update={"images_compared": 0}), "re-scored", False),
        (SHOWN.model_copy(update={"spot_check": None}), "re-scored", False),
        (SHOWN.model_copy(update={"differences": ("one",)}), "re-scored", False),
        (SHOWN, "submitted", False),
        (SHOWN.model_copy(update={"images_compared": 0, "spot_check": None}), "re-run", True),
        (SHOWN.model_copy(update={"differences": ("one",)}), "re-run", False),
    ],
)
def test_a_finding_supports_the_tier_that_it_proves(finding, tier, supported):
    assert finding.supports(tier) == supported


def test_a_finding_holds_only_for_the_files_that_were_looked_at(place, against, tmp_path):
    finding = rescore(place.submission, against, ()).model_copy(update={"tasks": {TASK: SHOWN}})
    write_finding(place.board, place.submission, finding)
    assert tier_on_the_row(place, tmp_path) == "re-scored"
    text = (place.submission / "metadata.yaml").read_text()
    rewrite(place.submission, {"metadata.yaml": text.replace("Apache-2.0", "MIT").encode()})
    assert tier_on_the_row(place, tmp_path) == "submitted"


def test_a_submission_cannot_bring_its_own_tier(place):
    rewrite(place.submission, {"tiers/re-run.json": b"{}"})
    assert any("tiers/re-run.json" in problem for problem in place.check())


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
    with pytest.raises(UserError, match=r"digits_models:linear.* not followed unseen.* --model"):
        model_of(place.submission)
    assert model_of(place.submission, "digits_models:linear") == "digits_models:linear"


def test_a_name_of_timm_s_zoo_is_no_function(place):
    name = "timm/resnet10t.c3_in1k:test"
    metadata = place.submission / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("digits_models:linear", name))
    assert model_of(place.submission) == name


@pytest.mark.parametrize("name", ["hf-hub:me/net", "robustbench/Standard:Linf", "onnx:net.onnx"])
def test_a_name_that_leads_out_of_the_built_in_zoo_is_not_followed_unseen(place, name):
    metadata = place.submission / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("digits_models:linear", name))
    with pytest.raises(UserError, match="not followed unseen"):
        model_of(place.submission)
    assert model_of(place.submission, name) == name


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
