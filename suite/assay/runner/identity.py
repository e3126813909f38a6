"""What a job's key covers: the fields of a model's card that change the answer, and the task's side. Plain JSON."""

from collections.abc import Mapping
from typing import Any

from assay.common.canonical import canonical_sha256
from assay.common.fields import IDENTITY, RUNTIME
from assay.results.document import TrainingOverlap
from assay.tasks.base import Task
from assay.tasks.task_spec import TaskSpec

# Which fields of a card change the answer, and are in a job's key; a test fails for a field that is on no side.
MODEL_SIDES: Mapping[str, str] = {
    "name": RUNTIME,
    "source": RUNTIME,
    "licence": RUNTIME,
    "weights_sha256": IDENTITY,
    "architecture": IDENTITY,
    "label_space": IDENTITY,
    "num_classes": RUNTIME,  # follows from structure and weights
    "input_shape": RUNTIME,  # follows from the preprocessing
    "preprocessing": IDENTITY,
    "piecewise_linear": RUNTIME,  # follows from the structure
    "max_pooling": RUNTIME,  # follows from the structure; through the record's version
    "structure_sha256": IDENTITY,
    "fingerprint": RUNTIME,  # last bits differ between machines: compared with a tolerance whenever a run goes on
    "classes": RUNTIME,  # where folders are matched to them, the outcome is in the data's hash
    "clean_accuracy": IDENTITY,  # a guard compares with it
    "notes": RUNTIME,  # words about what structure and weights decide
    "trained_on": RUNTIME,  # through the units that are of training pictures
}


def question_identity(
    spec: TaskSpec, task: Task[Any, Any], data_sha256: str, limit: int | Mapping[str, Any] | None
) -> dict[str, Any]:
    """The part of a job's identity that all models share; ``limit`` (:attr:`Portion.identity`) is None for all."""
    return {
        "spec": spec.identity(),
        "data_sha256": data_sha256,
        "record": {
            "family": task.family,
            "version": task.record_version,
            "chunk_units": task.chunk_units(spec),
        },
        "limit": limit,
    }


def job_identity(
    question: Mapping[str, Any],
    card: Mapping[str, Any],
    precision: Mapping[str, Any],
    version: int | None = None,
    training: TrainingOverlap | None = None,
) -> dict[str, Any]:
    """What changes a job's answer, as plain JSON; the job's key is its hash (``common.canonical``).

    Args:
        question: from :func:`question_identity`.
        card: the model's, of a live model or of a result document.
        precision: :meth:`Precision.identity`.
        version: of the records, where it is not the family's ``record_version``.
        training: the units of training pictures, which a guard counts; None where nothing is known of them.
    """
    seen = {} if training is None else {"training": canonical_sha256(training.model_dump(mode="json"))}
    record = {**question["record"], **({} if version is None else {"version": version})}
    known = [name for name, side in MODEL_SIDES.items() if side == IDENTITY and card.get(name) is not None]
    model = {
        name: card[name] for name in known
    }  # older documents do not state the structure, and keep their key
    return {**question, "record": record, "model": model, "precision": dict(precision), **seen}
