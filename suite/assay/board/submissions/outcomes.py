"""The value of a metric for each unit alone, which a paired test needs; for any family.

``summarise`` of one record gives the metric of that unit. Where the metric is a mean over units, it is the mean of
these numbers over its N. Where it is not (a ranking, a count of other things, a merged block), no test is made of them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, Literal, NamedTuple

from assay.board.submissions.documents import OutcomesDocument
from assay.results.document import Metric, ResultDocument
from assay.tasks.base import Record, Task
from assay.tasks.task_spec import TaskSpec

Score = float | None
_TOLERANCE = 1e-9


class OutcomeColumn(NamedTuple):
    """A metric of each unit alone, and how these make the metric.

    Attributes:
        scores: None where the metric does not count the unit; () where no unit has any.
        kind: ``mean`` or ``median``; None where it is neither.
    """

    scores: Sequence[Score] = ()
    kind: Literal["mean", "median"] | None = None


def unit_columns(
    task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], metrics: Sequence[str]
) -> dict[str, OutcomeColumn]:
    """Each metric's column, with what the metric makes of it."""
    return _columns(task, spec, records, metrics, _metrics(task, spec, records))


def _columns(
    task: Task[Any, Any],
    spec: TaskSpec,
    records: Sequence[Record],
    metrics: Sequence[str],
    whole: Mapping[str, Metric],
) -> dict[str, OutcomeColumn]:
    # Where n counts neurons, they are no units.
    possible = {name for name in metrics if name in whole and whole[name].n <= len(records)}
    alone = [_scores(task, spec, record, possible) for record in records] if possible else []
    found = {}
    for name in metrics:
        scores = [values.get(name) for values in alone]
        found[name] = OutcomeColumn(scores, _kind(whole.get(name), scores)) if scores else OutcomeColumn()
    return found


def unit_scores(
    task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], metrics: Sequence[str]
) -> dict[str, list[Score]]:
    """Each metric of each unit alone, None where it does not count the unit; empty when it is no mean over units."""
    return _means(unit_columns(task, spec, records, metrics))


def _means(columns: Mapping[str, OutcomeColumn]) -> dict[str, list[Score]]:
    return {name: list(column.scores) if column.kind == "mean" else [] for name, column in columns.items()}


def headline_outcomes(
    task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], result: ResultDocument
) -> OutcomesDocument:
    """What a result's headline metrics are for each unit alone; those without a score per unit are left out."""
    whole = {metric.name: metric for metric in result.metrics}
    headline = [metric.name for metric in result.metrics if metric.headline]
    return outcomes_document(_means(_columns(task, spec, records, headline, whole)))


def scores_alone(task: Task[Any, Any], spec: TaskSpec, record: Record) -> Mapping[str, Score]:
    """What each metric is for one unit; a metric that does not count the unit has None, or is missing."""
    return {name: metric.value for name, metric in _metrics(task, spec, [record]).items()}


def _scores(
    task: Task[Any, Any], spec: TaskSpec, record: Record, names: Collection[str]
) -> Mapping[str, Score]:
    """The same of some metrics; none is computed after the last of these."""
    found: dict[str, Score] = {}
    try:
        for metric in task.metrics(spec, [record]):
            if metric.name in names:
                found[metric.name] = metric.value
                if len(found) == len(names):
                    break
    except (ValueError, LookupError, ArithmeticError):
        return {}
    return found


def outcomes_document(scores: Mapping[str, Sequence[Score]]) -> OutcomesDocument:
    """The columns of :func:`unit_scores` as a document; a metric without a score per unit is left out."""
    return OutcomesDocument(metrics={name: _packed(column) for name, column in scores.items() if column})


_LETTERS: Mapping[Score, str] = {1.0: "1", 0.0: "0", None: "-"}


def _packed(column: Sequence[Score]) -> str | tuple[Score, ...]:
    if all(score in _LETTERS for score in column):
        return "".join(_LETTERS[score] for score in column)
    return tuple(column)


def unpacked(column: str | Sequence[Score]) -> Sequence[Score]:
    """The scores of a column of :class:`OutcomesDocument`."""
    if isinstance(column, str):
        scores = {letter: score for score, letter in _LETTERS.items()}
        return [scores[letter] for letter in column]
    return column


def _kind(whole: Metric | None, scores: Sequence[Score]) -> Literal["mean", "median"] | None:
    """Whether the metric is the mean or the median of these scores, over as many units as it states."""
    counted = [score for score in scores if score is not None]
    if whole is None or whole.value is None or not counted or whole.n != len(counted):
        return None
    close = partial(math.isclose, whole.value, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if close(math.fsum(counted) / len(counted)):
        return "mean"
    return "median" if close(median(counted)) else None


def _metrics(task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record]) -> Mapping[str, Metric]:
    try:
        summary = task.summarise(spec, records)
    except (ValueError, LookupError, ArithmeticError):
        return {}  # a family that cannot summarise one unit alone
    return {metric.name: metric for metric in summary.metrics}
