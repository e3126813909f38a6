"""The site and the CSV files, from the submissions; a model's page is written again only when it has to change."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.board.site.boards import AdmittedSpec, TaskBoard
from assay.board.site.entries import Entry, Result, UnreadableError, read_entry
from assay.board.site.history import Commit, history
from assay.board.site.pages import Pages, data_script, script_json
from assay.board.site.tables import long_rows, wide_csv, write_long
from assay.board.submissions.check import other_names
from assay.board.submissions.register import read_register
from assay.board.submissions.results import current_hashes
from assay.specs import shipped_specs
from assay.tasks.families import load_spec

_STATE = ".built.json"


@dataclass(frozen=True)
class SiteReport:
    """What was written: models shown, model pages rendered anew, and what is not shown, with the reason."""

    models: int
    rendered: int
    hidden: Sequence[tuple[str, str]]


def build_site(board: Path, out: Path) -> SiteReport:
    """Write ``out`` and, in ``board``, ``leaderboard.csv`` and ``results_long.csv``.

    Raises:
        UserError: the register of tasks is missing or not valid.
    """
    return _Builder(board, out).build()


class _Builder:
    """One build: what the submissions hold is read once, model after model, and only headline figures are kept."""

    def __init__(self, board: Path, out: Path) -> None:
        self._board, self._out = board, out
        self._commits = history(board)
        self._specs = _admitted_specs(board)
        self._pages = Pages()
        self._before = _read_state(out)
        self._state: dict[str, str] = {}
        self._models: list[dict[str, Any]] = []
        self._hidden: list[tuple[str, str]] = []
        self._rendered = 0
        self._boards = {
            task: TaskBoard(task, spec.loaded.spec.title, spec.family, spec.admitted)
            for task, spec in self._specs.items()
        }

    def build(self) -> SiteReport:
        self._out.mkdir(parents=True, exist_ok=True)
        long = self._board / "results_long.csv"
        with long.with_suffix(".tmp").open("w", encoding="utf-8", newline="") as file:
            write_long(file, self._take_all())
        long.with_suffix(".tmp").replace(long)
        self._remove_gone()
        self._write_shared()
        _write(self._out / _STATE, json.dumps(self._state, sort_keys=True, indent=0))
        return SiteReport(len(self._models), self._rendered, tuple(self._hidden))

    def _take_all(self) -> Iterator[Sequence[Any]]:
        """Read and write every model; gives the rows of the long table."""
        for name in other_names(self._board / "submissions"):
            try:
                entry = read_entry(
                    self._board, self._board / "submissions" / name, self._commits, self._pages.version
                )
                results = list(self._current(entry))
                if results:
                    yield from self._take(entry, results)
            except (UnreadableError, OSError, ValueError, KeyError) as error:
                self._hidden.append((name, f"cannot be read: {error}"))

    def _current(self, entry: Entry) -> Iterator[Result]:
        """The results of admitted tasks with their current spec; the others are named, with the reason."""
        for task in entry.tasks:
            result, spec = entry.result(task), self._specs.get(task)
            if spec is None:
                self._hidden.append((f"{entry.id} · {task}", "the task is not admitted"))
            elif result["spec_sha256"] not in spec.sha256s:
                reason = "the task's spec has changed since; the model has to be run again"
                self._hidden.append((f"{entry.id} · {task}", reason))
            else:
                yield result

    def _take(self, entry: Entry, results: Sequence[Result]) -> Iterator[Sequence[Any]]:
        self._models.append(_model_row(entry, results))
        fingerprint = f"{entry.fingerprint} {' '.join(result['spec_sha256'][:8] for result in results)}"
        if self._before.get(entry.id) != fingerprint:
            self._write_model(entry, results)
            self._rendered += 1
        self._state[entry.id] = fingerprint
        for result in results:
            self._boards[result["task"]].add(entry.id, result)
            yield from long_rows(entry, result)

    def _write_model(self, entry: Entry, results: Sequence[Result]) -> None:
        pictures = {result["task"]: self._write_pictures(entry, result["task"]) for result in results}
        page = self._pages.model(entry, self._models[-1], results, pictures)
        _write(self._out / "models" / f"{entry.id}.html", page)
        _write(self._out / "models" / f"{entry.id}.json", script_json(list(results)) + "\n")
        outcomes = {}
        for result in results:
            if found := entry.read(f"outcomes/{result['task']}.json"):
                outcomes[result["task"]] = json.loads(found)["metrics"]
        _write(self._out / "data" / "units" / f"{entry.id}.js", data_script(f"units/{entry.id}", outcomes))

    def _write_pictures(self, entry: Entry, task: str) -> list[dict[str, Any]]:
        """Copy a result's pictures; charts become scripts, the one thing that a page opened as a file can load."""
        index = entry.read(f"figures/{task}/index.json")
        pictures = []
        for number, picture in enumerate(json.loads(index)["pictures"] if index else ()):
            data = entry.read(f"figures/{task}/{picture['file']}") or b""
            chart = picture["file"].endswith(".json")
            key = f"figures/{entry.id}/{task.replace('/', '--')}-{number}"
            place = f"data/{key}.js" if chart else f"data/{key}.png"
            _write(self._out / place, data_script(key, json.loads(data)) if chart else data)
            pictures.append({**picture, "key": key, "place": place, "chart": chart})
        return pictures

    def _remove_gone(self) -> None:
        for name in set(self._before) - set(self._state):
            for path in (f"models/{name}.html", f"models/{name}.json", f"data/units/{name}.js"):
                (self._out / path).unlink(missing_ok=True)
            shutil.rmtree(self._out / "data" / "figures" / name, ignore_errors=True)

    def _write_shared(self) -> None:
        """Everything that shows several models, and what does not depend on any."""
        out, boards = self._out, [self._boards[task] for task in sorted(self._boards)]
        self._pages.copy_assets(out / "assets")
        _write(out / "data" / "models.js", data_script("models", self._models))
        _write(out / "data" / "overview.js", data_script("overview", _overview(boards)))
        for board in boards:
            _write(
                out / "data" / "tasks" / f"{board.id}.js", data_script(f"tasks/{board.id}", board.document())
            )
        for name, page in self._pages.shared(boards, self._models, self._hidden, self._specs):
            _write(out / name, page)
        _write(self._board / "leaderboard.csv", wide_csv(self._models, boards))
        for name in ("leaderboard.csv", "results_long.csv"):
            _copy(self._board / name, out / name)
        _write(out / "leaderboard.json", script_json({"models": self._models, **_overview(boards)}) + "\n")


def _admitted_specs(board: Path) -> dict[str, AdmittedSpec]:
    shipped = shipped_specs()
    found = {}
    for task, admitted in sorted(read_register(board).tasks.items()):
        if task in shipped:
            loaded = load_spec(task)
            found[task] = AdmittedSpec(loaded, admitted, loaded.spec.family, current_hashes(task))
    return found


def _model_row(entry: Entry, results: Sequence[Result]) -> dict[str, Any]:
    metadata, card = entry.metadata, results[0]["model"]
    commit: Commit | None = entry.commits.get(entry.tier)
    paper = None if isinstance(metadata.paper, str) else metadata.paper
    return {
        "id": entry.id,
        "model": metadata.name,
        "architecture": card["architecture"],
        "weights_sha256": card["weights_sha256"],
        "paper": paper.title if paper else "none",
        "paper_url": paper.url if paper else None,
        "code": metadata.code,
        "licence": metadata.licence,
        "tier": entry.tier,
        "who": commit.author if commit else None,
        "when": commit.day if commit else None,
    }


def _overview(boards: Sequence[TaskBoard]) -> dict[str, Any]:
    tasks = [
        {
            "id": board.id, "title": board.title, "family": board.family, "metric": board.rank_by,
            "unit": board.unit, "better": board.admitted.better, "units": board.admitted.units,
        }
        for board in boards
    ]  # fmt: skip
    rows: dict[str, dict[str, Any]] = {}
    for board in boards:
        for model, cell in board.ranked().items():
            rows.setdefault(model, {})[board.id] = cell
    return {"tasks": tasks, "rows": rows}


def _read_state(out: Path) -> Mapping[str, str]:
    with suppress(OSError, ValueError):
        state = json.loads((out / _STATE).read_text())
        if isinstance(state, dict):
            return {
                name: value for name, value in state.items() if (out / "models" / f"{name}.html").is_file()
            }
    return {}


def _write(path: Path, content: str | bytes) -> None:
    """Write a file of the site when it differs; a site is made again at will, so nothing is flushed."""
    data = content.encode() if isinstance(content, str) else content
    with suppress(OSError):
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _copy(source: Path, target: Path) -> None:
    """Copy a file; one that has grown large is not read into memory."""
    shutil.copyfile(source, target)
