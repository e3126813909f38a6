"""Where a run's figures stand among the board's rows: as far as intervals tell, and only on the same task."""

import csv

import pytest
from board_place import MODELS, RANK_BY, TASK

from assay.board.background import TABLE, background_of, standings
from assay.board.submissions.results import parse_result
from assay.results.document import Coverage, Guard
from assay.results.tables import csv_text


@pytest.fixture
def own(place):
    """A whole result of the digits' task."""
    name = f"results/{TASK}.json"
    return parse_result(name, (place.submission / name).read_bytes())


def write_rows(board, rows):
    """A table of invented models: value, interval, tier."""
    stem = f"{TASK} {RANK_BY}"
    columns = ["model", "weights_sha256", stem, f"{stem} ci_low", f"{stem} ci_high", f"{TASK} tier"]
    lines = [
        dict(zip(columns, (f"m{at}", f"{at}" * 64, *row), strict=True))
        for at, row in enumerate(rows, start=1)
    ]
    (board / TABLE).write_text(csv_text(columns, lines))


def standing(board, result):
    return standings([result], board).get((result.model.name, TASK))


def test_a_model_is_behind_those_whose_whole_interval_is_better(place, own):
    value = own.headline_metric.value
    write_rows(place.board, [
        (0.999, 0.998, 1, "re-run"), (value, value - 0.01, value + 0.01, "re-scored"), (0.001, 0, 0.002, "re-run"),
    ])  # fmt: skip
    assert standing(place.board, own) == "behind 1 to 2 of 3"


def test_what_is_only_submitted_does_not_apply_or_is_the_same_network_is_no_rival(place, own):
    write_rows(place.board, [(1, 1, 1, "submitted"), ("not applicable", "", "", "re-run"), ("", "", "", "")])
    assert standing(place.board, own) is None
    same = own.model_copy(update={"model": own.model.model_copy(update={"weights_sha256": "1" * 64})})
    write_rows(place.board, [(1, 1, 1, "re-run")])
    assert standing(place.board, same) is None
    assert standing(place.board, own) == "behind 1 of 1"


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": Coverage(units=9, done=4, errors=0, limited=True)},
        {"guards": (Guard(name="g", passed=False, detail="d"),)},
        {"spec_sha256": "1" * 64},
        {"task": "adversarial/mine"},
    ],
    ids=["limited", "a guard failed", "another spec", "a task of their own"],
)
def test_only_whole_results_of_the_task_of_today_are_held_against_the_board(place, own, change):
    write_rows(place.board, [(1, 1, 1, "re-run")])
    assert standings([own.model_copy(update=change)], place.board) == {}


def test_other_data_or_no_board_say_nothing(place, own, tmp_path):
    write_rows(place.board, [(1, 1, 1, "re-run")])
    other = own.model_copy(update={"data": own.data.model_copy(update={"sha256": "2" * 64})})
    assert standings([other], place.board) == {}
    assert standings([own], tmp_path) == {}


def test_the_card_of_a_run_in_a_checkout_says_where_it_stands(place, assay, monkeypatch):
    assay("leaderboard", "--out", place.board / "site", "--board", place.board)
    rows = list(csv.DictReader((place.board / TABLE).open()))
    for row in rows:
        row[f"{TASK} tier"] = "re-run"
    (place.board / TABLE).write_text(csv_text(list(rows[0]), rows))
    monkeypatch.chdir(place.board.parent)
    code, out, _ = assay("report", place.run)
    assert code == 0
    assert out.count(" of 1") == len(MODELS)
    assert "behind" in out


def test_the_background_has_each_family_s_sentence(own, tmp_path):
    background = background_of([own], tmp_path)
    assert [family for family, _ in background.meanings] == ["adversarial"]
    assert background.standing == {}
