"""The protocol kept to its word: a family of one short folder runs, reports and submits, with nothing else changed."""

import csv
import re
from pathlib import Path

import pytest
from sklearn.datasets import load_digits

from assay.board.submissions.check import Board
from assay.board.submissions.register import read_register
from assay.board.submissions.tiers import rescore
from assay.results.document import read_result
from assay.runner.assemble import write_report
from assay.runner.jobs import JobRequest
from assay.runner.store import RunFolder
from assay.tasks import families
from assay.tasks.base import Record
from board.board_place import make_place, use_specs
from digits_models import linear_net
from small_jobs import answers

TOY = Path(__file__).resolve().parents[1] / "toy_family"
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "families.md"
TASK, MODEL = "moved/digits", "digits_models:linear"


@pytest.fixture(scope="module", autouse=True)
def _toy_is_a_family():
    """The one line in the table of families, and the spec among the shipped ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.MODULES, "moved", "toy_family.task")
        use_specs(patch, TOY / "specs")
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A leaderboard with the run that was submitted to it."""
    request = JobRequest(MODEL, TASK)
    return make_place(tmp_path_factory.mktemp("toy"), {"digits-linear": request})


def test_its_folder_is_short_and_stands_word_for_word_in_the_guide():
    files = [path for path in sorted(TOY.rglob("*")) if path.suffix in {".py", ".yaml"}]
    assert sum(len(path.read_text().splitlines()) for path in files) < 120
    told = [path for path in files if path.name != "__init__.py"]  # a docstring
    shown = "".join(re.findall(r"```(?:python|yaml)\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    assert [path.name for path in told if path.read_text() not in shown] == []


def test_its_figures_are_those_of_the_network_asked_by_hand(place):
    import torch

    write_report(RunFolder(place.run))
    (path,) = place.run.glob("results/*/moved/digits.json")
    result = read_result(path)
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor((pixels * 255 / 16 + 0.5) // 1 / 255, dtype=torch.float32).view(-1, 1, 8, 8)
    with torch.no_grad():
        right = (linear_net()(images.roll(1, -1)).argmax(1).numpy() == labels).mean()
    assert result.headline_metric.value == pytest.approx(right, abs=1e-12)
    assert result.headline_metric.n == len(labels)
    assert result.failed_guards == ()
    rows = list(csv.DictReader((place.run / "results.csv").open()))
    assert [row["metric"] for row in rows] == ["moved_accuracy", "clean_accuracy"]


def test_the_command_line_runs_it_on_cards_tables_and_records(tmp_path, assay):
    arguments = ("--model", MODEL, "--task", TASK, "--limit", "200")
    code, card, _ = assay("run", *arguments, "--out", tmp_path / "run", "--quiet")
    assert code == 0
    assert "Accuracy on moved pictures" in card
    assert "moved: the share of pictures" in card
    code, records, _ = assay("records", tmp_path / "run", "--model", MODEL, "--task", TASK)
    assert code == 0
    assert records.splitlines()[0] == "unit_id,label,clean,moved,unchanged,error"
    assert len(records.splitlines()) == 201
    assert assay("run", *arguments, "--batch-size", "7", "--out", tmp_path / "again", "--quiet")[0] == 0
    assert answers(tmp_path / "run") == answers(tmp_path / "again")


def test_its_submission_passes_every_check_and_is_scored_again(place):
    assert place.check() == []
    finding = rescore(place.submission, Board(read_register(place.board)), ())
    assert [task.differences for task in finding.tasks.values()] == [()]


def test_pictures_that_do_not_move_fail_its_guard():
    record = Record("blank", {"label": 0, "clean": 0, "moved": 0, "unchanged": True})
    task = families.family("moved")
    (guard,) = task.summarise(families.load_spec(TASK).spec, [record]).guards
    assert not guard.passed


def test_its_bad_specs_are_one_sentence(tmp_path, assay):
    (tmp_path / "far.yaml").write_text(
        (TOY / "specs/moved/digits.yaml").read_text().replace("pixels: 1", "pixels: 0")
    )
    code, _, err = assay("validate", tmp_path / "far.yaml")
    assert code == 2
    assert "`pixels`" in err
