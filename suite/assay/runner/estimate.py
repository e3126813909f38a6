"""How long a job will take and how much memory it needs: from its stored chunks, or from a short measurement."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.runner.chunks import ChunkTask, compute
from assay.runner.plan import Survey
from assay.runner.store import RunFolder


@dataclass(frozen=True)
class Estimate:
    """One worker's seconds a unit, and its most memory in bytes (of the GPU where there is one)."""

    seconds_a_unit: float
    peak_bytes: int


def estimates(surveys: Sequence[Survey], out: Path | None, budget_seconds: float) -> dict[str, Estimate]:
    """Estimates by job key: of jobs with stored chunks for nothing, of others while the budget lasts."""
    found: dict[str, Estimate] = {}
    until = time.monotonic() + budget_seconds
    for survey in surveys:
        estimate = None if out is None else _from_stored(out, survey)
        if estimate is None and survey.missing and time.monotonic() < until:
            estimate = _measured(next(survey.tasks()))
        if estimate is not None:
            found[survey.job.key] = estimate
    return found


def _from_stored(out: Path, survey: Survey) -> Estimate | None:
    times = [entry for entry in RunFolder.job_store(out, survey.job.key).read_times() if entry.get("units")]
    if not times:
        return None
    units = sum(entry["units"] for entry in times)
    return Estimate(sum(entry["wall_seconds"] for entry in times) / units, max(map(_peak, times)))


def _measured(task: ChunkTask) -> Estimate:
    """One unit, run twice where it is quick: the first run also warms up."""
    unit = task.alone()[0]
    times = compute(unit, task.request.device, lambda _units: None, lambda: None).times
    if times["wall_seconds"] < 2.0:
        whole = task if times["wall_seconds"] * len(task.unit_ids) < 10.0 else unit
        times = compute(whole, task.request.device, lambda _units: None, lambda: None).times
    return Estimate(times["wall_seconds"] / times["units"], _peak(times))


def _peak(times: Mapping[str, Any]) -> int:
    return int(times.get("peak_device_bytes") or times.get("peak_bytes") or 0)
