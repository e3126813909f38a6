"""Adversarial images that somebody else found, held against a run: its records then name the best known results.

They lie in ``DIR/jobs/<key>/challenges.json`` and hold for that job alone. The run's own figures stay as they were
measured, and no submission takes the images along: a board has challenges of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.board.submissions import images
from assay.board.submissions.challenges import CHALLENGES, Sent, merged
from assay.board.submissions.documents import Challenge, JobChallenges
from assay.board.submissions.reader import MIB, UnreadableError, parse_document, read_bytes
from assay.common.errors import UserError
from assay.common.version import VERSION
from assay.models.foreign import SHIPPED, require_trusted
from assay.results.document import Metric
from assay.runner.assemble import StoredJob, stored_jobs
from assay.runner.files import write_atomically
from assay.runner.store import RunFolder
from assay.tasks.base import Record
from assay.tasks.families import load_spec
from assay.tasks.shared.images import DataSource
from assay.tasks.witness import FoundImage, ReferenceNetwork, SentRecords, Witness


@dataclass(frozen=True)
class ChallengedJob:
    """What all challenges so far leave of one job.

    Attributes:
        best: by unit, the nearest image of all challenges.
        earlier: the units that it breaks at a smaller radius than every attack of the run did.
        stated: the figures of the run, by their names.
        lowered: those that the images change, as they leave them.
    """

    model: str
    task: str
    best: Mapping[str, Challenge]
    earlier: Sequence[str]
    stated: Mapping[str, float | None]
    lowered: Sequence[Metric]


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


def challenge_run(directory: Path, roots: Sequence[Path], sent: Sent) -> list[ChallengedJob]:
    """Hold images against every complete job of the run that has their units and network, and store what holds.

    Args:
        directory: the run's folder.
        roots: where data sets are.
        sent: the images.

    Raises:
        UserError: an image is refused (named), or no job has its units.
    """
    if not sent.images.exists():
        raise UserError(f"{sent.images}: no such file or folder; give the challenge's images")
    said: list[UserError] = []
    taken: list[tuple[StoredJob, JobChallenges, ChallengedJob]] = []
    for job in stored_jobs(RunFolder.existing(directory)):
        witness = job.task.witness
        records = job.records()
        if witness is None or len(records) < job.document["units"] or any(each.error for each in records):
            continue
        try:
            taken.append(_challenged(job, witness, records, roots, sent))
        except UserError as error:
            said.append(error)
    if not taken:
        raise (
            said[0]
            if said
            else UserError(f"{directory}: has no complete result that adversarial images could lower")
        )
    for job, document, _ in taken:
        write_atomically(
            job.store.path / CHALLENGES, document.model_dump_json(indent=1, by_alias=True) + "\n"
        )
    return [answer for _, _, answer in taken]


def _challenged(
    job: StoredJob, witness: Witness[Any], records: Sequence[Record], roots: Sequence[Path], sent: Sent
) -> tuple[StoredJob, JobChallenges, ChallengedJob]:
    found: Mapping[str, float] = images.elsewhere(
        witness.challenge,
        SentRecords(
            spec=job.spec,
            data=_own_data(job, roots),
            network=ReferenceNetwork(sent.model, sent.weights, job.document["model"]),
            records=records,
            files=sent.images,
        ),
    )
    best = merged(_stored(job), found, sent)
    with job.understood():
        distances = {unit: each.distance for unit, each in best.items()}
        lowered, earlier = witness.lowered(job.spec, records, distances)
        stated = {metric.name: metric.value for metric in job.result(records).metrics}
    answer = ChallengedJob(
        job.document["model"]["name"], job.document["task"], best, earlier, stated, tuple(lowered)
    )
    return job, JobChallenges(assay=VERSION, job_key=job.document["key"], best=best), answer


def _own_data(job: StoredJob, roots: Sequence[Path]) -> DataSource:
    """The data set of the job, which is the one here by its hash.

    Raises:
        UserError: it is another one, or it is not here.
    """
    task, spec = job.document["task"], job.spec
    source = DataSource(spec.data, _folder_of(task), tuple(roots), trust=SHIPPED)
    found, expected = job.task.open_data(spec, source).sha256, job.document["data"]["sha256"]
    if found != expected:
        raise UserError(
            f"{task}: its data set {spec.data} has the SHA-256 {expected}, the one here {found}; give the folder of "
            "the run's own with --data-root (a run on your own pictures takes no challenge)"
        )
    return source


def _folder_of(task: str) -> Path:
    """Where a shipped task's spec lies; the working folder for any other, whose manifest then is a shipped one."""
    try:
        return load_spec(task).folder
    except UserError:
        return Path()


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


def texts_of(challenged: Sequence[ChallengedJob]) -> Iterator[str]:
    """What was found, line by line."""
    for job in challenged:
        name = f"{job.model} · {job.task}"
        yield f"{name}: {len(job.best)} images taken, {len(job.earlier)} break what stood"
        for metric in job.lowered:
            if metric.name in job.stated:
                yield f"lowered: {name}: {metric.name}: {job.stated[metric.name]} to {metric.value}"
