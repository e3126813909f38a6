"""A run's folder: jobs and their chunks, each written whole, and checked whenever it is read.

::

    DIR/run.json                      what makes DIR a run (its format's version)
    DIR/lock                          who is writing, while somebody is
    DIR/index.json                    which job stands behind each (model, task)
    DIR/jobs/<key>/job-<names>.json   the job: identity, cards, number of units; one for each of its names
    DIR/jobs/<key>/fingerprint.json   how its network answered when the job began; no part of an answer
    DIR/jobs/<key>/chunks/000000.jsonl the SHA-256 of the rest; a header; then one record per line
    DIR/jobs/<key>/files/…            the records' files (their hashes are in the records)
    DIR/jobs/<key>/unfinished/…       what is done of the chunks under way; gone when they are stored
    DIR/jobs/<key>/challenges.json    adversarial images that others found; never part of an answer
    DIR/jobs/<key>/times.jsonl        how long each chunk took, and where; never part of an answer
    DIR/events.jsonl                  what happened when, for `assay status` and for machines
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

from assay.common.errors import UserError
from assay.runner.files import text_of, write_atomically
from assay.runner.job_store import JobStore

_KEY = re.compile(r"[0-9a-f]{64}")
_MOST_SHOWN = 200  # characters of what a stranger wrote
FORMAT = {"kind": "assay-run", "schema": 1}


class RunFolder:
    """One run's folder; creating the object creates the folder when it is new."""

    def __init__(self, path: Path) -> None:
        """Open or begin the run in ``path``.

        Raises:
            UserError: ``path`` is a file, holds something else, or cannot be written.
        """
        self.path = path
        marker = path / "run.json"
        if marker.is_file():
            _check_format(marker)
        elif path.exists() and not _is_empty(path):
            raise UserError(
                f"{path}: exists and is not a run of Assay (no run.json); choose a new or empty --out"
            )
        else:
            write_atomically(marker, json.dumps(FORMAT) + "\n")

    @classmethod
    def existing(cls, path: Path) -> "RunFolder":
        """The run in ``path``, which must be one already.

        Raises:
            UserError: it is not, or holds links, which could reach files elsewhere.
        """
        _refuse_links(path)
        if not (path / "run.json").is_file():
            why = "no run.json" if path.is_dir() else "there is no such folder"
            raise UserError(
                f"{path}: is not a run of Assay ({why}); give the folder that `assay run --out` wrote"
            )
        return cls(path)

    def job(self, key: str) -> JobStore:
        """The store of the job with this key."""
        return self.job_store(self.path, key)

    @staticmethod
    def job_store(path: Path, key: str) -> JobStore:
        """The store that a job has, or would have, in the run's folder ``path``."""
        return JobStore(path / "jobs" / JobStore.folder_name(key), key)

    @staticmethod
    def job_folders(path: Path) -> set[str]:
        """:meth:`JobStore.folder_name` of every job that the run's folder ``path`` holds something of."""
        try:
            return {entry.name for entry in (path / "jobs").iterdir()}
        except FileNotFoundError:
            return set()

    def index(self) -> list[dict[str, str]]:
        """Which job stands behind each (model, task), sorted."""
        path = self.path / "index.json"
        if not path.is_file():
            return []
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            found = [{name: text_of(entry[name]) for name in ("model", "task", "key")} for entry in entries]
            return [entry | {"key": checked_key(entry["key"])} for entry in found]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}: is damaged ({error}); delete it and run the same command again"
            ) from error

    def point(self, jobs: Iterable[tuple[str, str, str]]) -> None:
        """Let jobs stand behind their (model, task): tuples of model, task and key."""
        entries = {(entry["model"], entry["task"]): entry for entry in self.index()}
        entries |= {(model, task): {"model": model, "task": task, "key": key} for model, task, key in jobs}
        self._write_index(entries)

    def forget(self, names: Iterable[tuple[str, str]]) -> None:
        """Let nothing stand behind these (model, task) any more."""
        entries = {(entry["model"], entry["task"]): entry for entry in self.index()}
        for name in names:
            entries.pop(name, None)
        self._write_index(entries)

    def _write_index(self, entries: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
        text = json.dumps([entries[name] for name in sorted(entries)], indent=1) + "\n"
        path = self.path / "index.json"
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomically(path, text)


def checked_key(key: str) -> str:
    """A job's key, which becomes a folder's name.

    Raises:
        ValueError: it is no SHA-256.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is no job's key")
    return key


def _refuse_links(path: Path) -> None:
    """Somebody else's run may lead out of its folder, to be read there or written, or hold what never ends.

    The kind of each entry comes with its name, so that no file is asked about.
    """
    waiting = [os.fspath(path)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
                        raise UserError(
                            f"{entry.path}: is a link or a special file; put a file with what it leads to in its place"
                        )
        except OSError:  # not there (any more), which is for others to say
            continue


def _is_empty(path: Path) -> bool:
    """Whether ``path`` is a folder that holds nothing, except what a run killed in its first moment left there."""
    return path.is_dir() and all(fnmatch(each.name, ".run.json.*.tmp") for each in path.iterdir())


def _check_format(marker: Path) -> None:
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        found = None
    if found != FORMAT:
        raise UserError(
            f"{marker}: this Assay reads runs of schema {FORMAT['schema']}, found {repr(found)[:_MOST_SHOWN]}; "
            "use the version that wrote it, or another --out"
        )
