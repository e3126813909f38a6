"""One model's part of the site: its page, its downloads, its pictures, and what the shared pages need of it."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from assay.board.site.boards import BoardRow
from assay.board.site.derived import Derived, derived
from assay.board.site.entries import Entry, Result, UnreadableError, read_entry
from assay.board.site.headlines import with_headline
from assay.board.site.history import Commit
from assay.board.site.pages import PagePictures, Pages, data_script, script_json
from assay.board.site.tables import long_csv, long_rows
from assay.board.study.table import cluster_of
from assay.board.submissions.check import Board, check_submission
from assay.board.submissions.documents import SUBMITTED, TIERS, is_of_task
from assay.board.submissions.folder import open_folder
from assay.board.submissions.problems import Problem
from assay.board.submissions.text import option_in


@dataclass(frozen=True)
class WrittenModel:
    """What the shared pages need of a model, small enough to travel between processes.

    Attributes:
        id: the model's id on the site.
        hidden: what is not shown, with the reason.
        about: its row; None where nothing is shown.
        fingerprint: changes whenever its page must change.
        rendered: whether its page was written.
        rows: its headline figures, by task.
        long: its lines of the long table.
    """

    id: str
    hidden: list[tuple[str, str]]
    about: Mapping[str, Any] | None = None
    fingerprint: str = ""
    rendered: bool = False
    rows: Mapping[str, BoardRow] = field(default_factory=dict)
    long: str = ""


@dataclass(frozen=True)
class ModelWriter:
    """Writes models' pages, in any process.

    Attributes:
        board: the leaderboard's folder.
        out: the site's.
        commits: who and when, by file.
        specs: by admitted task the key of its headline, and the hashes that a current result may name.
        before: the fingerprints of the pages that are there.
        against: what submissions are checked against; None where a gate has checked them already.
    """

    board: Path
    out: Path
    commits: Mapping[str, tuple[Commit, ...]]
    specs: Mapping[str, tuple[str, Sequence[str]]]
    before: Mapping[str, str]
    against: Board | None = None

    def write(self, name: str) -> WrittenModel:
        """Read a submission and write the files of its model that must change."""
        hidden: list[tuple[str, str]] = []
        try:
            entry = read_entry(self.board, self.board / "submissions" / name, self.commits, _pages().version)
            current = list(self._current(entry, hidden))
            results = list(self._passing(entry, current, hidden))
            return self._written(entry, results, hidden) if results else WrittenModel(name, hidden)
        except (UnreadableError, OSError, ValueError, KeyError) as error:
            return WrittenModel(name, [*hidden, (name, f"cannot be read: {error}")])

    def _current(self, entry: Entry, hidden: list[tuple[str, str]]) -> Iterator[Result]:
        """The results of admitted tasks with their current spec; the others are named, with the reason."""
        for task in entry.tasks:
            result, admitted = entry.result(task), self.specs.get(task)
            if admitted is None:
                hidden.append((f"{entry.id} · {task}", "the task is not admitted"))
            elif result["spec_sha256"] not in admitted[1]:
                reason = "the task's spec has changed since; the model has to be run again"
                hidden.append((f"{entry.id} · {task}", reason))
            else:
                yield with_headline(entry, result, admitted[0])

    def _passing(
        self, entry: Entry, results: Sequence[Result], hidden: list[tuple[str, str]]
    ) -> Iterator[Result]:
        """The results that pass every check; the others are named, with the first of what is wrong.

        What concerns a whole submission leaves all of it out. The files behind an unchanged page passed when it was
        written, so only their hashes are looked at.
        """
        if self.against is None:
            yield from results
            return
        folder = entry.folder
        known = self.before.get(entry.id) == self._fingerprint(entry, results)
        problems = open_folder(folder)[1] if known else check_submission(folder, self.against)
        wrong: dict[str, Problem] = {}
        for problem in problems:
            wrong.setdefault(
                next((task for task in entry.tasks if is_of_task(problem.file, task)), ""), problem
            )
        if "" in wrong:
            hidden.append((entry.id, f"fails a check: {wrong['']}"))
            return
        for result in results:
            task = result["task"]
            if task in wrong:
                hidden.append((f"{entry.id} · {task}", f"fails a check: {wrong[task]}"))
            else:
                yield result

    def _fingerprint(self, entry: Entry, results: Sequence[Result]) -> str:
        """Changes whenever the page of these results must change."""
        current = (f"{result['spec_sha256'][:8]} {self.specs[result['task']][0]}" for result in results)
        return f"{entry.fingerprint} {' '.join(current)}"

    def _written(
        self, entry: Entry, results: Sequence[Result], hidden: list[tuple[str, str]]
    ) -> WrittenModel:
        about = _about(entry, results)
        fingerprint = self._fingerprint(entry, results)
        changed = self.before.get(entry.id) != fingerprint
        if changed:
            self._write_files(entry, about, results)
        return WrittenModel(
            id=entry.id,
            hidden=hidden,
            about=about,
            fingerprint=fingerprint,
            rendered=changed,
            rows=self._rows(entry, results),
            long=long_csv(row for result in results for row in long_rows(entry, result)),
        )

    def _rows(self, entry: Entry, results: Sequence[Result]) -> dict[str, BoardRow]:
        """Its headline figures by task; and, of admitted tasks that it leaves out, why."""
        rows = {
            task: BoardRow.of(result, entry.tier(task), self.specs[task][0])
            for result in results
            if (task := result["task"])
        }
        left_out = entry.metadata.without or {}
        return rows | {
            task: BoardRow([], why, SUBMITTED)
            for task, why in left_out.items()
            if task in self.specs and task not in rows
        }

    def _write_files(self, entry: Entry, about: Mapping[str, Any], results: Sequence[Result]) -> None:
        found = derived(entry, results)
        pictures = {
            task: PagePictures(self._write_pictures(entry, task, each), each.lost)
            for task, each in found.items()
        }
        headlines = {task: key for task, (key, _) in self.specs.items()}
        page = _pages().model(entry, about, results, pictures, headlines)
        write_file(self.out / "models" / f"{entry.id}.html", page)
        write_file(self.out / "models" / f"{entry.id}.json", script_json(list(results)) + "\n")
        outcomes = {task: each.outcomes for task, each in found.items() if each.outcomes}
        script = data_script(f"units/{entry.id}", outcomes)
        write_file(self.out / "data" / "units" / f"{entry.id}.js", script)

    def _write_pictures(self, entry: Entry, task: str, found: Derived) -> list[dict[str, Any]]:
        """Write a result's pictures; charts become scripts, the only thing that a page opened as a file can load."""
        pictures = []
        for number, (picture, data) in enumerate(found.pictures):
            chart = picture["file"].endswith(".json")
            key = f"figures/{entry.id}/{task.replace('/', '--')}-{number}"
            place = f"data/{key}.js" if chart else f"data/{key}.png"
            write_file(self.out / place, data_script(key, json.loads(data)) if chart else data)
            pictures.append({**picture, "key": key, "place": place, "chart": chart})
        return pictures


@cache
def _pages() -> Pages:
    """The templates, compiled once per process."""
    return Pages()


def _about(entry: Entry, results: Sequence[Result]) -> dict[str, Any]:
    metadata, card = entry.metadata, results[0]["model"]
    tiers = {result["task"]: entry.tier(result["task"]) for result in results}
    tier = least_tier(tiers, results)
    commit: Commit | None = entry.commits.get(tier)
    paper = None if isinstance(metadata.paper, str) else metadata.paper
    return {
        "id": entry.id,
        "model": metadata.name,
        "architecture": card["architecture"],
        "label_space": card["label_space"],
        "weights_sha256": card["weights_sha256"],
        "cluster": cluster_of(card["source"], card["weights_sha256"]),
        "paper": paper.title if paper else "none",
        "paper_url": paper.url if paper else None,
        "code": metadata.code,
        "weights": metadata.weights,
        "licence": metadata.licence,
        "tier": tier,
        "tiers": tiers,
        "who": metadata.submitted_by,
        "run": _command_for_any_task(results[0]["command"], metadata.model),
        "when": commit.day if commit else None,
    }


def least_tier(tiers: Mapping[str, str], results: Sequence[Result]) -> str:
    """The least of the tiers (by task) of those results that have figures; of all where none has."""
    scored = [tiers[result["task"]] for result in results if result["status"] != "not_applicable"]
    return min(scored or tiers.values(), key=TIERS.index)


def _command_for_any_task(command: str, model: str) -> str:
    """The command that runs this model on a task, which stands in it as ``TASK``.

    ``command`` made one of the model's results, and names its weights.
    """
    named = option_in(command, "--weights")
    weights = [] if named is None else ["--weights", named]
    return shlex.join(["assay", "run", "--model", model, "--task", "TASK", *weights, "--out", "out"])


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file of the site when it differs; a site can always be made again, so nothing is flushed."""
    data = content.encode() if isinstance(content, str) else content
    with suppress(OSError):
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
