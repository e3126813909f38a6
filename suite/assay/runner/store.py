"""A run's folder: jobs and their chunks, each written whole, checked when read, and never trusted otherwise.

::

    DIR/run.json                      what makes DIR a run (its format's version)
    DIR/lock                          who is writing, while somebody is
    DIR/index.json                    which job stands behind each (model, task)
    DIR/jobs/<key>/job.json           the job: identity, cards, number of units
    DIR/jobs/<key>/chunks/00000.jsonl a header with the SHA-256 of the records' lines, then one record a line
    DIR/jobs/<key>/files/…            the records' files (their hashes are in the records)
    DIR/jobs/<key>/times/00000.json   how long the chunk took, and where; never part of an answer
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from assay.canonical import canonical_json
from assay.errors import UserError
from assay.runner.files import write_atomically
from assay.tasks.base import Record

FORMAT = {"kind": "assay-run", "schema": 1}


class BrokenChunkError(Exception):
    """A chunk on disk is not what was written there; its text says why."""


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
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(
                f"{path}: exists and is not a run of Assay (no run.json); choose a new or empty --out"
            )
        else:
            write_atomically(marker, json.dumps(FORMAT) + "\n")

    @classmethod
    def existing(cls, path: Path) -> "RunFolder":
        """The run in ``path``, which must be one already.

        Raises:
            UserError: it is not.
        """
        if not (path / "run.json").is_file():
            raise UserError(
                f"{path}: is not a run of Assay (no run.json); give the folder that `assay run --out` wrote"
            )
        return cls(path)

    def job(self, key: str) -> "JobStore":
        """The store of the job with this key."""
        return JobStore(self.path / "jobs" / key[:24], key)

    def index(self) -> list[dict[str, str]]:
        """Which job stands behind each (model, task), sorted."""
        path = self.path / "index.json"
        if not path.is_file():
            return []
        try:
            entries = json.loads(path.read_text())
            return [{name: str(entry[name]) for name in ("model", "task", "key")} for entry in entries]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: is damaged ({error}); delete it and run the same command again"
            ) from error

    def point(self, model: str, task: str, key: str) -> None:
        """Let the job ``key`` stand behind (``model``, ``task``)."""
        entries = [entry for entry in self.index() if (entry["model"], entry["task"]) != (model, task)]
        entries.append({"model": model, "task": task, "key": key})
        entries.sort(key=lambda entry: (entry["model"], entry["task"]))
        write_atomically(self.path / "index.json", json.dumps(entries, indent=1) + "\n")


def _check_format(marker: Path) -> None:
    try:
        found = json.loads(marker.read_text())
    except (ValueError, OSError):
        found = None
    if found != FORMAT:
        raise UserError(
            f"{marker}: this Assay reads runs of schema {FORMAT['schema']}, found {found!r}; "
            "use the version that wrote it, or another --out"
        )


class StoredFiles(Mapping[str, bytes]):
    """A record's files by name, each read from the disk only when it is asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> bytes:
        return self._paths[name].read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class JobStore:
    """The stored part of one job."""

    path: Path
    key: str

    def write_job(self, document: dict[str, Any]) -> None:
        """Store what the job is; nothing is written when the same is there already."""
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        path = self.path / "job.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)

    def read_job(self) -> dict[str, Any]:
        """What the job is.

        Raises:
            UserError: the file is missing or damaged.
        """
        path = self.path / "job.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is missing or damaged ({error}); run the same command again") from error
        if not isinstance(document, dict) or document.get("key") != self.key:
            raise UserError(
                f"{path}: belongs to another job; delete its folder and run the same command again"
            )
        return document

    def chunk_path(self, chunk: int) -> Path:
        """Where a chunk lies."""
        return self.path / "chunks" / f"{chunk:06d}.jsonl"

    def write_chunk(self, chunk: int, records: Sequence[Record], times: dict[str, Any]) -> None:
        """Store a chunk: its files first, then its records, so that a record's files are always there."""
        lines = []
        for record in records:
            names = {
                name: hashlib.sha256(content).hexdigest() for name, content in sorted(record.files.items())
            }
            for name, content in record.files.items():
                write_atomically(self.file_path(name), content)
            document = {"unit_id": record.unit_id, "values": dict(record.values), "error": record.error}
            lines.append(canonical_json(document | ({"files": names} if names else {})) + "\n")
        body = "".join(lines)
        header = {"job": self.key, "chunk": chunk, "records": len(records), "sha256": _sha256(body)}
        write_atomically(self.path / "times" / f"{chunk:06d}.json", json.dumps(times) + "\n")
        write_atomically(self.chunk_path(chunk), canonical_json(header) + "\n" + body)

    def read_chunk(self, chunk: int, unit_ids: Sequence[str] | None = None) -> list[Record] | None:
        """A chunk's records, or None when it is not stored.

        Raises:
            BrokenChunkError: it is stored but not what was written (truncated, altered, of other units or job).
        """
        try:
            text = self.chunk_path(chunk).read_bytes().decode("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise BrokenChunkError("is not UTF-8") from error
        head, _, body = text.partition("\n")
        try:
            header = json.loads(head)
            if (header["job"], header["chunk"], header["sha256"]) != (self.key, chunk, _sha256(body)):
                raise BrokenChunkError("its SHA-256 differs from its header's, or it belongs elsewhere")
            documents = [json.loads(line) for line in body.splitlines()]
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenChunkError(f"cannot be parsed ({error})") from error
        if unit_ids is not None and [document["unit_id"] for document in documents] != list(unit_ids):
            raise BrokenChunkError("holds other units than the plan says")
        self._check_files(documents)
        return [self._record(document) for document in documents]

    def read_times(self) -> list[dict[str, Any]]:
        """The times of all chunks that are stored, in order; a damaged file counts as none."""
        times = []
        for path in sorted((self.path / "times").glob("*.json")):
            try:
                times.append(json.loads(path.read_text()))
            except (OSError, ValueError):
                continue
        return times

    def file_path(self, name: str) -> Path:
        """Where a record's file of this name lies; a name is relative, with forward slashes and no ``..``."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"a record's file must have a relative name without '..', got {name!r}")
        return self.path / "files" / pure

    def _record(self, document: dict[str, Any]) -> Record:
        paths = {name: self.file_path(name) for name in document.get("files", {})}
        return Record(document["unit_id"], document["values"], document["error"], StoredFiles(paths))

    def _check_files(self, documents: Iterable[dict[str, Any]]) -> None:
        for document in documents:
            for name, expected in document.get("files", {}).items():
                path = self.file_path(name)
                if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                    raise BrokenChunkError(f"its file {name} is missing or altered")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
