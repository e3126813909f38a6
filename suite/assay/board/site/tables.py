"""The leaderboard as CSV, in a stable order, so that a new submission adds a few lines to a diff."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from assay.board.site.boards import Columns, TaskBoard
from assay.board.site.entries import Entry, Result
from assay.results.tables import csv_text

LONG_COLUMNS = ("model", "task", "metric", "value", "ci_low", "ci_high", "n", "unit", "tier")
_ABOUT = ("model", "submitter", "tier", "paper", "code", "licence", "weights_sha256")


def long_csv(rows: Iterable[Sequence[Any]]) -> str:
    """``rows`` as lines of CSV, without a header."""
    file = StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def long_rows(entry: Entry, result: Result) -> list[tuple[Any, ...]]:
    """One row per figure; a result that is not applicable keeps a row, so that none is hidden."""
    head, tier = (entry.metadata.name, result["task"]), entry.tier(result["task"])
    if result["status"] == "not_applicable":
        return [(*head, "(not applicable)", "", "", "", 0, "", tier)]
    return [
        (
            *head, metric["name"], _number(metric["value"]), _number(metric["ci_low"]),
            _number(metric["ci_high"]), metric["n"], metric["unit"], tier,
        )
        for metric in result["metrics"]
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def wide_csv(models: Sequence[Mapping[str, Any]], boards: Sequence[TaskBoard]) -> str:
    """One row per model, five columns per task: the ranking metric, its interval, the places that it allows, the tier.

    A result that is only submitted has no place.
    """
    columns = [*_ABOUT]
    for board in boards:
        stem = f"{board.id} {board.rank_by}"
        columns += [stem, f"{stem} ci_low", f"{stem} ci_high", f"{board.id} places", f"{board.id} tier"]
    rows = []
    for model in models:
        row = {name: model["who" if name == "submitter" else name] for name in _ABOUT}
        for board in boards:
            row |= _task_cells(board, board.ranked(), model["id"])
        rows.append(row)
    return csv_text(columns, rows)


def _task_cells(board: TaskBoard, ranked: Columns, model: str) -> dict[str, Any]:
    found = ranked.get(model)
    if found is None:
        return {}
    if isinstance(found, str):
        return {f"{board.id} {board.rank_by}": "not applicable", f"{board.id} tier": board.tiers[model]}
    value, low, high, _n, best, worst = tuple(found)
    stem = f"{board.id} {board.rank_by}"
    places = "" if best is None else str(best) if best == worst else f"{best}-{worst}"
    return {
        stem: value, f"{stem} ci_low": low, f"{stem} ci_high": high, f"{board.id} places": places,
        f"{board.id} tier": board.tiers[model],
    }  # fmt: skip
