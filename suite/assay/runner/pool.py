"""Worker processes on this machine: n on the CPU, or one per GPU."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from assay.runner.chunks import ChunkResult, ChunkTask
from assay.runner.executors import Watch
from assay.runner.worker import Limits, Listener, Worker, run_surely

_Message = Callable[[Watch], None] | ChunkResult | BaseException | None


@dataclass(frozen=True)
class LocalPool:
    """One worker process per device (``("cpu", "cpu")`` are two), each taking the next chunk when it is free."""

    devices: Sequence[str]
    limits: Limits = field(default_factory=Limits)
    on_this_disk: bool = True

    @property
    def device(self) -> str:
        """The first one."""
        return self.devices[0]

    @property
    def workers(self) -> int:
        """How many devices there are."""
        return len(self.devices)

    def run(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        """See :class:`assay.runner.executors.Executor`."""
        workforce = _Workforce([Worker(device) for device in self.devices], tasks, self.limits)
        try:
            yield from workforce.results(watch)
        finally:
            workforce.stop()


class _Workforce:
    """The workers of one run, each led by a thread; all their messages go through one queue."""

    def __init__(self, workers: Sequence[Worker], tasks: Iterable[ChunkTask], limits: Limits) -> None:
        self._workers, self._limits = workers, limits
        self._tasks = iter(tasks)
        self._lock = threading.Lock()
        self._promised: dict[Worker, ChunkTask] = {}
        self._stopped = False
        self._queue: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._lead, args=(worker,), daemon=True) for worker in workers
        ]

    def results(self, watch: Watch) -> Iterator[ChunkResult]:
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        while working:
            message = self._queue.get()
            if message is None:
                working -= 1
            elif isinstance(message, ChunkResult):
                yield message
            elif isinstance(message, BaseException):
                raise message
            else:
                message(watch)

    def stop(self) -> None:
        self._stopped = True
        for worker in self._workers:
            worker.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _lead(self, worker: Worker) -> None:
        listener = Listener(
            lambda task, units: self._queue.put(lambda watch: watch.advance(task, units)),
            lambda name, task, **details: self._queue.put(lambda watch: watch.event(name, task, **details)),
        )
        try:
            while not self._stopped and (task := self._next(worker)) is not None:
                self._queue.put(run_surely(worker, task, self._limits, listener))
        except BaseException as error:
            self._queue.put(error)
        finally:
            worker.kill()
        self._queue.put(None)

    def _next(self, worker: Worker) -> ChunkTask | None:
        """The worker's next task: the one reserved for it, else a free one, else one reserved for a busy worker.

        The task after that is reserved for it, so that it loads the right pictures while it computes.
        """
        with self._lock:
            task = self._promised.pop(worker, None) or next(self._tasks, None)
            if task is None:
                return self._promised.popitem()[1] if self._promised else None
            following = next(self._tasks, None)
            if following is not None:
                self._promised[worker] = following
            return task.before(following)
