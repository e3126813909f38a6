"""Progress with a time to go: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

PLAIN_EVERY_SECONDS = 10.0


class Progress:
    """Shows how far a job is, on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._failed = 0

    def failures(self, count: int) -> None:
        """Add to the number of failed units that is shown."""
        self._failed += count

    @contextmanager
    def job(self, name: str, units: int) -> Iterator[Callable[[float], None]]:
        """Show one job; the block gets a function to call with the number of units that are done."""
        self._failed = 0
        if self._quiet or units == 0:
            yield lambda _units: None
        elif self._console.is_terminal:
            with self._bar(name, units) as advance:
                yield advance
        else:
            yield self._plain(name, units)

    @contextmanager
    def _bar(self, name: str, units: int) -> Iterator[Callable[[float], None]]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            TimeElapsedColumn(),
            TextColumn("to go"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self._console) as bar:
            task = bar.add_task(name, total=units, failed="")

            def advance(done: float) -> None:
                failed = f"[red]{self._failed} failed[/]" if self._failed else ""
                bar.update(task, advance=done, failed=failed)

            yield advance

    def _plain(self, name: str, units: int) -> Callable[[float], None]:
        started = last = time.monotonic()
        done = 0.0

        def advance(step: float) -> None:
            nonlocal done, last
            done += step
            now = time.monotonic()
            finished = done >= units - 1e-9
            if now - last >= PLAIN_EVERY_SECONDS or finished:
                last = now
                to_go = (now - started) * max(units - done, 0.0) / max(done, 1e-9)
                failed = f", {self._failed} failed" if self._failed else ""
                print(
                    f"{name}: {done:.0f}/{units} units{failed}, {now - started:.0f} s, {to_go:.0f} s to go",
                    file=sys.stderr,
                    flush=True,
                )

        return advance
