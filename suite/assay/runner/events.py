"""The event log of a run: JSON lines that say what happened when, for `assay status` and for other programs."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.runner.files import LogFile, read_lines


class EventLog:
    """``DIR/events.jsonl``; every line has ``time`` (seconds since 1970) and ``event``."""

    def __init__(self, folder: Path) -> None:
        self._log = LogFile(folder / "events.jsonl")

    def write(self, event: str, **details: Any) -> None:
        """Add an event.

        Raises:
            UserError: the disk is full.
        """
        self._log.write({"time": round(time.time(), 3), "event": event, **details})

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """All events of a run that are whole, oldest first."""
    return (entry for entry in read_lines(folder / "events.jsonl") if _is_event(entry))


# The fields that events of a kind must have, because they are read.
_FIELDS: dict[str, dict[str, type]] = {
    "chunk_stored": {"job": str, "chunk": int, "errors": int, "units": int},
    "run_started": {"pid": int, "units": int},
}


def _is_event(entry: dict[str, Any]) -> bool:
    """Whether a line is an event with the fields that its kind must have."""
    if not isinstance(entry.get("event"), str) or not _is_time(entry.get("time")):
        return False
    needed = _FIELDS.get(entry["event"], {})
    return all(type(entry.get(name)) is kind for name, kind in needed.items())


def _is_time(value: Any) -> bool:
    """Whether a value is a finite number of seconds that a float can hold."""
    return type(value) in (int, float) and abs(value) < 1e12
