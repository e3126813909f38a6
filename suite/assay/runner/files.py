"""Files that appear whole or not at all, and logs whose last line may be torn."""

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.errors import UserError


def write_atomically(path: Path, content: str | bytes, sync_folder: bool = True) -> None:
    """Write to a temporary name in the same folder, flush to the disk, rename; the older file survives a failure.

    With ``sync_folder`` the rename itself outlasts a loss of power too.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync_folder:
            _sync_folder(path.parent)
    except OSError as error:
        raise _as_user_error(path, error) from error


class LogFile:
    """A file of JSON lines that is added to; it stays open, because opening costs more than writing a line."""

    def __init__(self, path: Path) -> None:
        """Open the log, and end its last line where a full disk or a kill tore it.

        Raises:
            UserError: the folder cannot be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")
        except OSError as error:
            raise _as_user_error(path, error) from error

    def write(self, document: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            UserError: the disk is full.
        """
        try:
            os.write(self._descriptor, json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise _as_user_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def append_line(path: Path, document: Mapping[str, Any]) -> None:
    """Add one line to a log, as :class:`LogFile` does.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    log = LogFile(path)
    try:
        log.write(document)
    finally:
        log.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of a log; lines that are not whole are skipped, and a log that is missing is empty."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    for line in content.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield document


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system lets a folder be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _as_user_error(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{path}: the disk is full; what was stored before is whole: free some space and run the same command again"
        )
    return UserError(
        f"{path}: cannot be written ({error.strerror}); choose a folder that you may write to with --out"
    )


def path_name(name: str) -> str:
    """A model's or task's name as a relative path: no ``..``, no odd characters."""
    parts = [re.sub(r"[^A-Za-z0-9._-]", "_", part) for part in name.split("/")]
    return "/".join("_" if part.strip(".") == "" else part for part in parts)
