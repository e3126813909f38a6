"""The verb ``run``: plan every job, compute the chunks that are missing, store each, write the report."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import UserError
from assay.runner.assemble import path_name
from assay.runner.execute import Executor, InProcess
from assay.runner.files import write_atomically
from assay.runner.jobs import JobRequest, OpenJob, open_job
from assay.runner.lock import exclusive
from assay.runner.progress import Progress
from assay.runner.provenance import provenance
from assay.runner.store import BrokenChunkError, JobStore, RunFolder


@dataclass(frozen=True)
class Runtime:
    """How a run goes, none of which changes an answer."""

    executor: Executor
    progress: Progress
    say: Callable[[str], None]


class InterruptedRunError(Exception):
    """The user stopped the run; its text says what is stored and how to go on."""


def run_jobs(requests: Sequence[JobRequest], out: Path, runtime: Runtime | None = None) -> RunFolder:
    """Run every request into the folder ``out`` and return it; chunks that are stored already are not run again.

    Raises:
        UserError: anything a user can mend; every job is opened before the first one starts.
        InterruptedRunError: on Ctrl-C; what is stored is whole.
    """
    runtime = runtime or Runtime(InProcess(), Progress(quiet=True), lambda _line: None)
    _refuse_twins(requests)
    for request in requests:
        open_job(request)
    folder = RunFolder(out)
    with exclusive(out):
        for request in requests:
            _run_job(open_job(request), folder, runtime)
    return folder


def _refuse_twins(requests: Sequence[JobRequest]) -> None:
    names = [(request.model, Path(request.task).stem if request.task.endswith((".yaml", ".yml")) else request.task)
             for request in requests]  # fmt: skip
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"model {name[0]!r} with task {name[1]!r} is asked for twice; name each once "
                "(two spec files of one name need two --out folders)"
            )


def _run_job(job: OpenJob, folder: RunFolder, runtime: Runtime) -> None:
    store = folder.job(job.key)
    _say_what_changed(folder, job, runtime.say)
    store.write_job(job.document())
    folder.point(*job.names, job.key)
    missing = _missing_chunks(job, store, runtime.say)
    name = " · ".join(job.names)
    if job.not_applicable:
        runtime.say(f"{name}: not applicable: {job.not_applicable}")
        return
    stored = job.chunk_count - len(missing)
    if stored:
        runtime.say(
            f"{name}: {stored} of {job.chunk_count} chunks are stored already, {len(missing)} to compute"
        )
    units = sum(len(job.chunk(chunk)) for chunk in missing)
    try:
        with runtime.progress.job(name, units) as advance:
            for result in runtime.executor.run(job, missing, advance):
                store.write_chunk(result.chunk, result.records, result.times)
                stored += 1
                runtime.progress.failures(sum(record.error is not None for record in result.records))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"stopped: {stored} of {job.chunk_count} chunks of {name} are stored in {folder.path}; "
            "the same command goes on from there"
        ) from None
    if missing:
        _write_provenance(folder, job)


def _missing_chunks(job: OpenJob, store: JobStore, say: Callable[[str], None]) -> list[int]:
    missing = []
    for chunk in range(job.chunk_count):
        try:
            if store.read_chunk(chunk, [unit.id for unit in job.chunk(chunk)]) is None:
                missing.append(chunk)
        except BrokenChunkError as error:
            say(f"{store.chunk_path(chunk)}: {error}; it is computed again")
            missing.append(chunk)
    return missing


def _say_what_changed(folder: RunFolder, job: OpenJob, say: Callable[[str], None]) -> None:
    """Tell the user when the same model and task stand for another job than in an earlier run here."""
    for entry in folder.index():
        same = (entry["model"], entry["task"]) == job.names
        if same and entry["key"] != job.key:
            before = folder.job(entry["key"]).read_job()["identity"]
            parts = ", ".join(_differences(before, job.identity)) or "the record format"
            say(f"{' · '.join(job.names)}: differs from the stored run in {parts}; computed anew")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{name}.")
        elif json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
            found.append(prefix + name)
    return found


def _write_provenance(folder: RunFolder, job: OpenJob) -> None:
    model, task = job.names
    path = folder.path / "provenance" / path_name(model) / f"{path_name(task)}.json"
    document = provenance(job.request.device) | {"job_key": job.key, "batch_size": job.request.batch_size}
    write_atomically(path, json.dumps(document, indent=1) + "\n")
