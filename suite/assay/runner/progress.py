"""Progress: one line per job with rate, time to go and failures; plain lines in logs, nothing when quiet."""

import sys
import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

PLAIN_EVERY_SECONDS = 10.0
MEANS_SOMETHING_SECONDS = 5.0
"""Before that, and before anything is stored, no speed and no remaining time are given."""


@dataclass
class Line:
    """How far one job is. ``started`` is when its first unit was begun (monotonic seconds)."""

    name: str
    units: int
    done: float = 0.0
    stored: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        """Whether every unit's record is safe on the disk."""
        return self.stored >= self.units

    def text(self) -> str:
        """``name: 3/20 units, 0.5 units/s, 6 s, 34 s to go, 1 failed``; no speed before it means something.

        The first units are slow, for networks warm up in them; and a quick part of a chunk says little of the rest.
        """
        seconds = time.monotonic() - self.started
        rate = max(self.done, 0.0) / max(seconds, 1e-9)
        parts = [f"{self.name}: {max(self.done, 0.0):.0f}/{self.units} units"]
        known = self.done >= 1 and (self.stored or seconds >= MEANS_SOMETHING_SECONDS)
        parts += [_rate(rate), duration(seconds)] if known else [duration(seconds)]
        if known and not self.finished:
            parts.append(f"{duration(max(self.units - self.done, 0.0) / rate)} to go")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


def _rate(rate: float) -> str:
    return f"{rate:.3g} units/s" if rate >= 1 else f"{1 / rate:.3g} s per unit"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s`` or ``5 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Display(Protocol):
    """Where lines are shown."""

    def show(self, line: Line) -> None:
        """Show a line that changed."""
        ...

    def say(self, text: str) -> None:
        """Print a sentence between the lines."""
        ...

    def close(self) -> None:
        """Leave the screen as it should stay."""
        ...


class Silent:
    """Shows nothing."""

    def show(self, line: Line) -> None:
        """See :class:`Display`."""

    def say(self, text: str) -> None:
        """See :class:`Display`."""

    def close(self) -> None:
        """See :class:`Display`."""


class Plain:
    """Lines on standard error, each job's every ten seconds and when it is done: for logs."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def show(self, line: Line) -> None:
        """See :class:`Display`."""
        now = time.monotonic()
        if line.finished or now - self._last.setdefault(line.name, now) >= PLAIN_EVERY_SECONDS:
            self._last[line.name] = now
            self.say(line.text())

    def say(self, text: str) -> None:
        """See :class:`Display`."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """See :class:`Display`."""


class Terminal:
    """A moving line for each job that is under way; those that are done are printed above."""

    def __init__(self, console: Console) -> None:
        columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
        self._bars = RichProgress(*columns, console=console)
        self._bars.start()
        self._shown: dict[str, TaskID] = {}

    def show(self, line: Line) -> None:
        """See :class:`Display`."""
        bar = self._shown.get(line.name)
        if bar is None:
            bar = self._shown[line.name] = self._bars.add_task(line.text(), total=line.units)
        self._bars.update(bar, completed=line.done, description=line.text())
        if line.finished:
            self._bars.remove_task(self._shown.pop(line.name))
            self.say(line.text())

    def say(self, text: str) -> None:
        """See :class:`Display`."""
        self._bars.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """See :class:`Display`."""
        self._bars.stop()


def display(quiet: bool) -> Display:
    """The display that fits standard error."""
    console = Console(stderr=True)
    if quiet:
        return Silent()
    return Terminal(console) if console.is_terminal else Plain()
