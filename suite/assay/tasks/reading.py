"""Records as they are read: they have the shape that figures are made of, or are refused."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from zipfile import BadZipFile

from pydantic import ValidationError

from assay.common.errors import UserError
from assay.tasks.base import Record, Task
from assay.tasks.task_spec import TaskSpec

_MOST_SHOWN = 200  # characters of what a stranger wrote


class RecordFault(NamedTuple):
    """What is wrong with a record.

    Attributes:
        place: the unit's id and the key, dotted.
        found: what stands there.
        expected: in words.
    """

    place: str
    found: object
    expected: str

    def __str__(self) -> str:
        """The fault as a part of a sentence."""
        found = " ".join(repr(self.found).split())[:_MOST_SHOWN]
        return f"`{self.place}`: {self.expected} (got {found})"


def faults(task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record]) -> Iterator[RecordFault]:
    """The first fault of each record that has any; a record with an error has no values to look at.

    Values are checked against the family's own names and types (a boolean is no number), then against the spec.
    """
    for record in records:
        if record.error is not None:
            continue
        try:
            task.record_values.validate_python(record.values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in (record.unit_id, "values", *first["loc"]))
            found = "nothing" if first["type"] == "missing" else first["input"]
            yield RecordFault(key, found, first["msg"])
            continue
        if (lack := task.lacks(spec, record)) is not None:
            yield RecordFault(f"{record.unit_id}.values", "other ones", lack)


def require_shape(
    task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], where: str
) -> Sequence[Record]:
    """The records; the family can read all of them.

    Raises:
        UserError: one cannot; the sentence begins with ``where``.
    """
    fault = next(faults(task, spec, records), None)
    if fault is not None:
        raise UserError(f"{where}: {_NOT_OURS} ({fault}); {_MEND}")
    return records


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Say in one sentence what only several records together show: no run writes such ones, but strangers can."""
    try:
        yield
    except UserError:
        raise
    except _OF_STRANGERS as error:
        text = " ".join(str(error).split())[:_MOST_SHOWN]
        raise UserError(f"{where}: {_NOT_OURS} ({type(error).__name__}: {text}); {_MEND}") from error


# The last four: arrays and pictures beside the records that are none.
_OF_STRANGERS = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, OSError, EOFError, BadZipFile,
    zlib.error,
)  # fmt: skip
_NOT_OURS = "its records are not what a run of this version writes"
_MEND = "run the task again"
