"""The files beside the records that figures follow from; checked before anything reads them.

A family names them (``scored_files``); they lie under ``files/<task>/``, and a record names its own.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod

import numpy as np

from assay.board.submissions.folder import SubmissionFiles
from assay.board.submissions.reader import (
    AGAIN,
    MAX_RATIO,
    MIB,
    UnreadableError,
    check_text,
    parse_json,
    refuse,
)
from assay.runner.job_store import StoredFiles

_MAX_ARRAYS = 1000  # in one archive


def is_scored(name: str, patterns: Sequence[str]) -> bool:
    """Whether a record's file of this name must travel with the record."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def place_of(task: str, name: str) -> str:
    """Where a record's file lies in a submission."""
    return f"files/{task}/{name}"


class ScoredFiles:
    """The files of a task's records in a submission, each of them checked when a record first names it."""

    def __init__(self, files: SubmissionFiles, task: str, patterns: Sequence[str]) -> None:
        self._files, self._task, self._patterns = files, task, patterns
        self._good: set[str] = set()

    def of_record(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The files that a record names.

        Raises:
            UnreadableError: one is missing, is none that figures follow from, or holds what it should not.
        """
        for name in names:
            if name not in self._good:
                self._check(name)
                self._good.add(name)
        return StoredFiles({name: self._files.folder / place_of(self._task, name) for name in names})

    def require_named(self) -> None:
        """Refuse files that no record names.

        Raises:
            UnreadableError: there is one.
        """
        prefix = place_of(self._task, "")
        for name in self._files.names:
            if name.startswith(prefix) and name.removeprefix(prefix) not in self._good:
                raise refuse(name, "file", "a file of no record", "no such file", AGAIN)

    def _check(self, name: str) -> None:
        place = place_of(self._task, name)
        if not is_scored(name, self._patterns) or place not in self._files.names:
            expected = " or ".join(place_of(self._task, pattern) for pattern in self._patterns)
            expected = f"a file of the submission like {expected}" if expected else "no file, for this family"
            raise refuse(f"records/{self._task}.jsonl.gz", "files", name, expected, AGAIN)
        data = self._files.read(place)
        if name.endswith(".npz"):
            check_arrays(place, data)
        else:
            check_text(place, parse_json(place, data))


def check_arrays(name: str, data: bytes) -> None:
    """An npz archive of finite plain numbers, each array as large as its header says.

    The sizes are compared before anything is unpacked or allocated, and no pickle is ever opened.

    Raises:
        UnreadableError: it is something else.
    """
    limit = MIB + MAX_RATIO * len(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                raise ValueError("an array that is there twice")
            if len(members) > _MAX_ARRAYS:
                raise ValueError(f"{len(members)} arrays, more than {_MAX_ARRAYS}")
            if (size := sum(member.file_size for member in members)) > limit:
                raise ValueError(f"{size} bytes unpacked, more than {limit}")
            for member in members:
                with archive.open(member) as stream:
                    _check_array(member.filename, stream.read(member.file_size + 1))
    except UnreadableError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds on damaged files
        text = f"{type(error).__name__}: {error}"
        raise refuse(name, "content", text, "an archive of finite numbers", AGAIN) from error


def _check_array(member: str, content: bytes) -> None:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(stream)
    if dtype.kind not in "biuf":
        raise ValueError(f"{member} holds {dtype}, not plain numbers")
    body = content[stream.tell() :]
    if prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{member} says {shape} of {dtype} and holds {len(body)} bytes")
    if dtype.kind == "f" and not np.isfinite(np.frombuffer(body, dtype)).all():
        raise ValueError(f"{member} holds infinite or undefined numbers")
