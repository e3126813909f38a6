"""Re-scoring: the network's answers on the pictures that a submission's authors sent, and a spot check by an attack.

Only the pictures of the sent run are used; the claims about them come from the checked submission. Each step runs in a
process of its own: this one loads no network, the first one knows of no attack.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assay.board.submissions.check import read_records
from assay.board.submissions.documents import SpotCheck, TaskFinding
from assay.board.submissions.folder import SubmissionFiles
from assay.board.submissions.problems import printable
from assay.board.submissions.results import CheckedResult
from assay.common.children import ChildLostError, made_by_children
from assay.common.errors import UserError
from assay.results.document import ResultDocument, Status
from assay.runner.assemble import StoredJob, stored_jobs
from assay.runner.store import RunFolder
from assay.tasks.families import family
from assay.tasks.shared.images import DataSource
from assay.tasks.witness import ReferenceNetwork, SentRecords, SpotFinding, Witness

SHOWN = 20  # differences that a finding lists of one result


@dataclass(frozen=True)
class SavedImages:
    """A run that saved its adversarial images, got from a submission's authors, and what the maintainer typed of it.

    Attributes:
        run: the folder that was sent.
        model: the network that answers; vetted by :func:`assay.board.submissions.tiers.model_of`.
        weights: its checkpoint, where it is not the published one.
        salt: decides, with the submission's hash, which images are spot-checked; drawn at random where it is None.
    """

    run: Path
    model: str
    weights: Path | None = None
    salt: str | None = None


def rescored_images(
    files: SubmissionFiles, results: Sequence[CheckedResult], images: SavedImages, roots: Sequence[Path]
) -> dict[str, TaskFinding]:
    """What the pictures of a run show about a submission's results, for each task with pictures.

    Raises:
        UserError: the run holds no job of it, the data are not here, or the network is another one.
    """
    jobs = _jobs(images.run)
    found = {
        checked.result.task: _look(files, checked, images, jobs[checked.result.job_key], roots)
        for checked in results
        if _witness(checked) and checked.result.job_key in jobs
    }
    if not found:
        raise UserError(
            f"{images.run}: saved no images of a job of {files.folder}; it has to be the run that was submitted, "
            "and one that saved its images"
        )
    return found


def _jobs(run: Path) -> Mapping[str, StoredJob]:
    return {job.document["key"]: job for job in stored_jobs(RunFolder.existing(run))}


def _witness(checked: CheckedResult) -> Witness[Any] | None:
    """What can look at the files of the result's job; None where it saved none."""
    witness = family(checked.spec.spec.family).witness
    saved = (
        witness is not None and checked.result.status is Status.COMPLETE and witness.saved(checked.spec.spec)
    )
    return witness if saved else None


def _look(
    files: SubmissionFiles,
    checked: CheckedResult,
    images: SavedImages,
    job: StoredJob,
    roots: Sequence[Path],
) -> TaskFinding:
    loaded, result = checked.spec, checked.result
    witness = _witness(checked)
    assert witness is not None
    sent = SentRecords(
        spec=loaded.spec,
        data=DataSource(loaded.spec.data, loaded.folder, tuple(roots)),
        network=ReferenceNetwork(images.model, images.weights, result.model.model_dump(mode="json")),
        records=read_records(files, result.task, loaded.spec),
        files=job.store.path / "files",
    )
    salt = images.salt or secrets.token_hex(8)
    ranked = loaded.spec.headline_key or checked.admitted.rank_by  # as the board ranks, see AdmittedSpec
    looked = elsewhere(witness.look, sent)
    spot = elsewhere(
        partial(witness.spot_check, rank_by=ranked, seed=seed_of(files.manifest_sha256, salt)),
        sent,
    )
    differences = [*_other_job(result, job, images.run), *looked.differences]
    if spot is not None and spot.contradicts:
        differences += _contradictions(spot)
    return TaskFinding(
        differences=tuple(printable(text) for text in differences[:SHOWN]),
        figures_compared=0,
        units_compared=0,
        images_compared=looked.files,
        spot_check=spot and SpotCheck(salt=salt, eps=spot.where, images=spot.units, broken=len(spot.broken)),
    )


def _contradictions(spot: SpotFinding) -> Iterator[str]:
    of = f"of {spot.units} images that are said to stand at {spot.where}"
    for units, what in ((spot.broken, "fall to a short attack"), (spot.blind, "hide their gradient from it")):
        if units:
            yield f"{len(units)} {of} {what}: {', '.join(units[:3])}"


def seed_of(manifest_sha256: str, salt: str) -> str:
    """What decides the sample: the submission, and a salt that its authors could not know when they made it.

    By the hash alone they could try submissions until the sample is kind to them.
    """
    return hashlib.sha256(f"{manifest_sha256}\0{salt}".encode()).hexdigest()


def _other_job(result: ResultDocument, job: StoredJob, run: Path) -> Iterator[str]:
    """Where the run that was sent differs from the submission: then it is another run."""
    stated = result.model_dump(mode="json")
    for field in ("task", "spec", "model", "data"):
        if job.document.get(field) != stated[field]:
            yield f"the job of {run} has another `{field}` than the submission"


def elsewhere(look: Callable[[SentRecords[Any]], Any], sent: SentRecords[Any]) -> Any:
    """What ``look`` finds, in a process of its own.

    Raises:
        UserError: it could not look (other weights, no data), or the process died.
    """
    try:
        ((_, found),) = made_by_children(look, [sent], 1)
    except ChildLostError as error:
        raise UserError(f"the sent pictures could not be looked at, for {error}") from error
    return found
