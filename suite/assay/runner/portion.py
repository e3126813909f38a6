"""The portion of a task that is asked for: what ``--limit`` counts, and how it is chosen."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from assay.data.draw import Draw, balanced_draw
from assay.tasks.base import Task, Unit
from assay.tasks.task_spec import TaskSpec


class Portion(NamedTuple):
    """How much of a task is asked for.

    Attributes:
        limit: how many of what the family draws (:meth:`Task.drawn_as`), or units where they are the first; None: all.
        draw: how they are chosen.
    """

    limit: int | None = None
    draw: Draw = Draw.BALANCED

    def of(self, units: Sequence[Unit], task: Task[Any, Any], spec: TaskSpec, data: Any) -> Sequence[Unit]:
        """The units of the portion, in their own order; the draw's seed is the spec's."""
        if self.limit is None:
            return units
        if self.draw is Draw.FIRST:
            return units[: self.limit]
        drawn_as = [task.drawn_as(data, unit) for unit in units]
        items = list(dict.fromkeys(drawn_as))
        if self.limit >= len(items):
            return units
        chosen = {items[position] for position in balanced_draw(items, self.limit, spec.seed)}
        return [unit for unit, item in zip(units, drawn_as, strict=True) if item in chosen]

    @property
    def identity(self) -> int | Mapping[str, Any] | None:
        """As it stands in the key of a job that it leaves units out of; a number alone means the first units."""
        if self.limit is None or self.draw is Draw.FIRST:
            return self.limit
        return {"draw": self.draw.value, "count": self.limit}


EVERYTHING = Portion()
