"""Carry a plan out: train what is missing, run every task through the runner, measure, judge, and write it all down."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.common.errors import UserError
from assay.papers.claims import ClaimFinding, MeasuredValue, MissingValue, judge_all
from assay.papers.measure import JobName, measure
from assay.papers.nets import train_missing
from assay.papers.plan import PaperTask, Reproduction, bullets
from assay.results.document import ResultDocument
from assay.runner.assemble import StoredJob, write_report
from assay.runner.files import write_atomically
from assay.runner.lock import exclusive
from assay.runner.plan import plan_jobs
from assay.runner.run import InterruptedRunError, Runtime, run_jobs
from assay.tasks.base import Figure

MARKER = "reproduction.json"
KIND = "assay-reproduction"


@dataclass(frozen=True)
class PaperOutcome:
    """Everything that a page shows: measurements, verdicts on the claims, results and pictures; and the stored jobs."""

    plan: Reproduction
    measured: dict[str, MeasuredValue | MissingValue]
    findings: list[ClaimFinding]
    results: dict[JobName, ResultDocument]
    figures: dict[JobName, tuple[Figure, ...]]
    jobs: dict[JobName, StoredJob]


def reproduce(
    plan: Reproduction, make_runtime: Callable[[], Runtime], workers: int, say: Callable[[str], None]
) -> PaperOutcome:
    """Do what is not done yet; the same call after a kill goes on, and a second one computes nothing.

    Args:
        plan: what to do, and where.
        make_runtime: makes the runner's settings, anew for each run.
        workers: networks that are trained at the same time.
        say: gets a line for each event.

    Raises:
        UserError: data or models are missing (all of them are named), the folder is another's, or the disk is full.
        InterruptedRunError: on Ctrl-C; what is stored is whole.
    """
    refuse_if_missing(plan)
    claim_folder(plan)
    with _saying_how_to_go_on(plan), exclusive(plan.out, say):
        train_missing(plan.nets, workers, say)
        plan.write_specs()
        results, figures, jobs = _run_tasks(plan, make_runtime)
        measured = measure(plan, results, jobs)
        findings = judge_all(plan.paper.claims, measured, plan.scale.untested)
    return PaperOutcome(plan, measured, findings, results, figures, jobs)


@contextmanager
def _saying_how_to_go_on(plan: Reproduction) -> Iterator[None]:
    """On Ctrl-C, say what is stored; within a run of tasks, the runner has said it already."""
    try:
        yield
    except KeyboardInterrupt:
        stored = sum(net.record() is not None for net in plan.nets)
        raise InterruptedRunError(
            f"stopped: {stored} of {len(plan.nets)} networks are stored in {plan.out}; "
            "the same command goes on from there"
        ) from None


def refuse_if_missing(plan: Reproduction) -> None:
    """Raise one UserError that names everything that is missing, one line each."""
    problems = plan.problems()
    if problems:
        count = f"{len(problems)} things are" if len(problems) > 1 else "something is"
        raise UserError(
            f"{plan.paper.paper} at scale {plan.scale_name}: {count} missing:" + bullets(problems)
        )


def claim_folder(plan: Reproduction) -> None:
    """Make the folder this reproduction's, or find that it is.

    Raises:
        UserError: it holds something else, or another paper or scale.
    """
    marker = plan.out / MARKER
    mine = {"kind": KIND, "schema": 1, "paper": plan.paper.paper, "scale": plan.scale_name}
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != mine:
            raise UserError(f"{plan.out}: holds another reproduction ({found}); choose another --out")
        return
    if plan.out.exists() and (not plan.out.is_dir() or any(plan.out.iterdir())):
        raise UserError(f"{plan.out}: exists and is no reproduction; choose a new or empty --out")
    write_atomically(marker, json.dumps(mine, indent=1) + "\n")


def _run_tasks(
    plan: Reproduction, make_runtime: Callable[[], Runtime]
) -> tuple[dict[JobName, ResultDocument], dict[JobName, tuple[Figure, ...]], dict[JobName, StoredJob]]:
    """Every job, one run per seed: results, pictures and what is stored."""
    results, figures, stored = {}, {}, {}
    runs: dict[Path, list[PaperTask]] = {}
    for work in plan.work:
        runs.setdefault(plan.run_folder(work.seed), []).append(work)
    for folder, members in runs.items():
        jobs = plan_jobs([work.request for work in members])
        report = write_report(run_jobs(jobs, folder, make_runtime()))
        found = {(result.model.name, result.task): result for result in report.results}
        for work, job in zip(members, jobs, strict=True):
            name = work.model, work.seed, work.task
            results[name], stored[name] = found[job.names], report.jobs[job.names]
            figures[name] = tuple(report.figures.get(job.names, ()))
    return results, figures, stored
