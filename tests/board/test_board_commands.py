"""The verbs as a contributor and a maintainer type them: exit codes, one sentence for what is wrong."""

import gzip
import json
import shutil
from importlib.resources import files

import pytest
import yaml
from board_place import METADATA, RANK_BY, RESULT, SPEC, TASK, rewrite, use_specs
from sent_runs import copy_of, job_files

from assay.board.submissions.documents import write_schemas
from assay.board.submissions.register import admit, read_register


def test_from_a_run_to_a_row(place, assay, tmp_path):
    board = ("--board", place.board)
    code, out, _ = assay(
        "submit",
        place.run,
        "--metadata",
        place.metadata,
        "--model",
        "digits_models:linear",
        "--name",
        "mine",
        *board,
    )
    assert (code, "every check passed" in out) == (0, True)
    assert "the row of mine, as submitted" in out
    assert f"git add {place.board / 'submissions' / 'mine'}" in out
    assert "weights: not public" in out
    mine = place.board / "submissions" / "mine"
    assert assay("check-submission", mine, *board)[0] == 0
    assert assay("rescore", mine, *board)[0] == 0
    code, out, _ = assay("compare", mine, place.board / "submissions" / "digits-blurred")
    assert code == 0
    assert "Robust accuracy at 1/20, worst of 2 methods" in out
    assert "McNemar" in out
    code, out, _ = assay("leaderboard", "--out", tmp_path / "site", *board)
    assert (code, "3 models" in out) == (0, True)
    row = next(line for line in (place.board / "leaderboard.csv").read_text().splitlines() if "mine," in line)
    assert row.endswith(",submitted")  # no network was asked: arithmetic alone gives no tier


def test_a_demonstration_is_left_out_with_a_word(place, assay, tmp_path):
    """A track's run may hold one; the rest of it is submitted all the same."""
    about = ("--metadata", place.metadata, "--board", place.board, "--model", "digits_models:linear")
    shown = tmp_path / "shown.yaml"
    shown.write_text(SPEC + "demonstration: twenty digits are too few\n")
    run = ("run", "--model", "digits_models:linear", "--task", shown, "--quiet", "--out")
    assert assay(*run, tmp_path / "alone")[0] == 0
    code, _, err = assay("submit", tmp_path / "alone", *about)
    assert (code, "has only results that are left out (shown: it is a demonstration" in err) == (2, True)
    shutil.copytree(place.run, tmp_path / "both")
    assert assay(*run, tmp_path / "both")[0] == 0
    code, out, _ = assay("submit", tmp_path / "both", *about, "--name", "mine")
    assert (code, "shown is left out: it is a demonstration" in out) == (0, True)
    held = sorted(path.name for path in (place.board / "submissions" / "mine" / "results").rglob("*.json"))
    assert held == ["digits.json"]


def test_a_task_that_is_left_out_has_its_reason_in_the_empty_cell(
    place, assay, tmp_path, benchmarks, monkeypatch
):
    """A guard that failed on one task keeps the others from no board."""
    specs = tmp_path / "benchmarks"
    shutil.copytree(benchmarks, specs)
    (specs / "adversarial" / "more.yaml").write_text(SPEC.replace("1/20, 1/10", "1/20, 1/8"))
    use_specs(monkeypatch, specs)
    admit(place.board, "adversarial/more", ())
    run = ("--model", "digits_models:linear", "--quiet", "--out", tmp_path / "both")
    assert assay("run", "--task", TASK, "--task", "adversarial/more", *run)[0] == 0
    about = tmp_path / "about.yaml"
    submit = ("submit", tmp_path / "both", "--metadata", about, "--board", place.board, "--name", "mine")
    mine = place.board / "submissions" / "mine"

    def left_out(task):
        about.write_text(f"{METADATA}without: {{{task}: its gradients are zero}}\n")
        return assay(*submit)

    about.write_text(METADATA)
    assert assay(*submit)[0] == 0  # so that a result has to go when its task is named later
    code, _, err = left_out("adversarial/mor")
    assert (code, "such as adversarial/more" in err) == (2, True)
    code, out, _ = left_out("adversarial/more")
    assert (code, "adversarial/more is left out: its gradients are zero" in out) == (0, True)
    assert [path.name for path in sorted((mine / "results").rglob("*.json"))] == ["digits.json"]

    assert assay("leaderboard", "--out", tmp_path / "site", "--board", place.board)[0] == 0
    found = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert found["rows"]["mine"]["adversarial/more"] == "its gradients are zero"
    page = (tmp_path / "site" / "models" / "mine.html").read_text()
    assert "its gradients are zero" in page

    claims_both = yaml.safe_load((mine / "metadata.yaml").read_text()) | {"without": {TASK: "no reason"}}
    rewrite(mine, {"metadata.yaml": yaml.safe_dump(claims_both).encode()})
    assert any("has no result of" in problem for problem in place.check(mine))


def test_what_fails_a_check_is_not_written_and_what_stood_there_stays(place, assay):
    """A name that looks like another one's is found by the check alone; so is a guard that failed."""
    submit = ("submit", place.run, "--metadata", place.metadata, "--model", "digits_models:linear")
    before = sorted(path.name for path in (place.board / "submissions").iterdir())
    code, out, err = assay(*submit, "--name", "digits-1inear", "--board", place.board)
    assert code == 2
    assert "does not look like 'digits-linear'" in err
    assert "was not written" in err
    assert "git add" not in out
    assert sorted(path.name for path in (place.board / "submissions").iterdir()) == before


def test_weights_have_an_address_or_are_not_public(place, assay, tmp_path):
    about = tmp_path / "about.yaml"
    about.write_text(METADATA + "weights: https://example.org/w.pth\n")
    arguments = (
        "submit",
        place.run,
        "--model",
        "digits_models:linear",
        "--name",
        "mine",
        "--board",
        place.board,
    )
    code, out, _ = assay(*arguments, "--metadata", about)
    assert (code, "weights: not public" in out) == (0, False)
    assay("leaderboard", "--out", tmp_path / "site", "--board", place.board)
    assert 'href="https://example.org/w.pth"' in (tmp_path / "site/models/mine.html").read_text()
    about.write_text(METADATA + "weights: secret\n")
    code, _, err = assay(*arguments, "--metadata", about)
    assert (code, "`weights: not public`" in err) == (2, True)


def test_the_leaderboard_leaves_out_an_edited_record_with_its_reason(place, assay, tmp_path):
    """Whether its manifest was made to fit or not: the figures no longer follow."""
    build = ("leaderboard", "--out", tmp_path / "site", "--board", place.board)
    code, out, _ = assay(*build)
    assert (code, "2 models" in out) == (0, True)
    name = f"records/{TASK}.jsonl.gz"
    lines = gzip.decompress((place.submission / name).read_bytes()).splitlines(keepends=True)
    edited = gzip.compress(b"".join([lines[0], lines[0], *lines[2:]]))
    (place.submission / name).write_bytes(edited)
    for _ in range(2):
        code, out, err = assay(*build)
        assert (code, "1 models" in out) == (0, True)
        assert "not shown: digits-linear" in err
        assert f"records/{TASK}.jsonl.gz" in err
        assert "digits-linear" not in (place.board / "results_long.csv").read_text()
        rewrite(place.submission, {name: edited})


def test_a_broken_submission_has_exit_code_2_and_a_line_a_problem(place, assay):
    (place.submission / "extra.pth").write_bytes(b"x")
    code, _, err = assay("check-submission", place.submission, "--board", place.board)
    assert code == 2
    assert "extra.pth" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("removed", "complaint"),
    [("paper", "`paper` is missing"), ("code", "`code`"), ("licence", "`licence`"), ("contact", "`contact`")],
)
def test_metadata_without_a_key_say_which_and_what_it_should_be(place, assay, tmp_path, removed, complaint):
    about = tmp_path / "about.yaml"
    about.write_text("".join(line for line in METADATA.splitlines(True) if not line.startswith(removed)))
    code, _, err = assay("submit", place.run, "--metadata", about, "--board", place.board)
    assert code == 2
    assert complaint in err
    assert "it needs" in err


def test_a_limited_run_cannot_be_submitted(place, assay, tmp_path):
    run = (
        "run",
        "--model",
        "digits_models:linear",
        "--task",
        TASK,
        "--out",
        tmp_path / "o",
        "--limit",
        3,
        "--quiet",
    )
    assert assay(*run)[0] == 0
    code, _, err = assay("submit", tmp_path / "o", "--metadata", place.metadata, "--board", place.board)
    assert code == 2
    assert "without --limit" in err
    assert not (place.board / "submissions" / "digits_models--linear").exists()


def test_other_weights_never_replace_a_model_s_results(place, assay):
    arguments = ("--metadata", place.metadata, "--board", place.board, "--name", "digits-linear")
    code, _, err = assay("submit", place.run, "--model", "digits_models:blurred", *arguments)
    assert code == 2
    assert "other weights" in err
    assert place.check() == []


@pytest.mark.parametrize("damage", ["[]", "{}", "\x00", '{"model": {}}'])
def test_a_result_that_cannot_be_read_is_named_and_nothing_is_replaced(place, assay, damage):
    path = place.submission / RESULT
    path.write_text(damage)
    arguments = ("--metadata", place.metadata, "--board", place.board, "--name", "digits-linear")
    code, _, err = assay("submit", place.run, "--model", "digits_models:linear", *arguments)
    assert code == 2
    assert (
        err
        == f"assay: {path}: is not a result as `assay submit` writes it; remove it, or choose another --name\n"
    )
    assert path.read_text() == damage


@pytest.mark.parametrize("command", ["", "assay run --model", "assay run --model 'a", "--model 'a\0.yaml'"])
def test_a_run_whose_command_names_no_model_is_submitted_without_a_card(place, assay, tmp_path, command):
    run = copy_of(place.run, tmp_path / "run")
    for path in job_files(run):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"command": command}))
    arguments = ("--metadata", place.metadata, "--board", place.board, "--name", "digits-linear")
    code, _, err = assay("submit", run, "--model", "digits_models:linear", *arguments)
    if "\0" in command:
        assert (code, err.count("\n")) == (2, 1)
    else:
        assert (code, err) == (0, "")
        assert not (place.submission / "card.yaml").exists()


def test_a_folder_without_a_register_is_a_sentence(assay, tmp_path):
    code, _, err = assay("check-submission", tmp_path, "--board", tmp_path)
    assert (code, "register" in err) == (2, True)


@pytest.mark.parametrize(
    "verb", [("check-submission",), ("rescore",), ("rerun", "--out", "again"), ("rescore", "--challenge")]
)
def test_a_submission_that_is_not_there_is_a_sentence_with_one_that_is_called_alike(place, assay, verb):
    missing = place.submission.with_name(place.submission.name + "x")
    code, out, err = assay(*verb, missing, "--board", place.board)
    assert (code, out) == (2, "")
    assert err.startswith(f"assay: {missing}: there is no such folder; did you mean {place.submission.name}")


def test_admitting_a_task_needs_a_task(place, assay):
    code, _, err = assay("admit", "adversarial/nothing", "--board", place.board)
    assert (code, "unknown task" in err) == (2, True)


def test_a_task_without_a_headline_is_not_admitted(place, assay):
    before = (place.board / "tasks.yaml").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.tasks.task_spec.TaskSpec.headline_key", None)
        code, _, err = assay("admit", TASK, "--board", place.board)
    assert (code, "its spec has no headline" in err) == (2, True)
    assert (place.board / "tasks.yaml").read_bytes() == before


def test_an_admitted_task_is_ranked_by_the_headline_of_its_spec(place):
    entry = read_register(place.board).tasks[TASK]
    assert (entry.rank_by, entry.better) == (RANK_BY, "higher")


def test_the_published_schemas_are_the_documents(tmp_path):
    write_schemas(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    published = {path.name: path.read_text() for path in (files("assay.board") / "schemas").iterdir()}
    assert published == written, "write them again with `make schema`"
