"""Plans: what a run would do, without loading a model, and a run that does exactly that."""

import json
import os
import subprocess
import sys
import time

import pytest

from assay.runner import estimate
from assay.runner.plan import plan_jobs, survey
from small_jobs import chunks, request, run


def plan(assay, task, *more):
    return assay("plan", "--model", "digits_models:linear", "--task", task, "--limit", "60", *more)


def named(task):
    """What the user names again beside a plan."""
    return "--model", "digits_models:linear", "--task", task


def test_a_plan_says_what_there_is_to_do(tmp_path, task, assay):
    code, out, _ = plan(assay, task, "--json")
    (entry,) = json.loads(out)["jobs"]
    (job,) = plan_jobs([request(task)])
    assert code == 0
    assert (entry["key"], entry["chunks"], entry["chunks_stored"], entry["units"]) == (job.key, 6, 0, 60)
    assert entry["seconds_to_go"] > 0
    assert entry["peak_bytes"] > 2**20
    assert not (tmp_path / "o").exists()


def test_a_plan_counts_what_is_stored_and_estimates_from_it(tmp_path, task, assay):
    run([request(task)], tmp_path / "o")
    next((tmp_path / "o").glob("jobs/*/chunks/000000.jsonl")).unlink()
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "o").rglob("*"))
    _, out, _ = plan(assay, task, "--out", tmp_path / "o", "--json", "--calibrate", "0")
    (entry,) = json.loads(out)["jobs"]
    assert entry["chunks_stored"] == 5
    assert entry["seconds_to_go"] > 0
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "o").rglob("*")) == before


def test_a_unit_that_outlasts_the_budget_is_stopped_and_extrapolated(task, monkeypatch):
    told = []

    def slow(_chunk, _device, advance, on_start):
        on_start()
        for _ in range(10):
            time.sleep(0.06)
            told.append(0.1)
            advance(0.1)
        raise AssertionError("nobody stopped it")

    monkeypatch.setattr(estimate, "compute", slow)
    (found,) = estimate.estimates(survey(plan_jobs([request(task)]), None), None, 0.15).values()
    assert len(told) < 10
    assert found.seconds_a_unit >= 0.6


def test_a_plan_is_a_table_for_readers(task, assay):
    _, out, _ = plan(assay, task, "--calibrate", "0")
    assert "0/6" in out
    assert "not measured" in out


def test_a_run_of_a_plan_does_exactly_that(tmp_path, task, assay, undisturbed):
    _, out, _ = plan(assay, task, "--json", "--calibrate", "0")
    (tmp_path / "plan.json").write_text(out)
    code, _, _ = assay(
        "run", "--plan", tmp_path / "plan.json", *named(task), "--out", tmp_path / "o", "--quiet"
    )
    assert code == 0
    assert chunks(tmp_path / "o") == undisturbed


def altered_key(document):
    document["jobs"][0]["key"] = "0" * 64
    return json.dumps(document)


def with_request(document, **fields):
    document["jobs"][0]["request"] |= fields
    return json.dumps(document)


@pytest.mark.parametrize(
    ("alter", "complaint"),
    [
        (altered_key, "is another job than was planned"),
        (lambda document: json.dumps(document | {"schema": 2}), "is not a plan of schema 1"),
        (lambda document: json.dumps(document | {"jobs": [{}]}), "is not a plan"),
        (lambda document: json.dumps(document | {"jobs": []}), "plans no jobs"),
        (lambda document: with_request(document, limit="all"), "limit is 'all'"),
        (lambda document: with_request(document, batch_size=0), "batch_size is 0"),
        (lambda document: with_request(document, colour=1), "other fields than this version's"),
        (lambda document: with_request(document, precision={}), "other fields than this version's"),
        (lambda _document: "{", "cannot be read as a plan"),
        (lambda _document: "[]", "is not a plan"),
    ],
)
def test_what_is_no_plan_or_no_longer_one_is_refused(tmp_path, task, assay, alter, complaint):
    _, out, _ = plan(assay, task, "--json", "--calibrate", "0")
    path = tmp_path / "plan.json"
    path.write_text(alter(json.loads(out)))
    code, _, err = assay("run", "--plan", path, *named(task), "--out", tmp_path / "o")
    assert code == 2
    assert complaint in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "option", [("--data-root", "d"), ("--limit", 3), ("--dtype", "bfloat16"), ("--threads", 2), ("--tf32",)]
)
def test_a_plan_and_what_it_says_already_exclude_each_other(tmp_path, assay, option):
    code, _, err = assay("run", "--plan", "p", *option, "--out", tmp_path / "o")
    assert (code, "leave out the options that `assay plan` was given" in err) == (2, True)


PLAN = [
    "plan",
    "--model",
    "efficientnet_lite0",
    "--task",
    "adversarial/imagenet20",
    "--calibrate",
    "0",
    "--json",
]


def test_a_remembered_model_is_planned_without_torch(tmp_path):
    code = (
        "import sys; from assay.cli import main\n"
        f"try: main({PLAN!r})\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    environment = os.environ | {"ASSAY_CACHE": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        for _ in range(2)
    )
    assert (first.stderr.strip(), second.stderr.strip()) == ("True", "False")
    assert json.loads(first.stdout) == json.loads(second.stdout)
    (tmp_path / "model-cards.json").write_text("{damaged")
    third = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(third.stdout) == json.loads(first.stdout)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("large", "takes 64 x 64 pixels and does not enlarge, the image has 8 x 8"),
        ("two_channels", "takes images of 2"),
    ],
)
def test_a_network_that_takes_no_picture_of_the_data_is_refused_before_any_unit(
    tmp_path, task, assay, model, said
):
    chosen = ("--model", f"picky_nets:{model}", "--task", task)
    assert said in assay("plan", *chosen)[2]
    code, _, errors = assay("run", *chosen, "--out", tmp_path / "o", "--quiet")
    assert code == 2
    assert said in errors
    assert not (tmp_path / "o").exists()
