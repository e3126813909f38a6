"""What a metric is for one unit alone: the numbers that a paired test needs, for any family.

``summarise`` of one record gives the metric of that unit. Where the metric is a mean over units these numbers
have the metric as their mean; where it is not (a ranking, a merged block) they do not, and no test is made of them.
"""

import math
from collections.abc import Sequence
from typing import Any

from assay.specs import TaskSpec
from assay.tasks.base import Record, Task

Score = float | None
_TOLERANCE = 1e-9


def unit_scores(task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], metric: str) -> list[Score]:
    """The metric of each unit alone, None where it does not count the unit; empty when it is not a mean over units."""
    whole = _value(task, spec, records, metric)
    scores = [_value(task, spec, [record], metric) for record in records]
    counted = [score for score in scores if score is not None]
    if whole is None or not counted:
        return []
    mean = math.fsum(counted) / len(counted)
    return scores if math.isclose(mean, whole, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) else []


def _value(task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], name: str) -> Score:
    try:
        summary = task.summarise(spec, records)
    except (ValueError, LookupError, ArithmeticError):
        return None  # a family that cannot summarise one unit alone
    return next((metric.value for metric in summary.metrics if metric.name == name), None)
