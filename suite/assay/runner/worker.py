"""A worker: one child process that keeps its models, can be killed when it hangs, and is started again when it died."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from assay.common.children import Child, ChildLostError, answer, taken
from assay.runner.chunks import ChunkResult, ChunkTask, compute
from assay.runner.work import summed
from assay.tasks.base import Record

ATTEMPTS = 2
PROGRESS_EVERY_SECONDS = 0.2


class WorkerLostError(Exception):
    """The child died or had to be killed; its text says which."""


@dataclass(frozen=True)
class Limits:
    """How long work may take, in seconds; None for no limit. Loading a model does not count."""

    unit_seconds: float | None = None
    chunk_seconds: float | None = None

    def of(self, task: ChunkTask) -> float | None:
        """The limit of one task: a chunk's own, or what its units add up to; a unit alone gets its share."""
        units = len(task.unit_ids)
        bounds = []
        if self.unit_seconds is not None:
            bounds.append(self.unit_seconds * units)
        if self.chunk_seconds is not None and (task.only is None or not bounds):
            bounds.append(self.chunk_seconds * len(task.chunks))
        return min(bounds, default=None)


@dataclass(frozen=True)
class Listener:
    """What the driver of a worker hears while a task runs."""

    advance: Callable[[ChunkTask, float], None]
    event: Callable[..., None]


class Worker:
    """One child process on one device; started when first needed."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._child: Child | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, task: ChunkTask, limit_seconds: float | None, listener: Listener) -> ChunkResult:
        """The task's result.

        Raises:
            WorkerLostError: the child died, or took longer than ``limit_seconds`` and was killed.
            UserError: the job cannot be opened.
        """
        child = self._ready()
        progress = 0.0
        try:
            child.connection.send(task)
            deadline: float | None = None
            while True:
                kind, content = _message(child, deadline, limit_seconds)
                if kind == "started":
                    deadline = None if limit_seconds is None else time.monotonic() + limit_seconds
                elif kind == "advance":
                    progress += content
                    listener.advance(task, content)
                else:
                    result: ChunkResult = taken(kind, content)
                    listener.advance(task, len(task.unit_ids) - progress)
                    return result
        except (WorkerLostError, ChildLostError, OSError) as error:
            self.kill()
            listener.advance(task, -progress)
            raise WorkerLostError(str(error)) from error

    def stop(self) -> None:
        """End the child for good, from another thread than the one that runs tasks, which then loses it."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.stop()

    def kill(self) -> None:
        """End the child at once; the next task begins a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _ready(self) -> Child:
        with self._lock:
            if self._stopped:
                raise WorkerLostError("the run was stopped")
            if self._child is None:
                self._child = Child(_serve, self._device)
            return self._child


def _message(child: Child, deadline: float | None, limit_seconds: float | None) -> tuple[str, Any]:
    """The child's next message."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if not wait([child.connection], left):
        raise WorkerLostError(f"took longer than {limit_seconds:g} s")
    message: tuple[str, Any] = child.receive()
    return message


def run_surely(worker: Worker, task: ChunkTask, limits: Limits, listener: Listener) -> ChunkResult:
    """A result for ``task``, even if the worker hangs or dies.

    Chunks that lose their worker together are tried one by one. A chunk alone is tried once more as it is, then unit by
    unit. A unit that loses its worker alone becomes an error record.

    Raises:
        UserError: the job cannot be opened.
    """
    for _ in range(1 if task.more else ATTEMPTS):
        try:
            return worker.run(task, limits.of(task), listener)
        except WorkerLostError as error:
            listener.event("worker_lost", task, reason=str(error))
    if task.more:
        return _chunk_by_chunk(worker, task, limits, listener)
    return _unit_by_unit(worker, task, limits, listener)


def _chunk_by_chunk(worker: Worker, task: ChunkTask, limits: Limits, listener: Listener) -> ChunkResult:
    results = [run_surely(worker, part, limits, listener) for part in task.by_chunk()]
    records = tuple(record for result in results for record in result.records)
    return ChunkResult(task, records, summed([result.times for result in results]), results[-1].environment)


def _unit_by_unit(worker: Worker, task: ChunkTask, limits: Limits, listener: Listener) -> ChunkResult:
    share = limits
    if limits.unit_seconds is None and limits.chunk_seconds is not None:
        share = Limits(unit_seconds=limits.chunk_seconds / len(task.unit_ids))
    records: list[Record] = []
    results: list[ChunkResult] = []
    started = time.perf_counter()
    for unit in task.alone():
        try:
            results.append(worker.run(unit, share.of(unit), listener))
            records += results[-1].records
        except WorkerLostError as error:
            listener.event("worker_lost", unit, reason=str(error))
            listener.advance(unit, 1.0)
            records.append(Record(unit.unit_ids[0], error=f"WorkerLost: {error}"))
    times = {
        **(summed([result.times for result in results]) if results else _NOTHING),
        "chunk": task.chunk,
        "units": len(records),
        "wall_seconds": round(time.perf_counter() - started, 6),
        "alone": True,
    }
    return ChunkResult(task, tuple(records), times, results[-1].environment if results else {})


_NOTHING = {"device": "", "cpu_seconds": 0, "device_seconds": 0, "waiting_seconds": 0}


def _serve(connection: Connection, device: str) -> None:
    """The child: compute what comes."""
    while True:
        connection.send(_answer(connection.recv(), device, connection))


def _answer(task: ChunkTask, device: str, connection: Connection) -> tuple[str, Any]:
    pending, last = 0.0, time.monotonic()

    def advance(units: float) -> None:
        nonlocal pending, last
        pending += units
        if time.monotonic() - last >= PROGRESS_EVERY_SECONDS:
            connection.send(("advance", pending))
            pending, last = 0.0, time.monotonic()

    def result() -> ChunkResult:
        return replace(compute(task, device, advance, lambda: connection.send(("started", None))), task=task)

    return answer(result)
