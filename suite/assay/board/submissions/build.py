"""From a run's folder to a submission: one folder per model, written whole or not at all."""

import gzip
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from assay.board.submissions.check import Board, check_submission, other_names
from assay.board.submissions.documents import (
    MANIFEST,
    METADATA,
    MODEL_CARD,
    FileEntry,
    Metadata,
    SubmissionManifest,
    is_of_task,
)  # fmt: skip
from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import UnreadableError, parse_json
from assay.board.submissions.register import read_register
from assay.board.submissions.results import switches_of
from assay.board.submissions.scored import is_scored, place_of
from assay.board.submissions.text import folder_name, option_in
from assay.common.canonical import canonical_json
from assay.common.errors import UserError
from assay.common.validation import read_yaml, validate
from assay.common.version import VERSION
from assay.models.card_file import SUFFIXES, read_card_file
from assay.models.entries.card_file import card_path
from assay.results.document import ResultDocument, Status
from assay.runner.assemble import StoredJob, stored_jobs
from assay.runner.files import path_name
from assay.runner.job_document import repeat_command
from assay.runner.jobs import JobRequest
from assay.runner.store import RunFolder
from assay.tasks.base import Record
from assay.tasks.task_spec import shipped_specs

_METADATA_HELP = (
    "it needs `paper: {title: …, url: https://…}` (or `paper: none`), `code: https://…` (or `code: assay` where this "
    "program trains the model), `licence: …` and `contact: an address`; `weights: https://…` (or `weights: not "
    "public`), `name: …`, `submitter: …`, `note: …` and "
    "`without: {TASK: why the submission has no result of it}` are optional"
)


@dataclass(frozen=True)
class SubmitRequest:
    """What to submit: a run's folder, one of its models, a name, and the metadata."""

    run: Path
    metadata: Path
    model: str | None = None
    name: str | None = None


def build_submissions(request: SubmitRequest, board: Path) -> list[Path]:
    """Write the submission of each model of the run under ``board/submissions`` unchecked, and return the folders.

    Results of other tasks that a model's folder holds already are kept, when they are of the same weights.

    Raises:
        UserError: the run holds no such model, a result is partial or limited, or the metadata are not valid.
    """
    built = _contents(request, board)
    for target, (files, _) in built.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
            _move_in(_written(Path(temporary) / "new", files), target, Path(temporary))
    return list(built)


@dataclass(frozen=True)
class Submitted:
    """One model's submission: its folder, why it was not written there, if it was not, and why it leaves out tasks."""

    folder: Path
    problems: Sequence[Problem]
    left_out: Mapping[str, str]


def submit(request: SubmitRequest, board: Path) -> list[Submitted]:
    """As :func:`build_submissions`, but each is built aside, and moved in only where every check passes.

    Raises:
        UserError: as there, and where ``board`` has no register; nothing is written then.
    """
    against, found = Board(read_register(board), other_names(board / "submissions")), []
    for target, (files, left_out) in _contents(request, board).items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
            # The folder's name is checked too.
            aside = _written(Path(temporary) / "new" / target.name, files)
            problems = check_submission(aside, against)
            if not problems:
                _move_in(aside, target, Path(temporary))
            found.append(Submitted(target, problems, left_out))
    return found


def _contents(request: SubmitRequest, board: Path) -> dict[Path, tuple[dict[str, bytes], dict[str, str]]]:
    """Folder to its files by name, of each model; and the tasks of the run that it leaves out, with the reason."""
    folder = RunFolder.existing(request.run)
    jobs: dict[str, list[StoredJob]] = {}
    for job in stored_jobs(folder):
        jobs.setdefault(job.document["model"]["name"], []).append(job)
    built = {}
    for model in _chosen(jobs, request):
        metadata = read_submitter_metadata(request.metadata, model, request.name)
        left_out = _left_out(metadata, jobs[model])
        sent = [job for job in jobs[model] if job.document["task"] not in left_out]
        if not sent:
            raise UserError(
                f"{request.run}: {model} has only results that are left out "
                f"({'; '.join(f'{task}: {why}' for task, why in left_out.items())}); "
                "run a task that the board takes: `assay list tasks` says which"
            )
        target, files = _content(request, board, metadata, sent)
        built[target] = files, left_out
    return built


def _left_out(metadata: Metadata, jobs: Sequence[StoredJob]) -> dict[str, str]:
    """The tasks of a run that a submission leaves out, with the reason: demonstrations, and what its metadata names."""
    stated = metadata.without or {}
    found = {}
    for job in jobs:
        task = job.document["task"]
        if task in stated:
            found[task] = stated[task]
        elif job.document["spec"].get("demonstration"):
            # Its figures mean nothing; a track's run may hold one.
            found[task] = "it is a demonstration, and the board takes none"
    return found


def _chosen(jobs: Mapping[str, Sequence[StoredJob]], request: SubmitRequest) -> list[str]:
    there = ", ".join(sorted(jobs)) or "nothing"
    if not jobs or (request.model is not None and request.model not in jobs):
        raise UserError(f"{request.run}: holds no model {request.model or ''!r}; it holds: {there}")
    chosen = [request.model] if request.model is not None else sorted(jobs)
    if request.name is not None and len(chosen) > 1:
        raise UserError(f"--name: the run holds several models ({there}); choose one with --model")
    return chosen


def read_submitter_metadata(path: Path, model: str, name: str | None) -> Metadata:
    """The submitter's YAML file, completed with the model's name.

    Raises:
        UserError: a key is missing or wrong; says which keys there are.
    """
    try:
        document = read_yaml(path)
        given: dict[str, Any] = {"name": model, **document, "model": model}
        return validate(Metadata, given | ({"name": name} if name else {}), str(path))
    except UserError as error:
        raise UserError(f"{error}; {_METADATA_HELP}") from error


def _content(
    request: SubmitRequest, board: Path, metadata: Metadata, jobs: Sequence[StoredJob]
) -> tuple[Path, dict[str, bytes]]:
    target = board / "submissions" / folder_name(metadata.name)
    files = _kept_files(target, jobs)
    files[METADATA] = yaml.safe_dump(
        metadata.model_dump(mode="json", by_alias=True, exclude_none=True),
        sort_keys=False,
        allow_unicode=True,
    ).encode()
    files |= _model_card(metadata.model, jobs)
    replaced = [*(metadata.without or ()), *(job.document["task"] for job in jobs)]
    files = {
        name: data for name, data in files.items() if not any(is_of_task(name, task) for task in replaced)
    }
    for job in jobs:
        files |= dict(_job_files(request.run, job))
    return target, files


def _model_card(model: str, jobs: Sequence[StoredJob]) -> dict[str, bytes]:
    """The bytes of the model card that the jobs were run by, if there was one: others can load the model with it.

    Raises:
        UserError: it is gone, now describes another model, or names files outside its folder.
    """
    named = option_in(jobs[0].document["command"], "--model") or ""
    if not named.endswith(SUFFIXES):
        return {}
    path = card_path(named)
    card = read_card_file(path, confined=True)
    if card.name != model:
        raise UserError(f"{path}: is the card of {card.name} by now, where the run has {model}; put it back")
    return {MODEL_CARD: path.read_bytes()}


def _kept_files(target: Path, jobs: Sequence[StoredJob]) -> dict[str, bytes]:
    """The content of an earlier submission of the same weights; another model's folder is never overwritten."""
    if not target.exists():
        return {}
    weights = jobs[0].document["model"]["weights_sha256"]
    for path in sorted((target / "results").rglob("*.json")):
        try:
            found = str(parse_json(path.name, path.read_bytes())["model"]["weights_sha256"])
        except (UnreadableError, TypeError, KeyError) as error:
            raise UserError(
                f"{path}: is not a result as `assay submit` writes it; remove it, or choose another --name"
            ) from error
        if found != weights:
            raise UserError(
                f"{target}: holds results of other weights ({found[:12]}…, this run's are {weights[:12]}…); "
                "give this model a name of its own with --name"
            )
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in sorted(target.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def _job_files(run: Path, job: StoredJob) -> Iterator[tuple[str, bytes]]:
    # Only what cannot be computed: outcomes and pictures follow from the records, and are made where they are shown.
    records = [_with_scored(record, job.task.scored_files) for record in job.records()]
    result = job.result(records)
    _refuse_unfinished(run, result)
    task = result.task
    yield f"results/{task}.json", canonical_result(result).to_json().encode()
    provenance = run / "provenance" / path_name(result.model.name) / f"{path_name(task)}.json"
    if provenance.is_file():
        yield f"provenance/{task}.json", provenance.read_bytes()
    if result.status is Status.NOT_APPLICABLE:
        return
    yield f"records/{task}.jsonl.gz", pack_records(records)
    for record in records:
        yield from ((place_of(task, name), content) for name, content in record.files.items())


def _with_scored(record: Record, patterns: Sequence[str]) -> Record:
    return replace(
        record, files={name: record.files[name] for name in record.files if is_scored(name, patterns)}
    )


def _refuse_unfinished(run: Path, result: ResultDocument) -> None:
    if result.status is Status.PARTIAL or result.coverage.limited:
        done, units = result.coverage.done, result.coverage.units
        reason = result.reason or f"it was limited to {done} of {units} units"
        raise UserError(
            f"{run}: {result.model.name} · {result.task} is not complete ({reason}); "
            "run it without --limit until every unit is done"
        )


def canonical_result(result: ResultDocument) -> ResultDocument:
    """The result with the command that repeats it anywhere: no folder of the machine that it ran on."""
    weights = option_in(result.command, "--weights")
    request = JobRequest(
        result.model.name,
        result.task,
        weights=PurePosixPath(weights).name if weights else None,
        switches=switches_of(result.spec, result.task) if result.task in shipped_specs() else (),
    )
    return result.model_copy(update={"command": repeat_command(request)})


def pack_records(records: Sequence[Record]) -> bytes:
    """The records as gzipped JSON lines; equal records give equal bytes."""
    lines = (canonical_json(_document(record)) for record in records)
    return gzip.compress("".join(line + "\n" for line in lines).encode(), compresslevel=9, mtime=0)


def _document(record: Record) -> dict[str, Any]:
    document = {"unit_id": record.unit_id, "values": dict(record.values), "error": record.error}
    return document | ({"files": sorted(record.files)} if record.files else {})


def manifest_of(files: Mapping[str, bytes]) -> SubmissionManifest:
    """The manifest that lists ``files``."""
    entries = {
        name: FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(files.items())
    }
    return SubmissionManifest(assay=VERSION, files=entries)


def _written(fresh: Path, files: Mapping[str, bytes]) -> Path:
    """The new folder with the files and their manifest."""
    manifest = manifest_of(files).model_dump_json(indent=1, by_alias=True) + "\n"
    for name, data in {**files, MANIFEST: manifest.encode()}.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return fresh


def _move_in(fresh: Path, target: Path, temporary: Path) -> None:
    """Let the folder ``fresh`` be ``target``; what was there goes into ``temporary``."""
    if target.exists():
        shutil.move(target, temporary / "old")
    fresh.rename(target)
