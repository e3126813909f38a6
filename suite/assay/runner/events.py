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


def _is_event(entry: dict[str, Any]) -> bool:
    """Whether a line is an event, with the numbers that its kind has."""
    numbers = {"chunk_stored": ("chunk", "errors", "units"), "run_started": ("pid", "units")}
    if not isinstance(entry.get("event"), str) or type(entry.get("time")) not in (int, float):
        return False
    needed = numbers.get(entry["event"], ())
    return all(type(entry.get(name)) is int for name in needed) and isinstance(entry.get("job", ""), str)
