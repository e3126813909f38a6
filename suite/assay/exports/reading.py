"""From a run's folder to the results that are exported: as they follow from what is stored."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from assay.common.errors import UserError
from assay.exports.figures import ExportedResult
from assay.runner.assemble import stored_jobs
from assay.runner.provenance import provenance_path
from assay.runner.store import RunFolder


def results_of(
    directory: Path, models: Sequence[str] = (), tasks: Sequence[str] = ()
) -> list[ExportedResult]:
    """The results of a run, with Assay's versions and the time of their provenance.

    Args:
        directory: the run's folder.
        models: only those of these models; () for all.
        tasks: only those of these tasks; () for all.

    Raises:
        UserError: it is no run, or has no such result.
    """
    found = []
    folder = RunFolder.existing(directory)
    for job in stored_jobs(folder):
        names = (job.document["model"]["name"], job.document["task"])
        if (models and names[0] not in models) or (tasks and names[1] not in tasks):
            continue
        versions, finished = _provenance(provenance_path(directory, *names), job.document["key"])
        found.append(ExportedResult(job.result(job.records()), versions, finished))
    if not found:
        there = "; ".join(f"--model {entry['model']} --task {entry['task']}" for entry in folder.index())
        raise UserError(f"{directory}: holds no such result; it holds: {there or 'nothing'}")
    return found


def _provenance(path: Path, key: str) -> tuple[tuple[str, ...], datetime | None]:
    """The versions and the time that a provenance file of this job states; nothing where it does not."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["job_key"] != key:
            return (), None
        environments = document["environments"].values()
        versions = dict.fromkeys(str(each["packages"]["assay"]) for each in environments)
        return tuple(versions), datetime.fromisoformat(document["written_utc"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return (), None
