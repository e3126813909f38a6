"""Challenges: adversarial images that somebody else found lower a row's figures, with who and when.

They lie in ``leaderboard/tiers/<name>/challenges.json``, written by maintainers, and hold for one manifest. What was
sent is data and is never run; it is looked at in a process of its own.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.board.submissions import images
from assay.board.submissions.check import Board, read_records
from assay.board.submissions.documents import (
    Challenge,
    ChallengesDocument,
    Finder,
    LoweredFigure,
    TaskChallenge,
)
from assay.board.submissions.folder import SubmissionFiles
from assay.board.submissions.reader import MIB, UnreadableError, parse_document, read_bytes
from assay.board.submissions.results import CheckedResult
from assay.board.submissions.tiers import checked_task, opened
from assay.common.errors import UserError
from assay.common.validation import validate
from assay.common.version import VERSION
from assay.results.document import ResultDocument, Status
from assay.runner.files import write_atomically
from assay.tasks.base import Record
from assay.tasks.families import family
from assay.tasks.shared.images import DataSource
from assay.tasks.task_spec import TaskSpec
from assay.tasks.witness import ReferenceNetwork, SentRecords, Witness

CHALLENGES = "challenges.json"


@dataclass(frozen=True)
class Sent:
    """Images that somebody sent, and what the maintainer typed of them.

    Attributes:
        images: an npz file, or a folder of PNGs.
        by: who found them.
        date: when, as ``2026-11-27``.
        model: the network that answers; vetted by :func:`assay.board.submissions.tiers.model_of`.
        weights: its checkpoint, where it is not the published one.
    """

    images: Path
    by: str
    date: str
    model: str
    weights: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a finder's name that a table cannot show, and images that are not there."""
        validate(Finder, {"by": self.by}, "challenge")
        if not self.images.exists():
            raise UserError(f"{self.images}: no such file or folder; give the challenge's images")

    @cached_property
    def images_sha256(self) -> str:
        """The file's hash; a folder's is of its PNGs' names and hashes."""
        if self.images.is_file():
            return hashlib.sha256(self.images.read_bytes()).hexdigest()
        lines = (
            f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
            for path in sorted(self.images.glob("*.png"))
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def challenge(
    folder: Path, board: Board, roots: Sequence[Path], sent: Sent, before: Path
) -> ChallengesDocument:
    """Hold images against every result of the submission that has their units, and lower the figures.

    Args:
        folder: the submission.
        board: what it is checked against.
        roots: where data sets are.
        sent: the images.
        before: the document of earlier challenges; it may be missing.

    Raises:
        UserError: the submission does not pass the checks; an image is refused (named); or no result has its units.
    """
    files = opened(folder, board)
    try:
        earlier = read_challenges(before.parent, before.name, files.manifest_sha256)
    except UnreadableError as error:
        raise UserError(f"{before}: {error}; put back what was committed") from error
    tasks: dict[str, TaskChallenge] = dict(earlier.tasks) if earlier else {}
    said: list[UserError] = []
    taken = 0
    for task in files.tasks:
        checked = checked_task(files, task, board)
        witness = family(checked.spec.spec.family).witness
        if witness is None or checked.result.status is not Status.COMPLETE:
            continue
        looked_at = _sent_records(files, checked, sent, roots)
        try:
            found: Mapping[str, float] = images.elsewhere(witness.challenge, looked_at)
        except UserError as error:
            said.append(error)
            continue
        best = merged(tasks[task].best if task in tasks else {}, found, sent)
        tasks[task] = lowered_by(best, witness, checked.spec.spec, looked_at.records, checked.result)
        taken += 1
    if not taken:
        raise said[0] if said else UserError(f"{folder}: has no result that adversarial images could lower")
    return ChallengesDocument(assay=VERSION, manifest_sha256=files.manifest_sha256, tasks=tasks)


def merged(best: Mapping[str, Challenge], found: Mapping[str, float], sent: Sent) -> dict[str, Challenge]:
    """The nearest image of each unit, of those known and those ``found`` now; the earlier one where two tie."""
    nearer = {
        unit: Challenge(by=sent.by, date=sent.date, distance=distance, images_sha256=sent.images_sha256)
        for unit, distance in found.items()
        if unit not in best or distance < best[unit].distance
    }
    return {**best, **nearer}


def _sent_records(
    files: SubmissionFiles, checked: CheckedResult, sent: Sent, roots: Sequence[Path]
) -> SentRecords[Any]:
    loaded = checked.spec
    return SentRecords(
        spec=loaded.spec,
        data=DataSource(loaded.spec.data, loaded.folder, tuple(roots)),
        network=ReferenceNetwork(sent.model, sent.weights, checked.result.model.model_dump(mode="json")),
        records=read_records(files, checked.result.task, loaded.spec),
        files=sent.images,
    )


def lowered_by(
    best: Mapping[str, Challenge],
    witness: Witness[Any],
    spec: TaskSpec,
    records: Sequence[Record],
    result: ResultDocument,
) -> TaskChallenge:
    """What all challenges leave of a result; ``best`` is each unit's nearest image."""
    distances = {unit: each.distance for unit, each in best.items()}
    metrics, earlier = witness.lowered(spec, records, distances)
    stated = {metric.name: metric for metric in result.metrics}
    return TaskChallenge(
        best=dict(best),
        earlier=tuple(earlier),
        figures={
            metric.name: LoweredFigure(
                stated=stated[metric.name].value,
                value=metric.value,
                ci_low=metric.ci_low,
                ci_high=metric.ci_high,
            )
            for metric in metrics
            if metric.name in stated
        },
    )


def texts_of(challenged: Mapping[str, TaskChallenge]) -> Iterator[str]:
    """What was found of results, by the names that people know them by, line by line."""
    for name, found in challenged.items():
        yield f"{name}: {len(found.best)} images taken, {len(found.earlier)} break what stood"
        for metric, figure in found.figures.items():
            yield f"lowered: {name}: {metric}: {figure.stated} to {figure.value}"


def read_challenges(root: Path, name: str, manifest_sha256: str) -> ChallengesDocument | None:
    """The challenges in a file of the folder ``root``, if it is there and of exactly this submission.

    Raises:
        UnreadableError: it is not what `assay rescore --challenge` writes.
    """
    if not (root / name).is_file():
        return None
    document = parse_document(ChallengesDocument, name, read_bytes(root, name, MIB))
    return document if document.manifest_sha256 == manifest_sha256 else None


def place_of(board: Path, folder: Path) -> Path:
    """Where the challenges of a submission lie."""
    return board / "tiers" / folder.resolve().name / CHALLENGES


def write_challenges(path: Path, document: ChallengesDocument) -> None:
    """Store them where the site looks for them."""
    write_atomically(path, document.model_dump_json(indent=1, by_alias=True) + "\n")
