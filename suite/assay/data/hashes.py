"""SHA-256 of files, computed once and remembered by path, size and modification time."""

import gzip
import hashlib
import json
import os
import tempfile
import time
import zlib
from pathlib import Path

from assay.common.errors import UserError
from assay.common.resources import cache_folder

_BLOCK = 1 << 20
# A file written this recently might be written again within the clock's resolution: hash it anew next time.
_SETTLED_NS = 2_000_000_000


def is_packed(path: Path, name: str) -> bool:
    """Whether ``path`` is the gzip form of the file that a manifest calls ``name``."""
    return path.name.endswith(".gz") and not name.endswith(".gz")


def content_sha256(path: Path, packed: bool) -> str:
    """SHA-256 (hex) of a file's bytes, or of what it unpacks to when ``packed``.

    Raises:
        UserError: the file cannot be read or unpacked.
    """
    digest = hashlib.sha256()
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); check its permissions or get it again") from error
    return digest.hexdigest()


class Memory:
    """What this machine found out about data before: texts by key, in one file of the cache folder.

    It only saves time: a memory that cannot be read counts as empty, and one that cannot be written is lost.
    """

    def __init__(self, name: str) -> None:
        self._path = cache_folder() / name
        self._known = self._read()
        self._new: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """What is known under ``key``."""
        return self._known.get(key)

    def put(self, key: str, value: str, lasting: bool = True) -> None:
        """Remember ``value``; beyond this process only where it is ``lasting``."""
        self._known[key] = value
        if lasting:
            self._new[key] = value

    def save(self) -> None:
        """Adds what is new to the file, atomically."""
        if not self._new:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.stem}-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    json.dump(self._read() | self._new, stream)
                Path(temporary).replace(self._path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
        except OSError:
            return

    def _read(self) -> dict[str, str]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(document, dict):
            return {}
        return {key: value for key, value in document.items() if isinstance(value, str)}


class HashMemory(Memory):
    """The remembered hashes of this machine's data files."""

    def __init__(self) -> None:
        super().__init__("file-hashes.json")

    def sha256(self, path: Path, packed: bool) -> str:
        """:func:`content_sha256`, remembered.

        Raises:
            UserError: the file cannot be read or unpacked.
        """
        key = self._key(path, packed)
        known = self.get(key)
        if known is None:
            known = content_sha256(path, packed)
            self.put(key, known, lasting=time.time_ns() - path.stat().st_mtime_ns > _SETTLED_NS)
        return known

    @staticmethod
    def _key(path: Path, packed: bool) -> str:
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        return json.dumps([str(path.absolute()), status.st_size, status.st_mtime_ns, packed])
