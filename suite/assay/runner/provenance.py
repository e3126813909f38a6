"""Where, with what and how long a job ran. It lies beside the result, never in it: equal answers are equal bytes."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.common.canonical import canonical_sha256
from assay.runner.chunks import ChunkResult
from assay.runner.files import path_name, write_atomically
from assay.runner.job_store import JobStore
from assay.runner.jobs import Job
from assay.runner.store import RunFolder
from assay.runner.work import COUNTED


class Provenance:
    """The provenance files of a run, ``DIR/provenance/<model>/<task>.json``, one per job.

    A job that was resumed or split names every environment that computed a part of it.
    """

    def __init__(self, folder: Path, with_host: bool) -> None:
        self._folder, self._with_host = folder, with_host
        self._jobs: dict[str, Job] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        self._last: dict[str, Mapping[str, Any]] = {}

    def add(self, job: Job, result: ChunkResult) -> None:
        """Note where a chunk was computed."""
        self._jobs[job.key] = job
        if result.environment and self._last.get(job.key) is not result.environment:
            self._last[job.key] = (
                result.environment
            )  # within one process it is one object: no need to hash it again
            seen = dict(result.environment) if self._with_host else _without_host(result.environment)
            self._environments.setdefault(job.key, {})[canonical_sha256(seen)[:16]] = seen

    def write(self) -> None:
        """Write the file of every job that a chunk was noted for."""
        for key, job in self._jobs.items():
            path = provenance_path(self._folder, *job.names)
            environments = _environments_in(path, key) | self._environments.get(key, {})
            _write(self._folder, path, key, environments, job.on_host)


def merge_environments(sources: Sequence[Path], out: Path, model: str, task: str, key: str) -> None:
    """Write a job's provenance in the run's folder ``out`` from the provenance of its parts."""
    environments: dict[str, Any] = {}
    for source in sources:
        environments |= _environments_in(provenance_path(source, model, task), key)
    _write(out, provenance_path(out, model, task), key, environments)


def _write(
    folder: Path, path: Path, key: str, environments: Mapping[str, Any], host: str | None = None
) -> None:
    document = {
        "job_key": key,
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "environments": environments,
        **({} if host is None else {"on_host": host}),
        "used": used(RunFolder.job_store(folder, key)),
    }
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def _without_host(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in environment.items() if name != "host"}


def provenance_path(folder: Path, model: str, task: str) -> Path:
    """Where the provenance of a job lies in a run's folder."""
    return folder / "provenance" / path_name(model) / f"{path_name(task)}.json"


def _environments_in(path: Path, key: str) -> dict[str, Any]:
    """What an earlier run of the same job noted; a damaged file counts as none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return dict(document["environments"]) if document["job_key"] == key else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def used(store: JobStore) -> dict[str, Any]:
    """Wall, CPU and device seconds of all stored chunks, the highest peaks of memory, and the smallest batch.

    ``images`` went through the network in ``passes``, an image once a pass; ``images_per_second`` is of the wall time.
    ``waiting_seconds`` is how long the device only waited for pictures (on a CPU: how long loading them held up the
    computation); ``waiting_share`` is its share of the wall time.
    """
    times = store.read_times()
    totals = {
        name: round(sum(entry.get(name, 0.0) for entry in times), 3)
        for name in ("wall_seconds", "cpu_seconds", "device_seconds", "waiting_seconds")
    }
    counted = {name: round(sum(entry.get(name, 0) for entry in times)) for name in COUNTED}
    wall = totals["wall_seconds"]
    counted["images_per_second"] = round(counted["images"] / wall, 1) if wall else 0.0
    totals["waiting_share"] = round(totals["waiting_seconds"] / wall, 4) if wall else 0.0
    peaks = {
        name: max((entry.get(name, 0) for entry in times), default=0)
        for name in ("peak_bytes", "peak_device_bytes")
    }
    batches = [entry["batch_size"] for entry in times if "batch_size" in entry]
    return {"chunks": len(times), **totals, **counted, **peaks, "smallest_batch": min(batches, default=None)}
