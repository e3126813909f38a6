"""A pull request as the maintainers' check sees it: nobody touches what belongs to somebody else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from board_place import rewrite

from assay.board.submissions.proposal import SUBMISSIONS, Proposal, check_proposal
from assay.cli import main
from assay.common.errors import UserError

ME, OWNER = "https://example.org/me", "someone@example.org"
MINE, OTHER = SUBMISSIONS / "digits-linear", SUBMISSIONS / "digits-blurred"
WORKFLOW = Path(__file__).resolve().parents[2] / ".github" / "workflows" / "leaderboard.yml"


def git(folder, *arguments):
    who = ["-c", "user.name=A. Stranger", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", "a change")


def describe(folder, **keys):
    """Change keys of a submission's metadata, and list them in its manifest as an honest author does."""
    about = yaml.safe_load((folder / "metadata.yaml").read_text()) | keys
    rewrite(folder, {"metadata.yaml": yaml.safe_dump(about).encode()})


@pytest.fixture
def workspace(pristine, tmp_path):
    """`trusted`, the branch with my submission and another's, and `proposed`, a clone that a test changes."""
    trusted = tmp_path / "trusted"
    shutil.copytree(pristine.board, trusted / "leaderboard")
    (trusted / "README.md").write_text("ours\n")
    describe(trusted / MINE, contact=ME)
    git(tmp_path, "init", "-q", "-b", "main", trusted)
    commit(trusted)
    git(tmp_path, "clone", "-q", trusted, tmp_path / "proposed")
    return tmp_path


def found(workspace, author=ME):
    """What the check finds: about files elsewhere, and by folder."""
    commit(workspace / "proposed")
    return judged(workspace, author)


def judged(workspace, author=ME):
    base = git(workspace / "trusted", "rev-parse", "HEAD")
    git(workspace / "proposed", "fetch", "-q", "origin")
    proposal = Proposal(workspace / "proposed", base, author)
    elsewhere, findings = check_proposal(proposal, workspace / "trusted" / "leaderboard")
    return list(map(str, elsewhere)), {one.name: list(map(str, one.problems)) for one in findings}


def another_model(submissions, name, **keys):
    """A sound submission under a new name."""
    shutil.copytree(submissions / "digits-linear", submissions / name)
    describe(submissions / name, name=name, **keys)


def test_a_new_model_is_checked_and_nothing_else(workspace):
    another_model(workspace / "proposed" / SUBMISSIONS, "newcomer")
    assert found(workspace) == ([], {"newcomer": []})


def test_one_s_own_submission_can_be_changed_and_withdrawn(workspace):
    describe(workspace / "proposed" / MINE, note="with the paper's second version")
    assert found(workspace, f"{ME.upper()}/") == ([], {"digits-linear": []})
    shutil.rmtree(workspace / "proposed" / MINE)
    assert found(workspace) == ([], {"digits-linear": []})


def test_a_change_of_one_s_own_submission_is_checked(workspace):
    (workspace / "proposed" / MINE / "extra.pth").write_bytes(b"x")
    elsewhere, folders = found(workspace)
    assert elsewhere == []
    assert "weights never travel" in folders["digits-linear"][0]


def alter(folder):
    describe(folder, licence="MIT")


def take_over(folder):
    describe(folder, contact=ME)


def add_a_file(folder):
    (folder / "provenance" / "adversarial" / "other.json").write_text("{}")


def remove_a_file(folder):
    (folder / "manifest.json").unlink()


def rename(folder):
    another_model(folder.parent, "mine")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (alter, "a change"), (take_over, "a change"), (add_a_file, "a change"), (remove_a_file, "a change"),
        (shutil.rmtree, "its removal"), (rename, "its removal"),
    ],
)  # fmt: skip
def test_another_s_submission_is_left_alone(workspace, change, what):
    change(workspace / "proposed" / OTHER)
    _, folders = found(workspace)
    (problem,) = [text for text in folders["digits-blurred"] if "`owner`" in text]
    assert f"{what} by {ME}" in problem
    assert f"expected a change by its contact, {OWNER}, or by a maintainer" in problem


@pytest.mark.parametrize("author", ["", "someone", f"{OWNER}.example", "maintainers"])
def test_nearly_the_owner_is_not_the_owner(workspace, author):
    shutil.rmtree(workspace / "proposed" / OTHER)
    assert "`owner`" in found(workspace, author)[1]["digits-blurred"][0]


def test_a_maintainer_may_do_all_of_it_and_what_is_left_is_checked(workspace):
    proposed = workspace / "proposed"
    shutil.rmtree(proposed / OTHER)
    (proposed / "README.md").write_text("better\n")
    (proposed / MINE / "extra.pth").write_bytes(b"x")
    elsewhere, folders = found(workspace, author=None)
    assert elsewhere == []
    assert folders["digits-blurred"] == []
    assert "weights never travel" in folders["digits-linear"][0]


def test_a_folder_whose_contact_cannot_be_read_is_nobody_s(workspace):
    (workspace / "trusted" / OTHER / "metadata.yaml").write_text("x")
    alter(workspace / "proposed" / OTHER)
    assert "its contact, which cannot be read" in found(workspace)[1]["digits-blurred"][0]


def test_a_stranger_does_not_speak_for_the_maintainers(workspace):
    another_model(workspace / "proposed" / SUBMISSIONS, "newcomer", contact="maintainers")
    (problem,) = found(workspace)[1]["newcomer"]
    assert "expected an address of your own" in problem
    assert judged(workspace, author=None) == ([], {"newcomer": []})


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "leaderboard/tasks.yaml", "leaderboard/tiers/digits-linear/re-run.json",
        ".github/workflows/leaderboard.yml", f"{SUBMISSIONS}/index.html", "Leaderboard/submissions/x/y",
        "leaderboard/submissionsx/y/z",
    ],
)  # fmt: skip
def test_files_elsewhere_are_named(workspace, name):
    path = workspace / "proposed" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    ((problem,), folders) = found(workspace)
    assert problem.startswith(f"{name}: `path`: ")
    assert folders == {}


def test_many_files_elsewhere_are_counted(workspace):
    for number in range(30):
        (workspace / "proposed" / f"{number}.txt").write_text("mine")
    elsewhere, _ = found(workspace)
    assert len(elsewhere) == 11
    assert "20 more files" in elsewhere[-1]


def test_a_link_in_the_place_of_a_folder_is_a_file_elsewhere(workspace):
    (workspace / "proposed" / SUBMISSIONS / "x").symlink_to("/etc")
    (problem,), folders = found(workspace)
    assert (f"{SUBMISSIONS}/x" in problem, folders) == (True, {})


def test_another_repository_in_the_place_of_a_folder_is_a_file_elsewhere(workspace):
    """Also where the change says that such a change is to be ignored."""
    proposed = workspace / "proposed"
    name, sha = f"{SUBMISSIONS}/x", git(proposed, "rev-parse", "HEAD")
    (proposed / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = {name}\n\turl = /etc\n\tignore = all\n')
    (proposed / name).mkdir()
    git(proposed, "update-index", "--add", "--cacheinfo", f"160000,{sha},{name}")
    elsewhere, _ = found(workspace)
    assert [problem.partition(":")[0] for problem in elsewhere] == [".gitmodules", name]


def test_what_others_did_meanwhile_is_not_this_change(workspace):
    another_model(workspace / "proposed" / SUBMISSIONS, "newcomer")
    commit(workspace / "proposed")
    shutil.rmtree(workspace / "trusted" / OTHER)
    (workspace / "trusted" / "README.md").write_text("newer\n")
    commit(workspace / "trusted")
    assert judged(workspace) == ([], {"newcomer": []})


def test_a_name_that_somebody_took_meanwhile_is_theirs(workspace):
    another_model(workspace / "proposed" / SUBMISSIONS, "newcomer", contact=ME)
    commit(workspace / "proposed")
    another_model(workspace / "trusted" / SUBMISSIONS, "newcomer", contact=OWNER)
    commit(workspace / "trusted")
    assert "`owner`" in judged(workspace)[1]["newcomer"][0]


def test_two_names_of_one_change_that_look_alike(workspace):
    for name in ("newcomer1", "newcomerl"):
        another_model(workspace / "proposed" / SUBMISSIONS, name)
    _, folders = found(workspace)
    assert all("does not look like" in problems[0] for problems in folders.values())


def test_a_submission_may_move_to_a_name_that_looks_like_its_own(workspace):
    submissions = workspace / "proposed" / SUBMISSIONS
    another_model(submissions, "digits_linear")
    shutil.rmtree(submissions / "digits-linear")
    assert found(workspace) == ([], {"digits-linear": [], "digits_linear": []})


@pytest.mark.parametrize("base", ["0" * 40, "--output=x", "nothing"])
def test_a_base_that_is_not_there_is_a_sentence(workspace, base):
    with pytest.raises(UserError, match="cannot be compared with"):
        check_proposal(Proposal(workspace / "proposed", base, ME), workspace / "trusted" / "leaderboard")
    assert not (workspace / "proposed" / "x").exists()


def run_verb(capsys, workspace, *arguments):
    board = ("--base", "origin/main", "--board", str(workspace / "trusted" / "leaderboard"))
    with pytest.raises(SystemExit) as caught:
        main(["check-pull-request", str(workspace / "proposed"), *board, *arguments])
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


def test_the_verb_says_what_was_found(capsys, workspace):
    assert run_verb(capsys, workspace, "--author", ME)[:2] == (
        0,
        f"{workspace}/proposed: changes no submission\n",
    )
    another_model(workspace / "proposed" / SUBMISSIONS, "newcomer")
    commit(workspace / "proposed")
    assert run_verb(capsys, workspace, "--author", ME)[:2] == (0, "newcomer: every check passed\n")
    shutil.rmtree(workspace / "proposed" / OTHER)
    (workspace / "proposed" / "README.md").unlink()
    commit(workspace / "proposed")
    code, out, err = run_verb(capsys, workspace, "--author", ME)
    assert (code, out) == (2, "digits-blurred: 1 problem\nnewcomer: every check passed\n")
    assert [line.split(": ")[1] for line in err.splitlines()] == ["README.md", "digits-blurred"]


def test_another_repository_inside_a_submission_is_refused(capsys, workspace):
    proposed = workspace / "proposed"
    another_model(proposed / SUBMISSIONS, "newcomer")
    sha = git(proposed, "rev-parse", "HEAD")
    (proposed / SUBMISSIONS / "newcomer" / "more").mkdir()
    git(proposed, "update-index", "--add", "--cacheinfo", f"160000,{sha},{SUBMISSIONS}/newcomer/more")
    commit(proposed)
    code, out, err = run_verb(capsys, workspace, "--author", ME)
    assert (code, out) == (2, "newcomer: 1 problem\n")
    assert "more" in err


NO_UTF8 = {
    "a file elsewhere": b"README\xff.md",
    "a folder": bytes(SUBMISSIONS) + b"/\xff\xfe/manifest.json",
    "a file of a submission": bytes(OTHER) + b"/\xff.json",
}


@pytest.mark.parametrize("kind", NO_UTF8)
def test_a_name_that_is_no_utf_8_is_refused_in_a_sentence(capsys, workspace, kind):
    path = workspace / "proposed" / os.fsdecode(NO_UTF8[kind])
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    commit(workspace / "proposed")
    code, _, err = run_verb(capsys, workspace, "--author", ME)
    assert code == 2
    assert "Traceback" not in err
    assert r"\udcff" in err  # how such a byte is written


def test_a_history_with_broken_authors_is_harmless(capsys, workspace):
    proposed = workspace / "proposed"
    another_model(proposed / SUBMISSIONS, "newcomer")
    commit(proposed)
    tree, parent = git(proposed, "rev-parse", "HEAD^{tree}"), git(proposed, "rev-parse", "HEAD^")
    who = b"\xff\xfe <\xff> 99999999999999999999 +9999"
    text = b"tree %s\nparent %s\nauthor %s\ncommitter %s\n\n\xff\n" % (
        tree.encode(),
        parent.encode(),
        who,
        who,
    )
    made = ["git", "-C", proposed, "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    sha = subprocess.run(made, input=text, check=True, capture_output=True).stdout.decode().strip()
    git(proposed, "update-ref", "HEAD", sha)
    assert run_verb(capsys, workspace, "--author", ME)[:2] == (0, "newcomer: every check passed\n")


@pytest.mark.parametrize(("maintainer", "code"), [("true", 0), ("false", 2)])
def test_the_workflow_s_own_step_refuses_a_stranger_s_removal(workspace, maintainer, code):
    """The step's text as GitHub runs it, with this program in the place of the one that was set up."""
    if not WORKFLOW.is_file():
        pytest.skip("the workflow is part of the checkout, not of an installed package")
    (step,) = [
        step for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"]
        if "check-pull-request" in step.get("run", "")
    ]  # fmt: skip
    program = workspace / "trusted" / ".venv" / "bin" / "assay"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m assay.cli "$@"\n')
    program.chmod(0o755)
    shutil.rmtree(workspace / "proposed" / OTHER)
    commit(workspace / "proposed")
    given = {
        "BASE": git(workspace / "proposed", "rev-parse", "origin/main"),
        "AUTHOR": ME,
        "MAINTAINER": maintainer,
    }
    assert set(given) == set(step["env"])
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=workspace, env=os.environ | given | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("its removal" in done.stderr) == bool(code)
