"""Reads files that strangers wrote: bounded before they are opened, parsed without running anything, links refused.

Every failure is an :class:`UnreadableError` that says what was found and what was expected.
"""

import json
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from assay.board.submissions.problems import Problem
from assay.board.submissions.text import fault_of_text
from assay.common.validation import StrictModel, describe, read_yaml
from assay.tasks.base import Record

AGAIN = "run `assay submit` again on the run's folder"
KIB, MIB = 1024, 1024**2
MAX_UNPACKED = 1024 * MIB  # of a records file; 50,000 units of a large task need a third of it
_GZIP_FLAGS = 3  # the flags of a gzip header (RFC 1952)
MAX_RATIO = 250  # deflate reaches 1,032 on zeros; records of real tasks stay near 100
_KEY_END = b'":'
_SPACED_KEY = re.compile(rb'"[ \t\n\r]')  # space between a key and its colon
_DEEP = re.compile(rb"[\[{]")
# Numbers that are parsed as infinity, silently. Each begins with a plain letter, which is four times as fast to find.
_HUGE_NUMBERS = (
    re.compile(rb"e(?<=[0-9]e)\+?[0-9]{3,}\s*[,\]}]"),
    re.compile(rb"E(?<=[0-9]E)\+?[0-9]{3,}\s*[,\]}]"),
)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
# In ASCII JSON no text can be at fault without one of these; escapes and control characters begin with the backslash.
_SIGNS = (b"<", b"&", b"\\", b"\x7f", b"script", b"data:")

DocumentT = TypeVar("DocumentT", bound=StrictModel)


class UnreadableError(Exception):
    """A file that is refused; carries the problem to report."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def refuse(file: str, field: str, value: object, expected: str, mend: str) -> UnreadableError:
    """The error for one problem."""
    return UnreadableError(Problem(file, field, value, expected, mend))


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """A regular file's content, of at most ``limit`` bytes.

    Raises:
        UnreadableError: it is missing, a link, too large, or cannot be read.
    """
    path = folder / name
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise refuse(
                name, "type", "a link or a special file", "a regular file", "put the file itself there"
            )
        if status.st_size > limit:
            raise refuse(
                name,
                "size",
                f"{status.st_size} bytes",
                f"at most {limit} bytes",
                "submit only what Assay wrote",
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise refuse(
            name, "file", str(error), "a file that can be read", "run `assay submit` again"
        ) from error


def parse_json(name: str, data: bytes) -> Any:
    """The JSON value in ``data``: UTF-8, nested at most 200 deep, finite numbers, no key twice in one object.

    Raises:
        UnreadableError: it is not such a document.
    """
    try:
        if _holds_infinity(data):
            raise ValueError("a number with an exponent of three digits or more")
        document = from_json(data, allow_inf_nan=False, cache_strings="keys")
        check_keys(data, document)
        return document
    except (ValueError, RecursionError) as error:
        raise refuse(
            name, "document", str(error), "JSON in UTF-8, not deeply nested, with finite numbers", AGAIN
        ) from error


def _holds_infinity(data: bytes) -> bool:
    """Whether JSON has a number that is parsed as infinity; a hash in a text, such as ``…3e468, data …``, is none."""
    if not any(pattern.search(data) for pattern in _HUGE_NUMBERS):
        return False
    numbers = _STRING.sub(b'""', data)
    return any(pattern.search(numbers) for pattern in _HUGE_NUMBERS)


def check_keys(data: bytes, document: Any) -> None:
    """Refuse JSON with a key twice in one object: two readers would read two documents.

    Args:
        data: as it was written.
        document: what it was parsed to, with the last of equal keys.

    Raises:
        ValueError: a key is there twice.
    """
    if b"\\" in data or _SPACED_KEY.search(data):  # an escape, or such a space
        json.loads(data, object_pairs_hook=_refuse_twins)
    # Dense JSON without escapes: each of these ends a key, and of two that are equal one was lost.
    elif data.count(_KEY_END) != to_json(document).count(_KEY_END):
        raise ValueError("a key that is given twice")


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(
            f"the key {next(key for key in keys if keys.count(key) > 1)!r}, which is given twice"
        )


def parse_document(model: type[DocumentT], name: str, data: bytes) -> DocumentT:
    """``data`` as one of the submission's JSON documents.

    Raises:
        UnreadableError: it is not.
    """
    parse_json(name, data)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise refuse(
            name, _key(error), describe(error), f"a valid {model.__name__.lower()}", AGAIN
        ) from error


def read_metadata(model: type[DocumentT], folder: Path, name: str) -> DocumentT:
    """A YAML document of the submission, bounded in size; aliases are refused, because they can multiply.

    Raises:
        UnreadableError: it is not one.
    """
    data = read_bytes(folder, name, 16 * KIB)
    mend = "correct the key; the documentation of `assay submit` lists them"
    if len(_DEEP.findall(data)) > 50 or re.search(rb"(^|[\s\[{,:-])[&*!]\w", data):
        raise refuse(name, "document", "aliases, tags or deep nesting", "plain keys and values", mend)
    try:
        document = read_yaml(folder / name)
        return model.model_validate_json(_plain_json(document))
    except ValidationError as error:
        raise refuse(name, _key(error), describe(error), f"a valid {model.__name__.lower()}", mend) from error
    except (ValueError, RecursionError) as error:
        raise refuse(name, "document", str(error), "a YAML mapping", mend) from error


def _plain_json(document: dict[str, Any]) -> str:
    return json.dumps(document, default=str, allow_nan=False)


def _key(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.errors()[0]["loc"]) or "document"


def unpack(name: str, packed: bytes) -> bytes:
    """The content of a gzip file of one member, refused as soon as it grows beyond what records can be.

    Raises:
        UnreadableError: it is not gzip, unpacks to too much, or has something after its end.
    """
    if len(packed) > _GZIP_FLAGS and packed[_GZIP_FLAGS]:
        raise refuse(name, "header", "a name, a comment or another extra", "gzip without any", AGAIN)
    limit = min(MAX_UNPACKED, MIB + MAX_RATIO * len(packed))
    engine = zlib.decompressobj(wbits=31)
    try:
        data = engine.decompress(packed, limit + 1)
    except zlib.error as error:
        raise refuse(name, "content", str(error), "gzip", AGAIN) from error
    if len(data) > limit:
        raise refuse(name, "unpacked size", f"more than {limit} bytes", f"at most {limit} bytes", AGAIN)
    if not engine.eof or engine.unused_data:
        raise refuse(name, "content", "a truncated file or more than one member", "one gzip member", AGAIN)
    return data


OpenFiles = Callable[[Sequence[str]], Mapping[str, bytes]]


def parse_records(
    name: str, data: bytes, units: int | None = None, open_files: OpenFiles | None = None
) -> list[Record]:
    """The records in the unpacked lines, one per unit; no line is parsed where there are more than ``units``.

    Args:
        name: of the file, for messages.
        data: the lines.
        units: how many there may be.
        open_files: gives the files that a record names; without it no record may name any.

    Raises:
        UnreadableError: too many lines; one is not a record, has a number that is not finite, or text with markup.
    """
    if units is not None and (count := data.count(b"\n")) > units:
        raise refuse(name, "records", count, f"{units}, the units of the data set", AGAIN)
    if _holds_infinity(data):
        raise refuse(name, "numbers", "an exponent of three digits or more", "finite numbers", AGAIN)
    folded = data.lower()
    if not data.isascii() or any(sign in folded for sign in _SIGNS):
        _check_lines(name, data)
    return [_record(name, number, line, open_files) for number, line in enumerate(data.splitlines(), start=1)]


def _check_lines(name: str, data: bytes) -> None:
    """The slow check of every string, only where a first look finds characters that need it."""
    for number, line in enumerate(data.splitlines(), start=1):
        place = f"{name}, line {number}"
        check_text(place, parse_json(place, line))


def check_text(name: str, document: Any, mend: str = AGAIN) -> None:
    """Every string in a JSON value is plain text.

    Raises:
        UnreadableError: one has markup, or characters that nobody sees.
    """
    for text in strings(document):
        if fault := fault_of_text(text):
            raise refuse(name, "text", fault, "plain text", mend)


def _record(name: str, number: int, line: bytes, open_files: OpenFiles | None) -> Record:
    try:
        document = from_json(line, allow_inf_nan=False, cache_strings="all")
        check_keys(line, document)
        unit_id, values, error = document["unit_id"], document["values"], document["error"]
        plain = isinstance(unit_id, str) and isinstance(values, dict) and isinstance(error, str | None)
        if len(document) == 3 and plain:
            return Record(unit_id, values, error)
        if len(document) == 4 and plain and open_files:
            return Record(unit_id, values, error, open_files(_names(document["files"])))
        raise ValueError("other keys or types")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refuse(
            f"{name}, line {number}",
            "record",
            f"{type(error).__name__}: {error}",
            "an object with unit_id (text), values (an object), error (text or null) and perhaps files (names); "
            "finite numbers",
            AGAIN,
        ) from error


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("`files` is no list of names")
    return value


def strings(document: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included; no recursion, so no depth is too deep."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
