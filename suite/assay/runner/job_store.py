"""The stored part of one job: its document, and its chunks, each checked whenever it is read."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from assay.common.canonical import canonical_json
from assay.common.errors import UserError
from assay.common.validation import validate
from assay.models.info import Fingerprint, same_answers
from assay.results.document import DataCard, ModelCard, TrainingOverlap
from assay.runner.files import read_lines, text_of, write_atomically
from assay.tasks.base import Record

_CHUNK_NAME = re.compile(r"\d{6}\.jsonl")
_ODD = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    OSError,
)  # of records that no run wrote


class BrokenChunkError(Exception):
    """A chunk on disk is not what was written there; its text says why."""


_Count = Annotated[int, Field(ge=0, le=10**9)]


class JobDocument(BaseModel):
    """The fields of a job's document that the program relies on; anybody may have written it."""

    model_config = ConfigDict(strict=True)

    task: str
    identity: "JobIdentity"
    spec: "JobSpec"
    model: ModelCard
    data: DataCard
    units: _Count
    planned: _Count
    chunks: _Count
    limited: bool
    not_applicable: str | None
    command: str
    record_version: _Count | None = None
    training: TrainingOverlap | None = None


class JobIdentity(BaseModel):
    """The part of an identity that a result shows."""

    spec: dict[str, Any]
    precision: dict[str, Any]


class JobSpec(BaseModel):
    """The part of a spec that every family has."""

    family: str
    title: str


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
class ChunkHeader:
    """What a chunk says of itself: which job, units and how many of them failed, and whether it has files."""

    job: str
    chunk: int
    records: int
    units_sha256: str
    errors: int
    files: bool


@dataclass(frozen=True)
class JobStore:
    """The stored part of one job."""

    path: Path
    key: str

    @staticmethod
    def folder_name(key: str) -> str:
        """The name of the folder of the job with this key."""
        return key[:24]

    def write_job(self, names: tuple[str, str], document: dict[str, Any]) -> None:
        """Store what the job is under its model's and task's names; nothing is written when the same is there.

        One job can have two names: a spec and its copy under another title have one answer.
        """
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        path = self._job_path(names)
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomically(path, text, sync_folder=False)

    def read_job(self, names: tuple[str, str]) -> dict[str, Any]:
        """What the job is, as called by its model's and task's names.

        Raises:
            UserError: the file is missing or damaged.
        """
        path = self._job_path(names)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: is missing or damaged ({error}); run the same command again") from error
        if not isinstance(document, dict) or document.get("key") != self.key:
            raise UserError(
                f"{path}: belongs to another job; delete its folder and run the same command again"
            )
        validate(JobDocument, document, str(path))
        return document

    def forget_name(self, names: tuple[str, str]) -> None:
        """Remove what the job is under one of its names."""
        self._job_path(names).unlink(missing_ok=True)

    @property
    def _fingerprint_path(self) -> Path:
        return self.path / "fingerprint.json"

    def write_fingerprint(self, fingerprint: Fingerprint | None) -> None:
        """Store how the network answered when the job began; what is there stays."""
        if not self._fingerprint_path.is_file():
            write_atomically(self._fingerprint_path, json.dumps(fingerprint) + "\n", sync_folder=False)

    def begun_by(self) -> tuple[Fingerprint | None, ...]:
        """How the network answered that began the job; empty where none did.

        Raises:
            UserError: what is stored is damaged.
        """
        try:
            stored = json.loads(self._fingerprint_path.read_text(encoding="utf-8"))
            return (None if stored is None else tuple(float(number) for number in stored),)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self._fingerprint_path}: is damaged ({error}); delete its folder and run the same command again"
            ) from error

    def is_of(self, fingerprint: Fingerprint | None) -> bool:
        """Whether the job is not begun, or a network that answers as ``fingerprint`` says began it."""
        return all(same_answers(known, fingerprint) for known in self.begun_by())

    def _job_path(self, names: tuple[str, str]) -> Path:
        return self.path / f"job-{_sha256(canonical_json(list(names)))[:12]}.json"

    def chunk_path(self, chunk: int) -> Path:
        """Where a chunk lies."""
        return Path(self._chunk_name(chunk))

    def _chunk_name(self, chunk: int) -> str:
        # Not by way of Path: joining takes longer than reading where a run has many thousands of chunks.
        return f"{self.path}/chunks/{chunk:06d}.jsonl"

    def stored_chunks(self) -> set[int]:
        """The chunks that have a file, whole or not."""
        try:
            with os.scandir(self.path / "chunks") as entries:
                return {int(entry.name[:6]) for entry in entries if _CHUNK_NAME.fullmatch(entry.name)}
        except FileNotFoundError:
            return set()

    def write_chunk(self, chunk: int, records: Sequence[Record]) -> None:
        """Store a chunk: its files first, then its records, so that a record's files are always there."""
        documents = []
        for record in records:
            names = {
                name: hashlib.sha256(content).hexdigest() for name, content in sorted(record.files.items())
            }
            for name, content in record.files.items():
                write_atomically(self.file_path(name), content)
            document = {"unit_id": record.unit_id, "values": dict(record.values), "error": record.error}
            documents.append(document | ({"files": names} if names else {}))
        header = {
            "job": self.key,
            "chunk": chunk,
            "records": len(records),
            "units_sha256": units_sha256(record.unit_id for record in records),
            "errors": sum(record.error is not None for record in records),
            "files": any(record.files for record in records),
        }
        rest = "".join(canonical_json(document) + "\n" for document in (header, *documents)).encode()
        # Where a rename is lost with the power, the chunk is found missing and computed again: no need to wait
        # for the folder as well.
        write_atomically(self.chunk_path(chunk), _first_line(rest) + b"\n" + rest, sync_folder=False)

    def check_chunk(self, chunk: int, unit_ids: Sequence[str] | None = None) -> ChunkHeader | None:
        """What a chunk's header says, once every byte was found to be as written; None when it is not stored.

        Raises:
            BrokenChunkError: it is stored but not what was written (truncated, altered, of other units or job).
        """
        found = self._whole(chunk)
        if found is None:
            return None
        if unit_ids is not None and found[0].units_sha256 != units_sha256(unit_ids):
            raise BrokenChunkError("holds other units than the plan says")
        return found[0]

    def read_chunk(self, chunk: int) -> list[Record] | None:
        """A chunk's records, or None when it is not stored.

        Raises:
            BrokenChunkError: as :meth:`check_chunk`.
        """
        found = self._whole(chunk)
        try:
            return None if found is None else [self._record(json.loads(line)) for line in found[1]]
        except _ODD as error:
            raise BrokenChunkError(f"its records are not of this version ({error})") from error

    def _whole(self, chunk: int) -> tuple[ChunkHeader, list[str]] | None:
        """A chunk's header and its records' lines."""
        text = self._sound_text(chunk)
        if text is None:
            return None
        # Not splitlines(): a record may hold other characters that it would take for the end of a line.
        head, *lines = text.rstrip("\n").split("\n")
        header = _header(head)
        if (header.job, header.chunk) != (self.key, chunk):
            raise BrokenChunkError("belongs to another job or place")
        try:
            if header.files:
                self._check_files(json.loads(line) for line in lines)
        except _ODD as error:
            raise BrokenChunkError(f"its records are not of this version ({error})") from error
        return header, lines

    def _sound_text(self, chunk: int) -> str | None:
        """A chunk's text after its first line, which is the hash of that text; None when it is not stored."""
        try:
            with FileIO(self._chunk_name(chunk)) as file:
                content = file.readall()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BrokenChunkError(f"cannot be read ({error.strerror})") from error
        head, _, rest = content.partition(b"\n")
        if head != _first_line(rest):
            raise BrokenChunkError("its SHA-256 is not the one in its first line: truncated or altered")
        return rest.decode(errors="replace")

    @property
    def unfinished(self) -> Path:
        """Where the work on chunks is kept until they are stored."""
        return self.path / "unfinished"

    def sweep(self) -> None:
        """Remove what a killed run left half-written; only for the holder of the lock."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                if name.startswith(".") and name.endswith(".tmp"):
                    Path(folder, name).unlink(missing_ok=True)

    @property
    def times_path(self) -> Path:
        """The log of how long each chunk took; a line that is lost with the power is no answer lost."""
        return self.path / "times.jsonl"

    def read_times(self) -> list[dict[str, Any]]:
        """The newest times of each chunk, in the order of the chunks; a damaged line counts as none."""
        newest = {entry["chunk"]: entry for entry in read_lines(self.times_path) if _is_time(entry)}
        return [newest[chunk] for chunk in sorted(newest)]

    def file_path(self, name: str) -> Path:
        """Where a record's file of this name lies; a name is relative, with forward slashes and no ``..``."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"a record's file must have a relative name without '..', got {name!r}")
        return self.path / "files" / pure

    def _record(self, document: dict[str, Any]) -> Record:
        if not isinstance(document["unit_id"], str) or not isinstance(document["values"], dict):
            raise TypeError("a record without a name or values")
        if not isinstance(document["error"], str | None):
            raise TypeError("an error that is no text")
        text_of(document["error"])
        paths = {name: self.file_path(name) for name in document.get("files", {})}
        return Record(document["unit_id"], document["values"], document["error"], StoredFiles(paths))

    def _check_files(self, documents: Iterable[dict[str, Any]]) -> None:
        for document in documents:
            for name, expected in document.get("files", {}).items():
                path = self.file_path(name)
                if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                    raise BrokenChunkError(f"its file {name} is missing or altered")


_NEEDED = ("chunk", "wall_seconds", "cpu_seconds")
_COUNTED = re.compile("chunk|units|passes|images|batch_size|.*_seconds|.*_bytes")
_MOST = 2**53  # of seconds, bytes and counts in a log of times


def _is_time(entry: Mapping[str, Any]) -> bool:
    """Whether a line is one that a run writes: sums of its numbers are numbers."""
    return all(name in entry for name in _NEEDED) and all(
        type(value) in (int, float) and abs(value) < _MOST
        if _COUNTED.fullmatch(name)
        else value is None or isinstance(value, int | float | str)
        for name, value in entry.items()
    )


def _first_line(rest: bytes) -> bytes:
    """What stands above the rest of a chunk: its hash, as canonical JSON."""
    return b'{"sha256":"%s"}' % hashlib.sha256(rest).hexdigest().encode()


def _header(line: str) -> ChunkHeader:
    try:
        return ChunkHeader(**json.loads(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenChunkError(f"its header is not of this version ({error})") from error


def units_sha256(unit_ids: Iterable[str]) -> str:
    """SHA-256 (hex) of unit ids in their order."""
    return _sha256(json.dumps(list(unit_ids)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
