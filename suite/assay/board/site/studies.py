"""How the measures of the board's tracks go together: what a study takes from the boards of tasks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from assay.board.site.boards import Cell
from assay.board.site.overview import OTHER, ShownTrack
from assay.board.study.association import LEAST_CLUSTERS
from assay.board.study.findings import pairs_of
from assay.board.study.picture import matrix_png
from assay.board.study.report import page_values
from assay.board.study.table import CLEAN, Measure, StudiedModel, StudyTable, told_apart


def studies(
    shown: Sequence[ShownTrack], models: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The id of each track with a finding, and what its page shows."""
    for track in shown:
        table = board_table(track, models)
        if track.id == OTHER or len(table.measures) < 2:
            continue
        pairs = pairs_of(table)
        if any(pair.association.clusters >= LEAST_CLUSTERS for pair in pairs):
            yield track.id, page_values(track.title, table, pairs, matrix_png(table.measures, pairs))


def board_table(track: ShownTrack, models: Sequence[Mapping[str, Any]]) -> StudyTable:
    """The table of a track's models: the board's headlines, and the clean accuracy of the first task that has one.

    Args:
        track: as the overview shows it.
        models: all of the site's.
    """
    found: dict[str, dict[str, float]] = {}
    measures = []
    clean = next((cells for each in track.boards if _known(cells := each.cells(CLEAN))), None)
    if clean is not None:
        measures.append(Measure(CLEAN, "Clean accuracy", "proportion", "up"))
        _take(found, CLEAN, clean)
    for board in track.boards:
        better: Literal["up", "down"] = "down" if board.better == "lower" else "up"
        measures.append(Measure(board.id, board.measure, board.unit, better))
        _take(found, board.id, board.cells(board.rank_by))
    known = {model["id"]: model for model in models}
    rows = (
        StudiedModel(known[name]["model"], known[name]["cluster"], figures, f"models/{name}.html")
        for name, figures in sorted(found.items())
        if name in track.models
    )
    return StudyTable(told_apart(measures), tuple(rows), ())


def _known(cells: Mapping[str, Cell]) -> bool:
    return any(cell[0] is not None for cell in cells.values())


def _take(found: dict[str, dict[str, float]], measure: str, cells: Mapping[str, Cell]) -> None:
    """Note the figure of each model that has one."""
    for model, cell in cells.items():
        if cell[0] is not None:
            found.setdefault(model, {})[measure] = float(cell[0])
