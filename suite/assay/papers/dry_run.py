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


def plan_text(plan: Reproduction, times: int | None = None) -> str:
    """The plan for the terminal: networks, tasks, what is missing, and the time of one worker where it is known.

    Args:
        plan: what is reproduced, and where.
        times: also how long all of it would take with so many times the images, to train on and to ask about.
    """
    networks, tasks = list(_networks(plan)), list(_tasks(plan))
    rows = [*networks, *tasks]
    parts = [f"{plan.paper.title}, scale {plan.scale_name}, in {plan.out}"]
    if networks:
        parts.append(_table(networks, ["network", "networks", "trained", "time to go"], times))
    if tasks:
        parts.append(_table(tasks, ["task on model", "units", "jobs", "time to go"], times))
    seconds = [row.seconds(row.left) for row in rows]
    parts.append("one worker's time to go: " + _total(seconds))
    if times is not None:
        seconds = [row.seconds(times * row.parts) for row in rows]
        parts.append(f"one worker's time for {times} times the images, all anew: {_total(seconds)}")
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
    """A line of the plan: what stands before the time, and what the time follows from.

    Attributes:
        each: one worker's seconds for one network or unit; None where they are not known yet.
        left: how many networks or units are to go.
        parts: how many there are in all.
    """

    cells: tuple[str, ...]
    each: float | None
    left: int
    parts: int

    def seconds(self, parts: int) -> float | None:
        """One worker's seconds for so many parts; None where they are not known yet."""
        if not parts:
            return 0.0
        return None if self.each is None else self.each * parts


def _table(rows: Sequence[DryRunRow], headers: list[str], times: int | None) -> str:
    lines = [[*row.cells, _told(row.seconds(row.left))] for row in rows]
    if times is not None:
        headers = [*headers, f"{times} × the images"]
        for line, row in zip(lines, rows, strict=True):
            line.append(_told(row.seconds(times * row.parts)))
    return text_table(lines, headers=headers, disable_numparse=True)


def _told(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


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
        each = fmean(record.seconds for record in records) if records else None
        cells = (name, str(len(nets)), str(len(records)))
        yield DryRunRow(cells, each, len(nets) - len(records), len(nets))


def _tasks(plan: Reproduction) -> Iterator[DryRunRow]:
    by_name: dict[tuple[str, str], list[PaperTask]] = {}
    for work in plan.work:
        by_name.setdefault((work.task, work.model), []).append(work)
    for (task, model), works in by_name.items():
        units = _units(plan, works[0])
        cells = (f"{task} on {model}", "?" if units is None else str(units), str(len(works)))
        if units is None:
            yield DryRunRow(cells, None, len(works), len(works))
            continue
        found = [_stored(plan, work, units) for work in works]
        rates = [rate for _, rate in found if rate is not None]
        left = sum(missing for missing, _ in found)
        yield DryRunRow(cells, fmean(rates) if rates else None, left, units * len(works))


def _units(plan: Reproduction, work: PaperTask) -> int | None:
    """Units of a job, counted by the spec that ours is made from; None where its data are not there."""
    task = task_at(plan.scale.tasks[work.task].task, plan.home)
    try:
        return len(open_question(replace(work.request, task=task)).units)
    except UserError:
        return None


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
