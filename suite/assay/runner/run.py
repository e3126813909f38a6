"""The verb ``run``: plan every job, compute the chunks that are missing, store each."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assay.common.errors import UserError
from assay.common.savepoints import remove
from assay.runner.chunks import ChunkResult, ChunkTask
from assay.runner.events import EventLog
from assay.runner.executors import Executor, InProcess
from assay.runner.job_document import job_document
from assay.runner.jobs import Job
from assay.runner.lock import exclusive
from assay.runner.plan import WHOLE, Shard, Survey, survey
from assay.runner.progress import Display, Line, Silent
from assay.runner.provenance import Provenance
from assay.runner.shards import claim_shard
from assay.runner.store import RunFolder
from assay.runner.writer import ChunkWriter


@dataclass(frozen=True)
class Runtime:
    """How a run is carried out. Nothing of it changes an answer."""

    executor: Executor = field(default_factory=InProcess)
    display: Display = field(default_factory=Silent)
    say: Callable[[str], None] = lambda _line: None
    shard: Shard = WHOLE
    retry_errors: bool = False
    with_host: bool = False


class InterruptedRunError(Exception):
    """The user stopped the run; its text says what is stored and how to go on."""


def run_jobs(jobs: Sequence[Job], out: Path, runtime: Runtime | None = None) -> RunFolder:
    """Run every job into the folder ``out`` and return it; chunks that are stored already are not run again.

    Raises:
        UserError: anything a user can mend.
        InterruptedRunError: on Ctrl-C; what is stored is whole.
    """
    runtime = runtime or Runtime()
    folder = RunFolder(out)
    with exclusive(out, runtime.say):
        claim_shard(folder, runtime.shard, jobs)
        _begin(folder, jobs, runtime.say)
        surveys = survey(jobs, out, runtime.shard, runtime.retry_errors, runtime.say)
        _say_what_is_stored(surveys, runtime.say)
        if any(found.missing for found in surveys):
            _compute(folder, surveys, runtime)
    return folder


def _begin(folder: RunFolder, jobs: Sequence[Job], say: Callable[[str], None]) -> None:
    """Store every job's document, so that a report made at any time names them all.

    Raises:
        UserError: a network with other answers began a job, or another network's result would be replaced; nothing is
            written then.
    """
    before = {(entry["model"], entry["task"]): entry["key"] for entry in folder.index()}
    for job in jobs:
        if not folder.job(job.key).is_of(job.info.fingerprint):
            raise UserError(
                f"{job.title}: {folder.path} holds chunks of a network of the same weights, structure and code that "
                "gives other answers (does its code read a file, a setting or a clock?); give this one another --out"
            )
        if before.get(job.names, job.key) != job.key:
            _refuse_another_network(folder, before[job.names], job)
    for job in jobs:
        name = job.names
        if before.get(name, job.key) != job.key:
            stored = folder.job(before[name]).read_job(name)["identity"]
            parts = ", ".join(_differences(stored, job.identity)) or "the record format"
            say(f"{job.title}: differs from the stored run in {parts}; computed anew")
        store = folder.job(job.key)
        store.sweep()
        store.write_job(job.names, job_document(job))
        store.write_fingerprint(job.info.fingerprint)
    folder.point((*job.names, job.key) for job in jobs)


def _refuse_another_network(folder: RunFolder, key: str, job: Job) -> None:
    """Refuse to put a network's result in the place of another one's of the same name.

    Raises:
        UserError: the job that is stored there is of other weights.
    """
    weights = folder.job(key).read_job(job.names)["model"]["weights_sha256"]
    if weights != job.info.weights_sha256:
        raise UserError(
            f"{folder.path}: has results of {job.info.name} with other weights ({weights[:8]}…, these are "
            f"{job.info.weights_sha256[:8]}…); give this network a name of its own (--name NAME), or take those out by "
            f"`assay rm {folder.path} --model {job.info.name}`"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{name}.")
        elif json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
            found.append(prefix + name)
    return found


def _say_what_is_stored(surveys: Sequence[Survey], say: Callable[[str], None]) -> None:
    for found in surveys:
        if found.job.not_applicable:
            say(f"{found.job.title}: not applicable: {found.job.not_applicable}")
        elif found.stored:
            total = found.stored + len(found.missing)
            say(
                f"{found.job.title}: {found.stored} of {total} chunks are stored already, "
                f"{len(found.missing)} to compute"
            )


def _compute(folder: RunFolder, surveys: Sequence[Survey], runtime: Runtime) -> None:
    log = EventLog(folder.path)
    recorder = _RunRecorder(folder, surveys, runtime, log)
    host = {"host": socket.gethostname()} if runtime.with_host else {}
    log.write("run_started", pid=os.getpid(), units=sum(found.missing_units for found in surveys), **host)
    with _noted(log, recorder, folder):
        results = runtime.executor.run(_tasks(folder, surveys, recorder, runtime.executor), recorder)
        with ChunkWriter(recorder.stored) as writer:
            try:
                for result in results:
                    if result.not_applicable:
                        recorder.refuse(result.task, result.not_applicable)
                        continue
                    for part in result.by_chunk():
                        writer.store(folder.job(part.task.key), part)
            finally:
                results.close()
        for found in surveys:
            remove(folder.job(found.job.key).unfinished)
        log.write("run_finished")


def _tasks(
    folder: RunFolder, surveys: Sequence[Survey], recorder: "_RunRecorder", executor: Executor
) -> Iterator[ChunkTask]:
    """The missing chunks, without jobs that turn out to be not applicable."""
    device, workers = executor.device, executor.workers  # a cluster is asked for them
    for found in surveys:
        kept = str(folder.job(found.job.key).unfinished) if executor.on_this_disk else None
        for task in found.tasks(device, workers):
            if task.key in recorder.refused:
                break
            yield replace(task, unfinished=kept)


@contextmanager
def _noted(log: EventLog, recorder: "_RunRecorder", folder: RunFolder) -> Iterator[None]:
    """Note in the log how the block ended, write provenance in any case, and say how to go on after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(UserError):
            log.write("run_stopped", chunks=recorder.chunks_stored)
        raise InterruptedRunError(recorder.how_to_go_on(folder.path)) from None
    except BaseException as error:
        with suppress(UserError):  # the disk may be what failed
            log.write("run_failed", reason=str(error))
        raise
    finally:
        try:
            recorder.close()
        finally:
            log.close()


class _RunRecorder:
    """Notes progress, events and provenance of a run. It is the executor's `Watch`."""

    def __init__(self, folder: RunFolder, surveys: Sequence[Survey], runtime: Runtime, log: EventLog) -> None:
        self._surveys = {found.job.key: found for found in surveys}
        self._provenance = Provenance(folder.path, runtime.with_host)
        self._runtime, self._log = runtime, log
        self._lines: dict[str, Line] = {}
        self._folder = folder
        self.refused: set[str] = set()
        self.chunks_stored = 0

    def advance(self, task: ChunkTask, units: float) -> None:
        """See :class:`assay.runner.executors.Watch`."""
        line = self._line(task)
        line.done += units
        self._runtime.display.show(line)

    def _line(self, task: ChunkTask) -> Line:
        if task.key not in self._lines:
            found = self._surveys[task.key]
            self._lines[task.key] = Line(found.job.title, found.missing_units)
        return self._lines[task.key]

    def event(self, name: str, task: ChunkTask, **details: Any) -> None:
        """See :class:`assay.runner.executors.Watch`."""
        self._log.write(name, job=task.key, chunk=task.chunk, **details)
        reason = details.get("reason")
        if reason:
            self._runtime.display.say(f"{self._title(task)}, chunk {task.chunk}: {reason}; it is tried again")

    def refuse(self, task: ChunkTask, reason: str) -> None:
        """The job is not applicable to its model; that is a result, not a failure."""
        if task.key in self.refused:
            return
        self.refused.add(task.key)
        job = self._surveys[task.key].job
        self._folder.job(task.key).write_job(job.names, job_document(job, reason))
        self._runtime.say(f"{job.title}: not applicable: {reason}")

    def stored(self, result: ChunkResult) -> None:
        """Called for each chunk once it is on the disk."""
        self.chunks_stored += 1
        task = result.task
        errors = sum(record.error is not None for record in result.records)
        line = self._line(task)
        line.failed += errors
        line.stored += len(result.records)
        self._runtime.display.show(line)
        first, batch = result.times.get("batch_halved_from"), result.times.get("batch_size")
        if first is not None:
            self._log.write("batch_halved", job=task.key, chunk=task.chunk, batch_size=batch)
            self._runtime.say(
                f"{self._title(task)}, chunk {task.chunk}: memory did not suffice for a batch of "
                f"{first}; it was computed in batches of {batch}"
            )
        self._log.write(
            "chunk_stored", job=task.key, chunk=task.chunk, units=len(result.records), errors=errors
        )
        self._provenance.add(self._surveys[task.key].job, result)

    def _title(self, task: ChunkTask) -> str:
        return self._surveys[task.key].job.title

    def how_to_go_on(self, out: Path) -> str:
        """What is stored, and what to do next."""
        chunks = sum(found.stored + len(found.missing) for found in self._surveys.values())
        stored = sum(found.stored for found in self._surveys.values()) + self.chunks_stored
        begun = any(self._folder.job(key).unfinished.is_dir() for key in self._surveys)
        kept = "; of the chunk under way all but its last seconds is kept" if begun else ""
        return f"stopped: {stored} of {chunks} chunks are stored in {out}{kept}; the same command goes on from there"

    def close(self) -> None:
        """Write provenance and leave the screen."""
        self._runtime.display.close()
        self._provenance.write()
