"""The one small interface behind which chunks are computed, and the executor that computes them right here."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from assay.runner.chunks import ChunkResult, ChunkTask, compute, drop_pictures_ahead


class Watch(Protocol):
    """Who wants to know how chunks fare; called in the process and thread that iterates over the results."""

    def advance(self, task: ChunkTask, units: float) -> None:
        """So many more units of the task's chunk are done (fewer, when work was lost)."""
        ...

    def event(self, name: str, task: ChunkTask, **details: Any) -> None:
        """Something that a reader of the event log should know."""
        ...


class Executor(Protocol):
    """Whatever turns chunks into results: this process, worker processes, a cluster."""

    def run(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        """One result a task, in any order; closing the iterator stops the work.

        Raises:
            UserError: a job cannot be opened where it is computed.
        """
        ...


@dataclass(frozen=True)
class InProcess:
    """Every chunk here, one after another; nothing protects from a unit that hangs or kills the process."""

    device: str = "cpu"

    def run(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        """See :class:`Executor`."""
        try:
            for task in _announced(tasks):
                yield compute(task, self.device, partial(watch.advance, task), lambda: None)
        finally:
            drop_pictures_ahead()


def _announced(tasks: Iterable[ChunkTask]) -> Iterator[ChunkTask]:
    """Every task, told which one follows."""
    waiting = iter(tasks)
    task = next(waiting, None)
    while task is not None:
        following = next(waiting, None)
        yield task.before(following)
        task = following
