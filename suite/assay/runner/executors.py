"""The small interface of all executors, and the executor that computes chunks in this process."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from assay.runner.chunks import ChunkResult, ChunkTask, compute, drop_pictures_ahead


class Watch(Protocol):
    """Hears of each chunk's fate, in the process and thread that iterates over the results."""

    def advance(self, task: ChunkTask, units: float) -> None:
        """``units`` more units of the task's chunk are done (a negative number when work was lost)."""
        ...

    def event(self, name: str, task: ChunkTask, **details: Any) -> None:
        """Note something for readers of the event log."""
        ...


class Executor(Protocol):
    """Turns chunks into results, in this process, in worker processes, or on a cluster."""

    @property
    def device(self) -> str:
        """What its workers compute on."""
        ...

    @property
    def workers(self) -> int:
        """How many of them there are."""
        ...

    @property
    def on_this_disk(self) -> bool:
        """Whether they see the run's folder, and may keep there what a stop must not lose."""
        ...

    def run(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        """One result per task, in any order; closing the iterator stops the work.

        Raises:
            UserError: a job cannot be opened where it is computed.
        """
        ...


@dataclass(frozen=True)
class InProcess:
    """Computes chunks here, one after another. Nothing protects from a unit that hangs or kills the process."""

    device: str = "cpu"
    workers: int = 1
    on_this_disk: bool = True

    def run(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        """See :class:`Executor`."""
        try:
            for task in _announced(tasks):
                yield compute(task, self.device, partial(watch.advance, task), lambda: None)
        finally:
            drop_pictures_ahead()


def _announced(tasks: Iterable[ChunkTask]) -> Iterator[ChunkTask]:
    """Every task, with the one that follows it."""
    waiting = iter(tasks)
    task = next(waiting, None)
    while task is not None:
        following = next(waiting, None)
        yield task.before(following)
        task = following
