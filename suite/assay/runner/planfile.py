"""Writes a plan as JSON and as a table, and reads a plan's JSON back as jobs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from assay.common.errors import UserError
from assay.common.tables import text_table
from assay.data.draw import Draw
from assay.models.foreign import NamePolicy, require_trusted
from assay.runner.estimate import TimeEstimate
from assay.runner.jobs import Job, JobRequest
from assay.runner.plan import Survey, plan_jobs
from assay.runner.progress import duration
from assay.tasks.shared.overrides import OPTION
from assay.tasks.task_spec import shipped_specs

_LATER_FIELDS: Mapping[str, Any] = {
    "settings": [], "name": None, "draw": Draw.FIRST.value, "precision": {"channels_last": False},
}  # fmt: skip
KIND = {"kind": "assay-plan", "schema": 1}


def plan_document(surveys: Sequence[Survey], estimates: Mapping[str, TimeEstimate]) -> dict[str, Any]:
    """The plan as plain JSON; ``estimates`` by job key, for the jobs that were measured."""
    return {**KIND, "jobs": [_entry(found, estimates.get(found.job.key)) for found in surveys]}


def _entry(found: Survey, estimate: TimeEstimate | None) -> dict[str, Any]:
    job = found.job
    model, task = job.names
    return {
        "model": model,
        "task": task,
        "key": job.key,
        "units": len(job.units),
        "chunks": job.chunk_count,
        "chunks_stored": found.stored,
        "not_applicable": job.not_applicable,
        "seconds_to_go": estimate and round(estimate.seconds_a_unit * found.missing_units, 3),
        "peak_bytes": estimate and estimate.peak_bytes,
        "request": asdict(job.request),
    }


def plan_table(document: Mapping[str, Any]) -> str:
    """The plan for the terminal."""
    rows = [
        [
            entry["model"],
            entry["task"],
            entry["key"][:12],
            entry["units"],
            "not applicable" if entry["not_applicable"] else f"{entry['chunks_stored']}/{entry['chunks']}",
            "–" if entry["seconds_to_go"] is None else duration(entry["seconds_to_go"]),
            "–" if entry["peak_bytes"] is None else f"{entry['peak_bytes'] / 2**30:.2f} GiB",
        ]
        for entry in document["jobs"]
    ]
    table = text_table(
        rows,
        headers=["model", "task", "key", "units", "chunks stored", "time to go", "memory"],
    )
    known = [entry["seconds_to_go"] for entry in document["jobs"] if entry["seconds_to_go"] is not None]
    total = duration(sum(known)) if known else "not measured"
    return f"{table}\n\n{len(rows)} jobs; one worker's time to go, of the {len(known)} that were measured: {total}"


@dataclass(frozen=True)
class NamedAgain:
    """What a user must name again beside a plan, because anybody may have written it: all that is not Assay's own.

    Attributes:
        models: models besides the built-in zoo's.
        tasks: spec files.
        weights: a checkpoint.
        trusted: models besides the built-in zoo's that a spec may name.
        data: the user's own pictures.
        settings: fields of specs.
    """

    models: Sequence[str] = ()
    tasks: Sequence[str] = ()
    weights: Path | None = None
    trusted: Sequence[str] = ()
    data: str | None = None
    settings: Sequence[str] = ()

    def require(self, request: JobRequest, where: str) -> None:
        """Refuse a request for anything but Assay's own models, weights and specs and what was named.

        Raises:
            UserError: it does; says which option names it.
        """
        require_trusted(request.model, where, NamePolicy(named=frozenset(self.models)))
        for option, given, named in (
            ("--weights", request.weights, [str(self.weights)]),
            ("--task", None if request.task in shipped_specs() else request.task, self.tasks),
            ("--data", request.data, [self.data]),
            *(("--trust", name, self.trusted) for name in request.trusted),
            *((OPTION, setting, self.settings) for setting in request.settings),
        ):
            if given is not None and given not in named:
                raise UserError(
                    f"{where}: names {given!r}, which is not opened unseen; look at what it is, then name it yourself "
                    f"with {option} {given}"
                )


def read_plan(path: Path, device: str, named: NamedAgain | None = None) -> list[Job]:
    """The jobs of a plan, planned again on ``device`` and checked to be the same.

    Args:
        path: of the plan.
        device: where it is run.
        named: what the user named besides it.

    Raises:
        UserError: no plan, it goes further than the user did, or weights, data or specs changed since it was made.
    """
    document = _read(path)
    try:
        requests = [_request(entry["request"]) for entry in document["jobs"]]
        promised = [str(entry["key"]) for entry in document["jobs"]]
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error)}; make a plan with `assay plan --json`") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: is not a plan ({error}); make one with `assay plan --json`") from error
    if not requests:
        raise UserError(f"{path}: plans no jobs; make one with `assay plan --json`")
    for request in requests:
        (named or NamedAgain()).require(request, str(path))
    jobs = plan_jobs([replace(request, device=device) for request in requests])
    for job, key in zip(jobs, promised, strict=True):
        if job.key != key:
            raise UserError(
                f"{path}: {job.title} is another job than was planned: weights, data, spec or code changed; plan again"
            )
    return jobs


def _with_later(entry: Any, later: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with what it lacks of ``later``, in its blocks too; a block that is not there stays missing."""
    blocks = {name: block for name, block in later.items() if isinstance(block, Mapping)}
    filled = {**{name: value for name, value in later.items() if name not in blocks}, **entry}
    for name, block in blocks.items():
        if isinstance(filled.get(name), dict):
            filled[name] = _with_later(filled[name], block)
    return filled


def _request(entry: Any) -> JobRequest:
    """The request that was written as ``entry``, which must say all of it and nothing else.

    What a request has had only since plans were written may be missing.
    """
    entry = _with_later(entry, _LATER_FIELDS)
    request = TypeAdapter(JobRequest).validate_json(json.dumps(entry), strict=True)
    again = json.loads(json.dumps(asdict(request)))
    if entry != again:
        raise TypeError("a request has other fields than this version's")
    return request


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where} is {problem['input']!r}: {problem['msg']}"


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as a plan ({error}); make one with `assay plan --json`"
        ) from error
    if not isinstance(document, dict) or {name: document.get(name) for name in KIND} != KIND:
        raise UserError(
            f"{path}: is not a plan of schema {KIND['schema']}; make one with `assay plan --json`"
        )
    return document
