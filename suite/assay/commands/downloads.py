"""How far downloads are, on standard error: a moving line in a terminal, one line per file elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.data.download import Advance

_MEGABYTE = 1_000_000


@contextmanager
def shown() -> "Iterator[Advance]":
    """What a download tells how far it is."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), DownloadColumn())
    bars: dict[str, TaskID] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:

        def advance(name: str, here: int, whole: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name)
            progress.update(bars[name], completed=here, total=whole or None)

        yield advance


def _lines() -> "Advance":
    begun: set[str] = set()

    def advance(name: str, here: int, whole: int) -> None:
        if name not in begun:
            begun.add(name)
            size = f"{whole / _MEGABYTE:.1f} MB" if whole else "of unknown size"
            before = f", {here / _MEGABYTE:.1f} MB of it here already" if here else ""
            print(f"{name}: {size}{before}", file=sys.stderr)

    return advance
