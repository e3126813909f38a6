"""Adversarial images that somebody else found, held against a run: its records then name the best known results.

They lie in ``DIR/jobs/<key>/challenges.json`` and hold for that job alone. The run's own figures stay as they were
measured, and no submission takes the images along: a board has challenges of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.board.submissions import images
from assay.board.submissions.challenges import CHALLENGES, Sent, lowered_by, merged
from assay.board.submissions.documents import Challenge, JobChallenges, TaskChallenge
from assay.board.submissions.reader import MIB, UnreadableError, parse_document, read_bytes
from assay.common.errors import UserError
from assay.common.version import VERSION
from assay.models.foreign import SHIPPED, require_trusted
from assay.results.document import Status
from assay.runner.assemble import StoredJob, stored_jobs
from assay.runner.files import write_atomically
from assay.runner.store import RunFolder
from assay.tasks.base import Record
from assay.tasks.shared.images import DataSource
from assay.tasks.task_spec import shipped_specs
from assay.tasks.witness import FoundImage, ReferenceNetwork, SentRecords


def model_of(directory: Path, allowed: str | None = None) -> str:
    """The name that the suite loads a run's model by; ``allowed`` is what the user typed.

    Raises:
        UserError: nothing was typed, and the run has several models or one that is not of the built-in zoo.
    """
    if allowed is not None:
        return allowed
    names = sorted({entry["model"] for entry in RunFolder.existing(directory).index()})
    if len(names) != 1:
        raise UserError(
            f"{directory}: has {len(names)} models; say with --model which one answers the images"
        )
    require_trusted(names[0], str(directory))
    return names[0]


def challenge_run(directory: Path, roots: Sequence[Path], sent: Sent) -> dict[str, TaskChallenge]:
    """Hold images against every complete job of the run that has their units and network, and store what holds.

    Args:
        directory: the run's folder.
        roots: where data sets are.
        sent: the images.

    Returns:
        By model and task, what all challenges so far would leave of the result.

    Raises:
        UserError: an image is refused (named), or no job has its units.
    """
    said: list[UserError] = []
    taken: list[tuple[StoredJob, TaskChallenge]] = []
    for job in stored_jobs(RunFolder.existing(directory)):
        witness = job.task.witness
        if witness is None:
            continue
        records = job.records()
        result = job.result(records)
        if result.status is not Status.COMPLETE or result.coverage.limited:
            continue
        try:
            found = images.elsewhere(witness.challenge, _sent_records(job, records, roots, sent))
            best = merged(_stored(job), found, sent)
        except UserError as error:
            said.append(error)
            continue
        with job.understood():
            taken.append((job, lowered_by(best, witness, job.spec, records, result)))
    if not taken:
        nothing = f"{directory}: has no complete result that adversarial images could lower"
        raise said[0] if said else UserError(nothing)
    for job, found in taken:
        document = JobChallenges(assay=VERSION, job_key=job.document["key"], best=found.best)
        text = document.model_dump_json(indent=1, by_alias=True) + "\n"
        write_atomically(job.store.path / CHALLENGES, text)
    return {f"{job.document['model']['name']} · {job.document['task']}": found for job, found in taken}


def _sent_records(
    job: StoredJob, records: Sequence[Record], roots: Sequence[Path], sent: Sent
) -> SentRecords[Any]:
    return SentRecords(
        spec=job.spec,
        data=_own_data(job, roots),
        network=ReferenceNetwork(sent.model, sent.weights, job.document["model"]),
        records=records,
        files=sent.images,
    )


def _own_data(job: StoredJob, roots: Sequence[Path]) -> DataSource:
    """The data set of the job, which is the one here by its hash.

    Raises:
        UserError: it is another one, or it is not here.
    """
    task, spec = job.document["task"], job.spec
    # A run that somebody sent may name any file as its task: only a shipped one's folder is looked into.
    folder = shipped_specs()[task].parent if task in shipped_specs() else Path()
    source = DataSource(spec.data, folder, tuple(roots), trust=SHIPPED)
    found, expected = job.task.open_data(spec, source).sha256, job.document["data"]["sha256"]
    if found != expected:
        raise UserError(
            f"{task}: its data set {spec.data} has the SHA-256 {expected}, the one here {found}; give the folder of "
            "the run's own with --data-root (a run on your own pictures takes no challenge)"
        )
    return source


def found_elsewhere(job: StoredJob) -> dict[str, FoundImage]:
    """The nearest image of all challenges for each unit of a run's job that has one."""
    return {unit: FoundImage(each.distance, each.by, each.date) for unit, each in _stored(job).items()}


def _stored(job: StoredJob) -> Mapping[str, Challenge]:
    """What is stored of earlier challenges.

    Raises:
        UserError: it is not what `assay rescore --challenge` writes.
    """
    if not (job.store.path / CHALLENGES).is_file():
        return {}
    try:
        document = parse_document(JobChallenges, CHALLENGES, read_bytes(job.store.path, CHALLENGES, MIB))
    except UnreadableError as error:
        raise UserError(f"{job.store.path}: {error}; delete the file and give the images again") from error
    return document.best if document.job_key == job.document["key"] else {}
