"""The card: what a run found, one line per model and family, for the person who has to decide."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assay.results.document import Metric, ResultDocument, Status
from assay.results.evidence import Evidence, sign_of, word_of
from assay.results.tables import format_interval, format_value, unit_and_direction

WIDTH = 100
"""Columns of the card."""
LINES = 25
"""Lines of the card, the places of the files included."""
_FAMILY, _HEADING, _SHORTEST, _NARROW = 13, 47, 22, 32
_FEWER = "… {} more lines; the whole of it: --table"


@dataclass(frozen=True)
class Background:
    """What a reader of a run's results sees beside the figures.

    Attributes:
        demonstrations: task to why its figures mean nothing.
        meanings: families, each with one plain sentence about a headline of its; in the order of the results.
        without: family to why the tracks of these results have no task of it.
        standing: by model and task, where the figure stands on the board, such as ``behind 3 to 5 of 9``.
        evidence: by task and metric, what the figure rests on, where it is more than a measurement.
    """

    demonstrations: Mapping[str, str] = field(default_factory=dict)
    meanings: Sequence[tuple[str, str]] = ()
    without: Mapping[str, str] = field(default_factory=dict)
    standing: Mapping[tuple[str, str], str] = field(default_factory=dict)
    evidence: Mapping[tuple[str, str], Evidence] = field(default_factory=dict)


@dataclass(frozen=True)
class CardFinding:
    """What one model's result comes down to.

    Attributes:
        metric: the figure that ranks; None where ``note`` stands instead.
        note: why there is no figure.
        standing: where the figure stands on the board, or nothing.
        evidence: what the figure rests on.
        marks: what a reader must not overlook: once for a family, not at every figure.
    """

    metric: Metric | None
    note: str = ""
    standing: str = ""
    evidence: Evidence = ""
    marks: tuple[str, ...] = ()


def card(
    results: Sequence[ResultDocument], background: Background, places: Sequence[str], width: int = WIDTH
) -> str:
    """The card of a run, at most :data:`LINES` lines of :data:`WIDTH` columns; more lines where ``width`` is less.

    Args:
        results: of all jobs, in the order of the command.
        background: what stands beside the figures.
        places: lines that say where CSV, page and the full table are.
        width: columns of what will show it.
    """
    sentences = [line for _, text in background.meanings for line in textwrap.wrap(text, min(width, WIDTH))]
    room = LINES - len(places) - 2
    lines = _models(results, background, whole=True)
    if len(lines) + len(sentences) > room:
        lines = _models(results, background, whole=False)
    if len(lines) > room:
        lines = [*lines[: room - 1], _FEWER.format(len(lines) - room + 1)]
    if sentences and len(lines) + len(sentences) <= room:
        lines += ["", *sentences]
    return "\n".join(part for line in [*lines, "", *places] for part in _folded(line, width))


def _folded(line: str, width: int) -> list[str]:
    """A line whole where it fits, else broken; the later lines stand under the figure's heading."""
    indent = " " * (_FAMILY + 3) if line.startswith("  ") and width > _NARROW else ""
    fits = len(line) <= width
    return [line] if fits else textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)


def _models(results: Sequence[ResultDocument], background: Background, whole: bool) -> list[str]:
    """The lines of all models; with ``whole`` a long heading goes on in a second line, else it is shortened."""
    lines: list[str] = []
    for model in dict.fromkeys(result.model.name for result in results):
        lines.append(_cut(model))
        own = [result for result in results if result.model.name == model]
        families = Counter(result.family for result in own)
        for result in own:
            finding = finding_of(result, background)
            lines += _lines(result, finding, alone=families[result.family] == 1, whole=whole)
        lines += [_noted(_start(family), f"n/a: {why}") for family, why in background.without.items()]
    return lines


def headline_of(result: ResultDocument) -> Metric | None:
    """The figure that ranks; in results older than headlines, the first single figure that is shown."""
    shown = [metric for metric in result.metrics if metric.headline and metric.x is None]
    return result.headline_metric or next(iter(shown), None)


def finding_of(result: ResultDocument, background: Background) -> CardFinding:
    """What a result comes down to."""
    if result.status is Status.NOT_APPLICABLE:
        return CardFinding(None, f"n/a: {result.reason}")
    demonstration = background.demonstrations.get(result.task)
    if demonstration is not None:
        return CardFinding(None, f"demonstration: {demonstration}")
    metric = headline_of(result)
    if metric is None:
        return CardFinding(None, f"no figure: {result.reason or 'see the full table'}")
    standing = background.standing.get((result.model.name, result.task), "")
    evidence = background.evidence.get((result.task, metric.name), "")
    return CardFinding(metric, standing=standing, evidence=evidence, marks=_marks(result))


def _lines(result: ResultDocument, finding: CardFinding, alone: bool, whole: bool) -> list[str]:
    """A result's lines; where a model has several of one family, each names its task."""
    start, metric = _start(result.family), finding.metric
    task = "" if alone else f"{result.task.removeprefix(f'{result.family}/')}: "
    if metric is None:
        return [_noted(start, task + finding.note)]
    sign = sign_of(finding.evidence, metric.direction)
    said = (
        f"n {metric.n}",
        word_of(finding.evidence),
        finding.standing,
        *(f"! {mark}" for mark in finding.marks),
    )
    figure = "  ".join([f"{sign}{format_value(metric)}{format_interval(metric)}", *filter(None, said)])
    # The heading is broken or shortened; its unit, the direction and the figures are not.
    room = max(WIDTH - len(start) - len(figure) - 1, _SHORTEST)
    note = unit_and_direction("" if metric.unit == "proportion" else metric.unit, metric.direction)
    note = f" {note}" if len(note) == 1 else f", {note}" if note else ""  # an arrow needs no comma
    if whole:
        first, *more = textwrap.wrap(task + metric.heading + note, room)
    else:
        first, more = textwrap.shorten(task + metric.heading, room - len(note), placeholder="…") + note, []
    column = min(room, _HEADING)
    return [_cut(f"{start}{first:<{column}} {figure}"), *(f"{' ' * len(start)}{line}" for line in more)]


def _start(family: str) -> str:
    return f"  {family:<{_FAMILY}} "


def _noted(start: str, note: str) -> str:
    """A line without a figure: where the note is too long, without what follows its first semicolon."""
    whole = start + note
    return _cut(whole if len(whole) <= WIDTH else start + note.partition("; ")[0])


def _marks(result: ResultDocument) -> tuple[str, ...]:
    guards = ", ".join(guard.name for guard in result.failed_guards)
    marks = (
        "partial" if result.status is Status.PARTIAL else "",
        "limited" if result.coverage.limited else "",
        f"guard failed: {guards}" if guards else "",
    )
    return tuple(filter(None, marks))


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
