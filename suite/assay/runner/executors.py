"""The one small interface behind which chunks are computed, and the executor that computes them right here."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from assay.runner.chunks import ChunkResult, ChunkTask, compute


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
        for task in tasks:
            yield compute(task, self.device, partial(watch.advance, task), lambda: None)
