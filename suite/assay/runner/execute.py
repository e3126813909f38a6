"""Run the chunks of a job that are missing, one unit's failure never taking another with it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from assay.runner.jobs import OpenJob
from assay.tasks.base import Record, RunContext, Unit

Advance = Callable[[float], None]


@dataclass(frozen=True)
class ChunkResult:
    """A chunk's records, in the order of its units, and how long they took (never part of an answer)."""

    chunk: int
    records: Sequence[Record]
    times: dict[str, Any]


class Executor(Protocol):
    """Whatever can turn chunks of a job into results: this process, a pool of workers, a cluster."""

    def run(self, job: OpenJob, chunks: Sequence[int], advance: Advance) -> Iterator[ChunkResult]:
        """One result a chunk, in any order; ``advance`` is called with the number of units that are done."""
        ...


class InProcess:
    """The executor that runs every chunk here, one after another."""

    def run(self, job: OpenJob, chunks: Sequence[int], advance: Advance) -> Iterator[ChunkResult]:
        """See :class:`Executor`."""
        for chunk in chunks:
            started = time.perf_counter(), time.process_time()
            records = run_units(job, job.chunk(chunk), advance)
            times = {
                "wall_seconds": time.perf_counter() - started[0],
                "cpu_seconds": time.process_time() - started[1],
                "device": job.request.device,
            }
            yield ChunkResult(chunk, records, times)


def run_units(job: OpenJob, units: Sequence[Unit], advance: Advance) -> list[Record]:
    """The records of ``units``; when the batch fails each unit is run alone, and those that fail become errors."""
    try:
        return _run(job, units, advance)
    except Exception as error:
        if len(units) == 1:
            advance(1.0)
            return [Record(units[0].id, error=describe(error))]
    return [record for unit in units for record in run_units(job, [unit], advance)]


def _run(job: OpenJob, units: Sequence[Unit], advance: Advance) -> list[Record]:
    progress = _Progress(advance, len(units))
    context = RunContext(job.key, job.request.device, job.request.batch_size, progress.add)
    try:
        records = list(job.task.run(job.spec.spec, job.model, job.data, units, context))
    except BaseException:
        progress.take_back()
        raise
    if [record.unit_id for record in records] != [unit.id for unit in units]:
        raise RuntimeError(f"the family {job.task.family} gave records for other units than it was asked for")
    progress.finish()
    return records


class _Progress:
    """Passes progress on without ever exceeding the units of a chunk; what failed is taken back."""

    def __init__(self, advance: Advance, units: int) -> None:
        self._advance, self._units, self._done = advance, float(units), 0.0

    def add(self, units: float) -> None:
        step = min(units, self._units - self._done)
        self._done += step
        self._advance(step)

    def take_back(self) -> None:
        self._advance(-self._done)

    def finish(self) -> None:
        self.add(self._units)


def describe(error: BaseException) -> str:
    """An error as one line: its type and its text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
