"""A run's only writer: stores chunks in the background, so that computing never waits for the disk."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from assay.common.savepoints import remove
from assay.runner.chunks import ChunkResult
from assay.runner.files import LogFile
from assay.runner.job_store import JobStore

MOST_WAITING = 32


class ChunkWriter:
    """Stores results in the order they come; ``on_stored`` is called for each once it is safe on the disk.

    Leaving the ``with`` block waits for what is under way, also after Ctrl-C. A disk that is full raises at the
    next call.
    """

    def __init__(self, on_stored: Callable[[ChunkResult], None]) -> None:
        self._on_stored = on_stored
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="assay-writer")
        self._times: LogFile | None = None
        self._waiting: deque[tuple[Future[None], ChunkResult]] = deque()

    def __enter__(self) -> "ChunkWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._settle(0)
        finally:
            self._thread.shutdown(cancel_futures=True)
            if self._times is not None:
                self._times.close()

    def store(self, job: JobStore, result: ChunkResult) -> None:
        """Hand over a result.

        Raises:
            UserError: an earlier one could not be written.
        """
        # Writing waits for the disk, so it has a thread of its own. The bound on what waits keeps memory small where
        # the disk is slower than the network.
        self._waiting.append((self._thread.submit(self._write, job, result), result))
        self._settle(MOST_WAITING)

    def _settle(self, most: int) -> None:
        """Report what is stored, and wait while more than ``most`` results are not."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0][0].done()):
            future, result = self._waiting.popleft()
            future.result()
            self._on_stored(result)

    def _write(self, job: JobStore, result: ChunkResult) -> None:
        job.write_chunk(result.task.chunk, result.records)
        self._times_of(job).write(result.times)
        if result.task.kept_in is not None:
            remove(result.task.kept_in)

    def _times_of(self, job: JobStore) -> LogFile:
        """The job's log; chunks come job by job, so that the last one is nearly always the right one."""
        if self._times is None or self._times.path != job.times_path:
            if self._times is not None:
                self._times.close()
            self._times = LogFile(job.times_path)
        return self._times
