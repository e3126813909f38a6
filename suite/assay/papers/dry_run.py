"""What a reproduction would do: what it trains and runs, and how long that takes where it is known."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from assay.common.errors import UserError
from assay.common.tables import text_table
from assay.papers.nets import Net
from assay.papers.plan import PaperTask, Reproduction, bullets
from assay.papers.spec.paper import task_at
from assay.runner.estimate import estimates
from assay.runner.jobs import open_question
from assay.runner.plan import plan_jobs, survey
from assay.runner.progress import duration

UNKNOWN = (
    "A time is known where one network of that kind is trained, or a task has been run on one of them: it follows from "
    "what that took. `assay plan --model M --task T` measures a task on a network that is there."
)


def plan_text(plan: Reproduction) -> str:
    """The plan for the terminal: networks, tasks, what is missing, and the time of one worker where it is known."""
    networks, tasks = list(_networks(plan)), list(_tasks(plan))
    seconds = [row.seconds for row in (*networks, *tasks)]
    parts = [f"{plan.paper.title}, scale {plan.scale_name}, in {plan.out}"]
    if networks:
        parts.append(_table(networks, ["network", "networks", "trained", "time to go"]))
    if tasks:
        parts.append(_table(tasks, ["task on model", "units", "jobs", "time to go"]))
    parts.append("one worker's time to go: " + _total(seconds))
    if None in seconds:
        parts.append(UNKNOWN)
    missing = plan.problems()
    if plan.needs_archive and plan.archive is None:
        assert plan.paper.archive is not None
        missing.append(
            f"{plan.paper.archive.file} (the claims that rest on it are then not testable): {plan.paper.archive.get}"
        )
    parts.append("missing:" + (bullets(missing) or " nothing"))
    return "\n\n".join(parts)


@dataclass(frozen=True)
class DryRunRow:
    """A line of the plan: what stands before the time, and one worker's seconds (None: not known yet)."""

    cells: tuple[str, ...]
    seconds: float | None


def _table(rows: Sequence[DryRunRow], headers: list[str]) -> str:
    lines = [[*row.cells, "unknown" if row.seconds is None else duration(row.seconds)] for row in rows]
    return text_table(lines, headers=headers, disable_numparse=True)


def _total(seconds: Sequence[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    if len(known) == len(seconds):
        return duration(math.fsum(known))
    unknown = f"{len(seconds) - len(known)} of {len(seconds)} lines are not known yet"
    return f"at least {duration(math.fsum(known))}; {unknown}" if any(known) else unknown


def _networks(plan: Reproduction) -> Iterator[DryRunRow]:
    by_name: dict[str, list[Net]] = {}
    for net in plan.nets:
        by_name.setdefault(net.name, []).append(net)
    for name, nets in by_name.items():
        records = [record for net in nets if (record := net.record()) is not None]
        to_go = len(nets) - len(records)
        seconds = fmean(record.seconds for record in records) * to_go if records else None
        yield DryRunRow((name, str(len(nets)), str(len(records))), seconds)


def _tasks(plan: Reproduction) -> Iterator[DryRunRow]:
    by_name: dict[tuple[str, str], list[PaperTask]] = {}
    for work in plan.work:
        by_name.setdefault((work.task, work.model), []).append(work)
    for (task, model), works in by_name.items():
        units = _units(plan, works[0])
        seconds = None if units is None else _seconds(plan, works, units)
        yield DryRunRow(
            (f"{task} on {model}", "?" if units is None else str(units), str(len(works))), seconds
        )


def _units(plan: Reproduction, work: PaperTask) -> int | None:
    """Units of a job, counted by the spec that ours is made from; None where its data are not there."""
    task = task_at(plan.scale.tasks[work.task].task, plan.home)
    try:
        return len(open_question(replace(work.request, task=task)).units)
    except UserError:
        return None


def _seconds(plan: Reproduction, works: Sequence[PaperTask], units: int) -> float | None:
    """The sum over all jobs of one task and model; None until one of them has stored something."""
    found = [_stored(plan, work, units) for work in works]
    missing = sum(left for left, _ in found)
    rates = [rate for _, rate in found if rate is not None]
    if not missing:
        return 0.0
    return fmean(rates) * missing if rates else None


def _stored(plan: Reproduction, work: PaperTask, units: int) -> tuple[int, float | None]:
    """Units that a job still misses, and seconds per unit of those that it has stored."""
    ensemble = plan.scale.tasks[work.task].ensemble
    looked_at = [
        net for net in plan.nets if net.name in ensemble or (net.name, net.seed) == (work.model, work.seed)
    ]
    folder = plan.run_folder(work.seed)
    if any(net.record() is None for net in looked_at) or not folder.is_dir():
        return units, None
    try:
        found = survey(plan_jobs([work.request]), folder)[0]
    except UserError:  # a network or data that are not here: the list of what is missing names them
        return units, None
    known = estimates([found], folder, 0.0).get(found.job.key)
    return found.missing_units, None if known is None else known.seconds_a_unit
