"""The runner's files: files that are written whole or not at all, logs whose last line may be torn, names as paths."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.common.atomic import as_user_error, write_atomically

__all__ = ["LogFile", "append_line", "path_name", "read_lines", "text_of", "write_atomically"]


# No link is followed where the system can tell, and Windows changes no line ends.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# Names that Windows keeps for devices, whatever their ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


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
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | _AS_IT_IS, 0o644)
            size = os.fstat(self._descriptor).st_size
            if size:
                os.lseek(self._descriptor, size - 1, os.SEEK_SET)
                if os.read(self._descriptor, 1) != b"\n":
                    _append(self._descriptor, b"\n")
        except OSError as error:
            raise as_user_error(path, error) from error

    def write(self, document: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            UserError: the disk is full.
        """
        try:
            _append(self._descriptor, json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise as_user_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _append(descriptor: int, data: bytes) -> None:
    """Write all of it. When a disk fills up, the system writes a part and fails only at the next call."""
    while data:
        data = data[os.write(descriptor, data) :]


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
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document


def path_name(name: str) -> str:
    """A model's or task's name as a relative path on every system: no ``..``, odd character, device or last dot."""
    return "/".join(_part_name(re.sub(r"[^A-Za-z0-9._-]", "_", part)) for part in name.split("/"))


def _part_name(part: str) -> str:
    if part.strip(".") == "":
        return "_"
    if part.endswith("."):
        part = f"{part[:-1]}_"
    return f"_{part}" if _DEVICES.match(part) else part


def text_of(value: object) -> str:
    """The value as text.

    Raises:
        ValueError: a lone surrogate, which JSON can spell and no file can hold.
    """
    text = str(value)
    text.encode()
    return text
