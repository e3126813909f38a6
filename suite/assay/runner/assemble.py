"""From stored chunks to result documents, CSV, table and page; nothing is computed again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.common.canonical import canonical_sha256
from assay.results.document import Coverage, DataCard, ModelCard, ResultDocument, Status, TrainingOverlap
from assay.results.tables import csv_text, results_csv
from assay.runner.files import path_name, write_atomically
from assay.runner.job_store import BrokenChunkError, JobStore
from assay.runner.store import RunFolder
from assay.runner.work import as_text, told
from assay.tasks.base import Figure, Record, Task, clean_records, summary_of
from assay.tasks.families import family, stated_spec
from assay.tasks.reading import require_shape, understood
from assay.tasks.task_spec import TaskSpec
from assay.tasks.witness import FoundImage

TIME_COLUMNS = (
    "model",
    "task",
    "chunks",
    "wall_seconds",
    "cpu_seconds",
    "waiting_seconds",
    "devices",
    "passes",
)


@dataclass(frozen=True, eq=False)
class StoredJob:
    """A job as it lies in a run's folder."""

    document: Mapping[str, Any]
    store: JobStore

    @property
    def task(self) -> Task[Any, Any]:
        """The family's implementation."""
        return family(self.document["spec"]["family"])

    @property
    def spec(self) -> TaskSpec:
        """The spec that the job ran."""
        spec = self.document["spec"]
        return stated_spec(spec["family"], spec, str(self.store.path), "run the task again")

    def records(self) -> list[Record]:
        """All records that are stored and whole, in the order of the units.

        Raises:
            UserError: one does not have the shape that its family and spec ask for.
        """
        stored = sorted(chunk for chunk in self.store.stored_chunks() if chunk < self.document["chunks"])
        records = [record for chunk in stored for record in _whole_chunk(self.store, chunk)]
        require_shape(self.task, self.spec, records, str(self.store.path))
        return records

    def understood(self) -> AbstractContextManager[None]:
        """See :func:`assay.tasks.reading.understood`: a run that somebody sent may hold anything."""
        return understood(str(self.store.path))

    def result(self, records: Sequence[Record]) -> ResultDocument:
        """The result document that follows from ``records``."""
        with self.understood():
            return self._result(records)

    def _result(self, records: Sequence[Record]) -> ResultDocument:
        document = self.document
        model = ModelCard.model_validate(document["model"])
        data, good = document["data"]["name"], clean_records(records)
        training = _training_of(document)
        summary = summary_of(self.task, self.spec, good, model, data, training) if records else None
        errors = sum(record.error is not None for record in records)
        return ResultDocument(
            task=document["task"],
            family=document["spec"]["family"],
            title=document["spec"]["title"],
            spec=document["spec"],
            spec_sha256=canonical_sha256(document["identity"]["spec"]),
            model=model,
            data=DataCard.model_validate(document["data"]),
            precision=document["identity"]["precision"],
            record_version=document.get("record_version"),
            job_key=document["key"],
            status=_status(document, len(records), errors),
            reason=document["not_applicable"] or _shortfall(document, len(records), records),
            coverage=Coverage(
                units=document["units"], done=len(records), errors=errors, limited=document["limited"]
            ),
            metrics=summary.metrics if summary else (),
            guards=summary.guards if summary else (),
            command=document["command"],
            headline=self.spec.headline_key,
            training=training,
        )


def _training_of(document: Mapping[str, Any]) -> TrainingOverlap | None:
    stated = document.get("training")
    return None if stated is None else TrainingOverlap.model_validate(stated)


def _whole_chunk(store: JobStore, chunk: int) -> list[Record]:
    try:
        return store.read_chunk(chunk) or []
    except BrokenChunkError:
        return []


def _status(document: Mapping[str, Any], done: int, errors: int) -> Status:
    if document["not_applicable"]:
        return Status.NOT_APPLICABLE
    return Status.PARTIAL if errors or done < document["planned"] else Status.COMPLETE


def _shortfall(document: Mapping[str, Any], done: int, records: Sequence[Record]) -> str | None:
    failed = [record for record in records if record.error is not None]
    parts = []
    if done < document["planned"]:
        parts.append(f"{document['planned'] - done} of {document['planned']} units are not computed yet")
    if failed:
        parts.append(f"{len(failed)} units failed, first {failed[0].unit_id}: {failed[0].error}")
    return "; ".join(parts) or None


def stored_jobs(folder: RunFolder) -> Iterator[StoredJob]:
    """Every job that stands behind a (model, task) of the run."""
    for entry in folder.index():
        store = folder.job(entry["key"])
        yield StoredJob(store.read_job((entry["model"], entry["task"])), store)


def stored_results(directory: Path) -> list[ResultDocument]:
    """The results of a run's folder, as they follow from what is stored.

    Raises:
        UserError: it is no folder of a run.
    """
    return [job.result(job.records()) for job in stored_jobs(RunFolder.existing(directory))]


def result_path(folder: Path, model: str, task: str) -> Path:
    """``DIR/results/<model>/<task>.json``, with characters that a path can't carry replaced by ``_``."""
    return folder / "results" / path_name(model) / f"{path_name(task)}.json"


def stored_job(folder: RunFolder, model: str, task: str) -> StoredJob | None:
    """The job of a model's name and a task's id; None where the folder has none."""
    jobs = stored_jobs(folder)
    return next(
        (job for job in jobs if (job.document["model"]["name"], job.document["task"]) == (model, task)), None
    )


@dataclass(frozen=True)
class Report:
    """What ``report`` wrote and read; figures and jobs by (model, task)."""

    results: tuple[ResultDocument, ...]
    figures: Mapping[tuple[str, str], Sequence[Figure]]
    jobs: Mapping[tuple[str, str], StoredJob]


def write_report(folder: RunFolder) -> Report:
    """Write every result document, ``results.csv`` and ``times.csv`` from what is stored."""
    results, figures, jobs, times = [], {}, {}, []
    for job in stored_jobs(folder):
        records = job.records()
        result = job.result(records)
        results.append(result)
        write_atomically(result_path(folder.path, result.model.name, result.task), result.to_json())
        good = clean_records(records)
        with job.understood():
            drawn = tuple(job.task.figures(job.spec, good)) if good else ()
        figures[result.model.name, result.task], jobs[result.model.name, result.task] = drawn, job
        times.append(_time_row(result, job.store))
    write_atomically(folder.path / "results.csv", results_csv(results))
    write_atomically(folder.path / "times.csv", csv_text(TIME_COLUMNS, times))
    return Report(tuple(results), figures, jobs)


def _time_row(result: ResultDocument, store: JobStore) -> dict[str, Any]:
    times = store.read_times()
    return {
        "model": result.model.name,
        "task": result.task,
        "chunks": len(times),
        "wall_seconds": round(sum(entry["wall_seconds"] for entry in times), 3),
        "cpu_seconds": round(sum(entry["cpu_seconds"] for entry in times), 3),
        "waiting_seconds": round(sum(entry.get("waiting_seconds", 0.0) for entry in times), 3),
        "devices": " ".join(sorted({str(entry.get("device", "")) for entry in times})),
        "passes": as_text(told(times)),
    }


def records_csv(job: StoredJob, found: Mapping[str, FoundImage] | None = None) -> str:
    """The per-unit records of a job as CSV: the family's columns, then further ones of this spec's rows.

    Args:
        job: of a run.
        found: adversarial images that others found, by unit; with some, the best known results follow the records.
    """
    witness = job.task.witness
    with job.understood():
        records = job.records()
        rows = list(job.task.rows(job.spec, records))
        if found and witness is not None:
            rows += witness.best_known(job.spec, records, found)
    columns = dict.fromkeys((*job.task.record_columns, *(name for row in rows for name in row)))
    return csv_text(tuple(columns), rows)
