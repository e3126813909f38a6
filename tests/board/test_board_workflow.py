"""The workflows: no more rights than a job needs; and where submissions are read, nothing of a stranger runs."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
EVERY = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
EVENTS = True  # YAML 1.1 reads the key `on` so


@pytest.fixture(scope="module")
def workflow():
    path = REPOSITORY / ".github" / "workflows" / "leaderboard.yml"
    if not path.is_file():
        pytest.skip("the workflow is part of the checkout, not of an installed package")
    return yaml.safe_load(path.read_text())


def steps(workflow):
    return [(name, step) for name, job in workflow["jobs"].items() for step in job["steps"]]


def test_a_pull_request_has_no_more_than_the_right_to_read(workflow):
    # Never pull_request_target, which has the secrets.
    assert set(workflow[EVENTS]) == {"pull_request", "push"}
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["check"]["permissions"] == {"contents": "read"}
    assert "push" in workflow["jobs"]["publish"]["if"]


@EVERY
def test_every_action_is_pinned_by_its_hash_and_every_job_says_what_it_may(path):
    text = path.read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, version in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", version), f"{action}: say which release that is"
    document = yaml.safe_load(text)
    assert document["permissions"] == {}
    allowed = {"contents": {"read"}, "pages": {"write"}, "id-token": {"write"}}
    for name, job in document["jobs"].items():
        assert all(right in allowed[what] for what, right in job["permissions"].items()), name
        assert ("pages" in job["permissions"]) == (name == "publish")
        assert 0 < job["timeout-minutes"] <= 120, name
    assert set(document[EVENTS]) <= {"pull_request", "push"}


def test_an_action_has_one_release_in_all_workflows():
    used = {action for path in WORKFLOWS for action in re.findall(r"uses: (\S+)", path.read_text())}
    assert len(used) == len({action.partition("@")[0] for action in used})


@EVERY
def test_no_text_of_a_stranger_becomes_a_part_of_a_command(path):
    found = steps(yaml.safe_load(path.read_text()))
    assert [step["run"] for _, step in found if "${{" in step.get("run", "")] == []


@EVERY
def test_no_checkout_leaves_a_token_behind(path):
    found = steps(yaml.safe_load(path.read_text()))
    checkouts = [step for _, step in found if "actions/checkout" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_a_pull_request_gets_what_a_developer_runs_by_hand():
    """Whatever it changes: no filter of paths, and the one command."""
    document = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "tests.yml").read_text())
    assert document[EVENTS]["pull_request"] is None
    assert [step["run"] for name, step in steps(document) if name == "test" and "run" in step] == [
        "make test"
    ]
    rights = {name: job["permissions"] for name, job in document["jobs"].items()}
    assert rights == {name: {"contents": "read"} for name in ("test", "other-systems")}


def test_windows_and_macos_have_a_row_each_with_tests_that_are_there():
    document = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "tests.yml").read_text())
    job = document["jobs"]["other-systems"]
    assert sorted(system.split("-")[0] for system in job["strategy"]["matrix"]["system"]) == [
        "macos",
        "windows",
    ]
    named = [
        word for step in job["steps"] for word in step.get("run", "").split() if word.startswith("tests/")
    ]
    assert named
    assert all((REPOSITORY / name).is_file() for name in named)


def test_only_the_base_branch_s_code_is_set_up_and_run_on_a_pull_request(workflow):
    own = [step for name, step in steps(workflow) if name == "check"]
    refs = {step["with"]["path"]: step["with"]["ref"] for step in own if "checkout" in step.get("uses", "")}
    assert "base.sha" in refs["trusted"]
    for step in own:
        assert "working-directory" not in step  # a program that starts among a stranger's files may load them
        for line in step.get("run", "").splitlines():
            if "proposed" in line:
                assert line.split()[:2] == ["trusted/.venv/bin/assay", "check-pull-request"]
