"""Tables of text: as wide as they are, or folded to the width of the terminal that will show them."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

_GAP = 2  # blanks between two columns
_NARROWEST = 10  # columns of a text that is folded

Rows = Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]


def text_table(rows: Rows, headers: str | Sequence[str], **options: Any) -> str:
    """A table for standard output; see :func:`folded_table`."""
    return folded_table(rows, headers, terminal_width(), **options)


def folded_table(rows: Rows, headers: str | Sequence[str], width: int | None, **options: Any) -> str:
    """A plain table, its cells folded where it would be wider than ``width``.

    Where not even folded words fit beside each other, each row is a block, with a line or more for each column.

    Args:
        rows: sequences, or mappings with ``headers="keys"``.
        headers: of the columns.
        width: columns of the terminal; None for a table of any width.
        options: of :func:`tabulate.tabulate`.
    """
    whole = tabulate(rows, headers=headers, tablefmt="simple", **options)
    lines = whole.splitlines()
    if width is None or max(map(len, lines), default=0) <= width:
        return whole
    rule = next(place for place, line in enumerate(lines) if line and set(line) <= {"-", " "})
    columns = [len(dashes) for dashes in lines[rule].split()]
    words = _longest_words(columns, [*lines[:rule], *lines[rule + 1 :]])
    room = width - _GAP * (len(columns) - 1)
    if sum(words) > room:
        return "\n\n".join(_blocks(rows, headers, width, options.get("floatfmt", "g")))
    widths = _fitted(columns, words, room)
    fold = {"maxcolwidths": widths, "maxheadercolwidths": widths}
    return tabulate(rows, headers=headers, tablefmt="simple", **options | fold)


def _longest_words(columns: Sequence[int], lines: Sequence[str]) -> list[int]:
    """The length of the longest word in each column of a table whose columns are so wide."""
    starts = [sum(columns[:place]) + _GAP * place for place in range(len(columns))]
    return [
        max((len(word) for line in lines for word in line[start : start + columns[place]].split()), default=0)
        for place, start in enumerate(starts)
    ]


def _fitted(columns: Sequence[int], words: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit into ``room``, none below its longest word: the widest are made narrower first."""
    fitted = list(columns)
    while sum(fitted) > room:
        loose = [place for place, each in enumerate(fitted) if each > words[place]]
        fitted[max(loose, key=fitted.__getitem__)] -= 1
    return fitted


def _blocks(rows: Rows, headers: str | Sequence[str], width: int, floatfmt: str) -> Iterator[str]:
    """Each row as lines of a column's name and its cell."""
    for row in rows:
        cells = dict(row) if isinstance(row, Mapping) else dict(zip(headers, row, strict=True))
        margin = max(map(len, cells)) + _GAP
        room = max(width - margin, _NARROWEST)
        lines = []
        for name, cell in cells.items():
            text = "" if cell is None else format(cell, floatfmt) if isinstance(cell, float) else str(cell)
            folded = [part for line in text.splitlines() for part in textwrap.wrap(line, room)] or [""]
            lines += [f"{name:<{margin}}{folded[0]}".rstrip(), *(" " * margin + part for part in folded[1:])]
        yield "\n".join(lines)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output goes to; None where it goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
