"""The site and the CSV files, from the submissions; a model's page is written again only when it has to change."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.board.site.boards import AdmittedSpec, TaskBoard
from assay.board.site.history import history
from assay.board.site.models import ModelWriter, WrittenModel, write_file
from assay.board.site.overview import overview, tracks
from assay.board.site.pages import Pages, data_script, script_json
from assay.board.site.tables import LONG_COLUMNS, long_csv, wide_csv
from assay.board.submissions.check import Board, other_names
from assay.board.submissions.register import read_register
from assay.board.submissions.results import current_hashes
from assay.common.children import ChildLostError, made_by_children
from assay.common.errors import UserError
from assay.common.shown import on_one_line
from assay.tasks.families import load_spec
from assay.tasks.task_spec import shipped_specs

_STATE = ".built.json"
_MOST_PROCESSES = 8
_MODELS_A_PROCESS = 50  # fewer take less time than a process takes to start


@dataclass(frozen=True)
class SiteReport:
    """What was written: models shown, model pages rendered anew, and what is not shown, with reasons."""

    models: int
    rendered: int
    hidden: Sequence[tuple[str, str]]


def build_site(board: Path, out: Path, against: Board | None = None) -> SiteReport:
    """Write ``out`` and, in ``board``, ``leaderboard.csv`` and ``results_long.csv``.

    Args:
        board: the leaderboard's folder.
        out: the site's.
        against: what every submission is checked against, so that what fails is left out with its reason; None where a
            gate has checked them already.

    Raises:
        UserError: the register of tasks is missing or not valid.
    """
    return _SiteBuild(board, out, against).build()


class _SiteBuild:
    """One build: every submission is read once, by as many processes as help, and only headline figures are kept."""

    def __init__(self, board: Path, out: Path, against: Board | None) -> None:
        self._board, self._out, self._against = board, out, against
        self._specs = _admitted_specs(board)
        self._pages = Pages()
        self._before = _read_state(out)
        self._state: dict[str, str] = {}
        self._models: list[Mapping[str, Any]] = []
        self._hidden: list[tuple[str, str]] = []
        self._rendered = 0
        self._boards = {
            task: TaskBoard(task, spec.loaded.spec.title, spec.family, spec.admitted, spec.headline)
            for task, spec in self._specs.items()
        }

    def build(self) -> SiteReport:
        self._out.mkdir(parents=True, exist_ok=True)
        long = self._board / "results_long.csv"
        with long.with_suffix(".tmp").open("w", encoding="utf-8", newline="") as file:
            file.write(long_csv([LONG_COLUMNS]))
            for model in self._written_models():
                self._take(model)
                file.write(model.long)
        long.with_suffix(".tmp").replace(long)
        self._remove_gone()
        self._write_shared()
        write_file(self._out / _STATE, json.dumps(self._state, sort_keys=True, indent=0))
        return SiteReport(len(self._models), self._rendered, tuple(self._hidden))

    def _written_models(self) -> Iterator[WrittenModel]:
        specs = {task: (spec.headline, spec.sha256s) for task, spec in self._specs.items()}
        writer = ModelWriter(self._board, self._out, history(self._board), specs, self._before, self._against)
        names = other_names(self._board / "submissions")
        processes = min(_MOST_PROCESSES, os.cpu_count() or 1, len(names) // _MODELS_A_PROCESS)
        if processes < 2:
            yield from map(writer.write, names)
            return
        try:
            yield from _in_order(made_by_children(writer.write, names, processes), names)
        except ChildLostError as error:
            raise UserError(
                f"{error.item}: its page was not written, for {error}; run the same command again, which keeps the "
                "pages that are there"
            ) from error

    def _take(self, model: WrittenModel) -> None:
        # A folder's name may hold bytes that are no text, which no page can hold either.
        self._hidden += [(on_one_line(name), on_one_line(reason)) for name, reason in model.hidden]
        if model.about is None:
            return
        self._models.append(model.about)
        self._state[model.id] = model.fingerprint
        self._rendered += model.rendered
        for task, row in model.rows.items():
            self._boards[task].add(model.id, row)

    def _remove_gone(self) -> None:
        for name in set(self._before) - set(self._state):
            for path in (f"models/{name}.html", f"models/{name}.json", f"data/units/{name}.js"):
                (self._out / path).unlink(missing_ok=True)
            shutil.rmtree(self._out / "data" / "figures" / name, ignore_errors=True)

    def _write_shared(self) -> None:
        """Everything that shows several models or none."""
        out, boards = self._out, [self._boards[task] for task in sorted(self._boards)]
        self._pages.copy_assets(out / "assets")
        write_file(out / "data" / "models.js", data_script("models", self._models))
        shown = tracks(boards, self._models)
        found = overview(boards, shown)
        write_file(out / "data" / "overview.js", data_script("overview", found))
        for board in boards:
            write_file(
                out / "data" / "tasks" / f"{board.id}.js", data_script(f"tasks/{board.id}", board.document())
            )
        for name, page in self._pages.shared(boards, shown, self._models, self._hidden, self._specs):
            write_file(out / name, page)
        asked = [board for board in boards if board.rows]  # no columns for what nobody was asked
        write_file(self._board / "leaderboard.csv", wide_csv(self._models, asked))
        for name in ("leaderboard.csv", "results_long.csv"):
            _copy(self._board / name, out / name)
        write_file(out / "leaderboard.json", script_json({"models": self._models, **found}) + "\n")


def _in_order(written: Iterable[tuple[str, WrittenModel]], names: Sequence[str]) -> Iterator[WrittenModel]:
    """The models in the order of ``names``; kept is only what came before its turn, since all of it is large."""
    early: dict[str, WrittenModel] = {}
    expected = iter(names)
    name = next(expected, None)
    for found, model in written:
        early[found] = model
        while name in early:
            yield early.pop(name)
            name = next(expected, None)


def _admitted_specs(board: Path) -> dict[str, AdmittedSpec]:
    shipped = shipped_specs()
    found = {}
    for task, admitted in sorted(read_register(board).tasks.items()):
        if task in shipped:
            loaded = load_spec(task)
            found[task] = AdmittedSpec(loaded, admitted, loaded.spec.family, current_hashes(task))
    return found


def _read_state(out: Path) -> Mapping[str, str]:
    with suppress(OSError, ValueError):
        state = json.loads((out / _STATE).read_text(encoding="utf-8"))
        if isinstance(state, dict):
            return {
                name: value for name, value in state.items() if (out / "models" / f"{name}.html").is_file()
            }
    return {}


def _copy(source: Path, target: Path) -> None:
    """Copy a file without reading a large one into memory."""
    shutil.copyfile(source, target)
