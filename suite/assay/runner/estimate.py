"""Estimates a job's time and memory, from its stored chunks or from a short measurement."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.runner.chunks import ChunkTask, compute
from assay.runner.plan import Survey
from assay.runner.store import RunFolder
from assay.runner.usage import Usage


@dataclass(frozen=True)
class TimeEstimate:
    """One worker's seconds per unit, and its peak memory in bytes (of the GPU where there is one)."""

    seconds_a_unit: float
    peak_bytes: int


def estimates(surveys: Sequence[Survey], out: Path | None, budget_seconds: float) -> dict[str, TimeEstimate]:
    """Estimates by job key: jobs with stored chunks cost nothing, others are measured while the budget lasts.

    A unit that exceeds the budget is stopped, and its time follows from how far it got.
    """
    found: dict[str, TimeEstimate] = {}
    until = time.monotonic() + budget_seconds
    for survey in surveys:
        estimate = None if out is None else _from_stored(out, survey)
        if estimate is None and survey.missing and time.monotonic() < until:
            # The last unit, because an adversarial set is made along the way, from the first unit on.
            *_, last = survey.tasks()
            estimate = _measured(last, until)
        if estimate is not None:
            found[survey.job.key] = estimate
    return found


def _from_stored(out: Path, survey: Survey) -> TimeEstimate | None:
    times = [entry for entry in RunFolder.job_store(out, survey.job.key).read_times() if entry.get("units")]
    if not times:
        return None
    units = sum(entry["units"] for entry in times)
    return TimeEstimate(sum(entry["wall_seconds"] for entry in times) / units, max(map(_peak, times)))


class _EnoughSeen(BaseException):
    """Ends a unit that outlasts the budget (no Exception, which would be its own); ``units`` is how much was done."""

    def __init__(self, units: float) -> None:
        self.units = units


def _measured(task: ChunkTask, until: float) -> TimeEstimate:
    """One unit, run twice where it is quick: the first run also warms up."""
    unit = task.alone()[0]
    times = _times(unit, until)
    if times["wall_seconds"] < 2.0:
        whole = task if times["wall_seconds"] * len(task.unit_ids) < 10.0 else unit
        times = _times(whole, until)
    return TimeEstimate(times["wall_seconds"] / times["units"], _peak(times))


def _times(task: ChunkTask, until: float) -> Mapping[str, Any]:
    """The cost of ``task``; when time is up, the cost of the share that was done by then."""
    done, usage = 0.0, Usage(task.request.device)

    def begin() -> None:
        nonlocal usage
        usage = Usage(task.request.device)

    def advance(units: float) -> None:
        nonlocal done
        done += units
        if 0 < done < len(task.unit_ids) and time.monotonic() > until:
            raise _EnoughSeen(done)

    try:
        return compute(task, task.request.device, advance, begin).times
    except _EnoughSeen as seen:
        return {**usage.measured(), "units": seen.units}


def _peak(times: Mapping[str, Any]) -> int:
    return int(times.get("peak_device_bytes") or times.get("peak_bytes") or 0)
