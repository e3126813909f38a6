"""The maintainers' findings: *re-scored* from the pictures that were sent, *re-run* from the job's own command.

A finding lies under ``leaderboard/tiers``, outside of every submission, so that no submission can bring its own; the
commit says who found it, and when. It names the manifest that was looked at and holds for no other.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.board.submissions.check import Board, holds_outcomes, outcome_problems, read_records, require_good
from assay.board.submissions.documents import METADATA, RE_RUN, RE_SCORED, Metadata, TaskFinding, TierDocument
from assay.board.submissions.folder import SubmissionFiles, open_folder
from assay.board.submissions.images import SHOWN, SavedImages, rescored_images
from assay.board.submissions.outcomes import unit_columns
from assay.board.submissions.problems import printable
from assay.board.submissions.reader import UnreadableError, read_metadata
from assay.board.submissions.results import CheckedResult, checked_result, equal, parse_result, switches_of
from assay.common.errors import UserError
from assay.common.statistics import mcnemar_p_value
from assay.common.version import VERSION
from assay.models.foreign import SHIPPED, require_trusted
from assay.results.document import Metric, ResultDocument, Status
from assay.runner.assemble import StoredJob, stored_jobs
from assay.runner.files import write_atomically
from assay.runner.jobs import Job, JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs
from assay.tasks.base import Record
from assay.tasks.families import family
from assay.tasks.shared.images import DataSource

TIER_FILES: Mapping[str, str] = {tier: f"{tier}.json" for tier in (RE_SCORED, RE_RUN)}  # the lowest first
_MACHINE_UNITS = {"s"}  # how long it took says nothing about the model, and differs on every machine
_SAME_UNIT = 1e-3  # relative; two machines round otherwise
_ONE_SIDED = 0.02  # two-sided p-value; seven units that were all stated better are fewer


def rescore(
    folder: Path, board: Board, roots: Sequence[Path], images: SavedImages | None = None
) -> TierDocument:
    """Everything that follows from the saved outcomes, computed again beside the real data.

    Beyond ``check-submission``: each record's label is the data set's own, and each unit's outcome, not a sample of
    them, is computed again.

    With ``images``, the pictures that a run saved are also compared with the records. The network is asked about each,
    and some of the images that are said to stand are attacked.

    Raises:
        UserError: the submission does not pass the checks, the data are not here, or the run holds no job of it.
    """
    files = opened(folder, board)
    found = {task: _rescore_task(files, task, board, roots) for task in files.tasks}
    if images is not None:
        results = [checked_task(files, task, board) for task in files.tasks]
        found |= {
            task: _with_images(finding, found[task])
            for task, finding in rescored_images(files, results, images, roots).items()
        }
    return TierDocument(tier=RE_SCORED, assay=VERSION, manifest_sha256=files.manifest_sha256, tasks=found)


def opened(folder: Path, board: Board) -> SubmissionFiles:
    """The files of a submission that passes the checks.

    Raises:
        UserError: it does not.
    """
    require_good(folder, board)
    files, _ = open_folder(folder)
    if files is None:
        raise UserError(f"{folder}: changed while it was read; run the command again")
    return files


def _rescore_task(files: SubmissionFiles, task: str, board: Board, roots: Sequence[Path]) -> TaskFinding:
    checked = checked_task(files, task, board)
    if checked.result.status is Status.NOT_APPLICABLE:
        return TaskFinding(differences=(), figures_compared=0, units_compared=0)
    records = read_records(files, task, checked.spec.spec)
    differences = list(_label_differences(checked, records, roots))
    if holds_outcomes(files, task):
        differences += map(str, outcome_problems(files, checked, records, len(records)))
    return TaskFinding(
        differences=tuple(printable(text) for text in differences[:SHOWN]),
        figures_compared=len(checked.result.metrics),
        units_compared=len(records),
    )


def checked_task(files: SubmissionFiles, task: str, board: Board) -> CheckedResult:
    """A result of a submission that passes the checks."""
    file = f"results/{task}.json"
    return checked_result(file, parse_result(file, files.read(file)), task, board.register.tasks[task])


def _with_images(finding: TaskFinding, before: TaskFinding) -> TaskFinding:
    """A finding of the saved outcomes, with what was found of the saved images."""
    differences = (*before.differences, *finding.differences)
    looked = {name: getattr(finding, name) for name in ("images_compared", "spot_check")}
    return before.model_copy(update={"differences": differences, **looked})


def _label_differences(
    checked: CheckedResult, records: Sequence[Record], roots: Sequence[Path]
) -> Iterator[str]:
    loaded = checked.spec
    task = family(loaded.spec.family)
    data = task.open_data(
        loaded.spec, DataSource(loaded.spec.data, loaded.folder, tuple(roots), trust=SHIPPED)
    )
    if data.sha256 != checked.admitted.data_sha256:
        yield f"the data here have the SHA-256 {data.sha256}, the task's have {checked.admitted.data_sha256}"
        return
    for unit, record in zip(task.units(loaded.spec, data), records, strict=True):
        parts = unit.payload if isinstance(unit.payload, tuple) else (unit.payload,)
        label = next((part.label for part in parts if hasattr(part, "label")), None)
        if label is not None and record.values.get("label", label) != label:
            yield f"{unit.id}: the record says label {record.values['label']}, the data set {label}"


def rerun(folder: Path, board: Board, request: JobRequest, out: Path) -> TierDocument:
    """The whole job again, here; equal within the stated interval, with every difference listed.

    Args:
        folder: the submission.
        board: what it is checked against.
        request: how to run it here; its ``task`` is not used, every task of the submission is run.
        out: the folder of the new run.

    Raises:
        UserError: the submission does not pass the checks, or its job cannot be opened here as the same job.
    """
    files = opened(folder, board)
    stated = {task: checked_task(files, task, board).result for task in files.tasks}
    requests = [
        JobRequest(
            model=request.model, task=task, weights=request.weights, device=request.device,
            batch_size=request.batch_size, data_roots=request.data_roots,
            switches=switches_of(stated[task].spec, task),
        )
        for task in files.tasks
    ]  # fmt: skip
    jobs = plan_jobs(requests)
    for planned in jobs:
        _require_same_job(stated[planned.request.task], planned)
    run = run_jobs(jobs, out)
    found = {}
    for job in stored_jobs(run):
        records = job.records()
        task = job.document["task"]
        before = read_records(files, task, job.spec) if f"records/{task}.jsonl.gz" in files.names else []
        finding = compare_results(stated[task], job.result(records), before, records)
        better = tuple(_stated_better(job, stated[task], before, records))
        found[task] = finding.model_copy(update={"differences": (*finding.differences, *better)[:SHOWN]})
    return TierDocument(
        tier=RE_RUN,
        assay=VERSION,
        manifest_sha256=files.manifest_sha256,
        tasks=found,
        environment=_environment(request.device),
    )


def model_of(folder: Path, allowed: str | None = None) -> str:
    """The name that the suite loads a submission's model by.

    A stranger chose that name. One that is not of the built-in zoo is not followed; ``allowed``, which the maintainer
    typed, is taken instead. The job's key tells whether that is the submission's network.

    Raises:
        UserError: its metadata cannot be read, or its name is not of the built-in zoo and nothing was allowed.
    """
    try:
        model = read_metadata(Metadata, folder, METADATA).model
    except UnreadableError as error:
        raise UserError(f"{folder}: {error}") from error
    if allowed is None:
        require_trusted(model, str(folder))
    return allowed or model


def _require_same_job(stated: ResultDocument, job: Job) -> None:
    info = job.info
    for field, value, expected in (
        ("weights_sha256", info.weights_sha256, stated.model.weights_sha256),
        ("architecture", info.architecture, stated.model.architecture),
        ("preprocessing", info.preprocessing.model_dump(mode="json"), stated.model.preprocessing),
        ("data.sha256", job.identity["data_sha256"], stated.data.sha256),
        ("job_key", job.key, stated.job_key),
    ):
        if value != expected:
            raise UserError(
                f"{stated.task}: `{field}`: this machine's job has {value}, the submission {expected}; "
                "give the submission's own weights with --weights and its data with --data-root"
            )


def compare_results(
    stated: ResultDocument, again: ResultDocument, before: Sequence[Record], after: Sequence[Record]
) -> TaskFinding:
    """Where a re-run differs: figures outside the stated interval, guards that failed, another status."""
    differences = []
    if stated.status is not again.status or again.failed_guards:
        failed = ", ".join(guard.name for guard in again.failed_guards) or "none"
        differences.append(
            f"status {again.status.value}, failed guards: {failed}; stated {stated.status.value}"
        )
    measured = {metric.name: metric for metric in again.metrics}
    compared = [metric for metric in stated.metrics if metric.unit not in _MACHINE_UNITS]
    for metric in compared:
        if difference := _figure_difference(metric, measured.get(metric.name)):
            differences.append(difference)
    changed = sum(one.values != other.values for one, other in zip(before, after, strict=False))
    if changed and differences:
        differences.append(f"{changed} of {len(before)} units have other records")
    return TaskFinding(
        differences=tuple(differences[:SHOWN]),
        figures_compared=len(compared),
        units_compared=len(after),
    )


def _figure_difference(stated: Metric, again: Metric | None) -> str | None:
    if again is None or again.value is None or stated.value is None:
        same = again is not None and again.value is stated.value
        return None if same else f"{stated.name}: {stated.value} was stated, the re-run gives no such figure"
    if stated.ci_low is None or stated.ci_high is None:
        inside = equal(stated.value, again.value)
    else:
        inside = stated.ci_low <= again.value <= stated.ci_high or equal(stated.value, again.value)
    interval = f"[{stated.ci_low}, {stated.ci_high}]"
    return (
        None if inside else f"{stated.name}: {again.value} now, outside the stated {stated.value} {interval}"
    )


def _stated_better(
    job: StoredJob, stated: ResultDocument, before: Sequence[Record], after: Sequence[Record]
) -> Iterator[str]:
    """Whether the ranking figure's units were stated better than they are here, and hardly any worse.

    An interval is wide where units are few, so a forger could raise a figure to its upper end. Another machine moves
    units both ways; who forges moves them one way.
    """
    ranks = next((one for one in stated.metrics if one.name == job.spec.headline_key), None)
    if ranks is None:
        return
    sign = -1 if ranks.direction == "down" else 1
    one, other = (
        unit_columns(job.task, job.spec, records, [ranks.name])[ranks.name].scores
        for records in (before, after)
    )
    changed = [
        sign * (was - now)
        for was, now in zip(one, other, strict=False)
        if was is not None
        and now is not None
        and not math.isclose(was, now, rel_tol=_SAME_UNIT, abs_tol=1e-9)
    ]
    better = sum(change > 0 for change in changed)
    worse = len(changed) - better
    if better > worse and mcnemar_p_value(better, worse) < _ONE_SIDED:
        yield f"{ranks.name}: {better} units were stated better than they are now, and {worse} worse"


def _environment(device: str) -> dict[str, Any]:
    from assay.runner.environment import environment

    kept = ("packages", "python", "system", "commit", "device", "cuda")
    return {name: value for name, value in environment(device).items() if name in kept}


def write_finding(board: Path, folder: Path, finding: TierDocument) -> Path:
    """Store a finding where the site looks for it."""
    path = board / "tiers" / folder.resolve().name / TIER_FILES[finding.tier]
    write_atomically(path, finding.model_dump_json(indent=1, by_alias=True) + "\n")
    return path
