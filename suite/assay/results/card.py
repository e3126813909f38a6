"""The card: what a run found, one line per model and family, for the person who has to decide."""

import textwrap
from collections.abc import Mapping, Sequence

from assay.results.document import Metric, ResultDocument, Status
from assay.results.tables import format_interval, format_value

WIDTH = 100
"""Columns of the card."""
LINES = 25
"""Lines of the card, the places of the files included."""
_FAMILY, _HEADING, _SHORTEST = 13, 46, 16
_FEWER = "… {} more lines; the whole of it: --table"


def card(
    results: Sequence[ResultDocument],
    demonstrations: Mapping[str, str],
    meanings: Mapping[str, str],
    without: Mapping[str, str],
    places: Sequence[str],
) -> str:
    """The card of a run, at most :data:`LINES` lines of :data:`WIDTH` columns.

    Args:
        results: of all jobs, in the order of the command.
        demonstrations: task to why its figures mean nothing.
        meanings: family to one plain sentence on its headline.
        without: family to why the tracks of these results have no task of it.
        places: lines that say where CSV, page and the full table are.
    """
    lines: list[str] = []
    for model in dict.fromkeys(result.model.name for result in results):
        lines.append(model)
        own = [result for result in results if result.model.name == model]
        lines += [_line(result, demonstrations.get(result.task)) for result in own]
        lines += [_cut(f"  {family:<{_FAMILY}} n/a: {why}") for family, why in without.items()]
    sentences = [line for text in meanings.values() for line in textwrap.wrap(text, WIDTH)]
    room = LINES - len(places) - 2
    if len(lines) > room:
        lines = [*lines[: room - 1], _FEWER.format(len(lines) - room + 1)]
    if sentences and len(lines) + len(sentences) <= room:
        lines += ["", *sentences]
    return "\n".join([*lines, "", *places])


def headline_of(result: ResultDocument) -> Metric | None:
    """The figure that ranks; in results older than headlines, the first single figure that is shown."""
    shown = [metric for metric in result.metrics if metric.headline and metric.x is None]
    return result.headline_metric or next(iter(shown), None)


def _line(result: ResultDocument, demonstration: str | None) -> str:
    start = f"  {result.family:<{_FAMILY}} "
    if result.status is Status.NOT_APPLICABLE:
        return _cut(f"{start}n/a: {result.reason}")
    if demonstration is not None:
        return _cut(f"{start}demonstration: {demonstration}")
    metric = headline_of(result)
    if metric is None:
        return _cut(f"{start}no figure: {result.reason or 'see the full table'}")
    figure = f"{format_value(metric)}{format_interval(metric)}  n {metric.n}"
    marks = _marks(result)
    room = max(
        WIDTH - len(start) - len(figure) - len(marks) - 1, _SHORTEST
    )  # the heading is shortened, figures are not
    heading = textwrap.shorten(metric.heading, min(room, _HEADING), placeholder="…")
    return _cut(f"{start}{heading:<{min(room, _HEADING)}} {figure}{marks}")


def _marks(result: ResultDocument) -> str:
    """What a reader must not overlook: once per family, not at every figure."""
    guards = ", ".join(guard.name for guard in result.failed_guards)
    marks = [
        "partial" if result.status is Status.PARTIAL else "",
        "limited" if result.coverage.limited else "",
        f"guard failed: {guards}" if guards else "",
    ]
    return "".join(f"  ! {mark}" for mark in marks if mark)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
