"""The leaderboard that this repository publishes: every row is current, and its tables follow from the submissions."""

import shutil
from pathlib import Path

import pytest

from assay.board.site.build import build_site
from assay.board.submissions.check import Board, check_submission, other_names
from assay.board.submissions.register import read_register

PUBLISHED = Path(__file__).resolve().parents[2] / "leaderboard"
NAMES = other_names(PUBLISHED / "submissions")


@pytest.fixture(autouse=True)
def _shipped_tasks():
    """The shipped tasks themselves, not those of the other tests here."""


def test_every_row_is_shown_and_the_tables_are_those_of_the_submissions(tmp_path):
    if not NAMES:
        pytest.skip("the leaderboard is part of the checkout, not of an installed package")
    board = tmp_path / "leaderboard"
    shutil.copytree(PUBLISHED, board, ignore=shutil.ignore_patterns("site"))
    report = build_site(board, tmp_path / "site")
    assert (report.models, report.hidden) == (len(NAMES), ())
    for table in ("leaderboard.csv", "results_long.csv"):
        assert (board / table).read_text() == (PUBLISHED / table).read_text(), "run `make leaderboard`"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_row_passes_the_check_of_today(name):
    against = Board(read_register(PUBLISHED), NAMES)
    assert list(map(str, check_submission(PUBLISHED / "submissions" / name, against))) == []
