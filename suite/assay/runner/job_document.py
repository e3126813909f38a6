"""A job as the document that a run stores and a result repeats, and the command that repeats the job."""

import shlex
from typing import TYPE_CHECKING, Any

from assay.data.draw import Draw
from assay.runner.jobs import Job, JobRequest
from assay.runner.precision import Precision
from assay.tasks.families import option_of
from assay.tasks.shared.overrides import OPTION

if TYPE_CHECKING:
    from assay.models.info import ModelInfo


def job_document(job: Job, not_applicable: str | None = None) -> dict[str, Any]:
    """The job as plain JSON: all that a report needs, and nothing that differs between two runs.

    ``not_applicable`` is a reason that only a look at the network itself could give.
    """
    reason = job.not_applicable or not_applicable
    return {
        "key": job.key,
        "identity": job.identity,
        "task": job.question.spec.id,
        "spec": job.question.spec_document,
        "model": model_card(job.info),
        "data": data_card(job.question.data),
        "units": 0 if reason else job.question.all_units,
        "planned": 0 if reason else len(job.units),
        "chunks": 0 if reason else job.chunk_count,
        "limited": job.question.limited,
        "not_applicable": reason,
        "command": repeat_command(job.request),
        **({} if job.version is None else {"record_version": job.version}),
        **({} if job.training is None else {"training": job.training.model_dump(mode="json")}),
    }


def repeat_command(request: JobRequest) -> str:
    """The command that repeats a job. It does not say how or where the job ran, so equal answers are equal bytes."""
    words = ["assay", "run", "--model", request.model, "--task", request.task]
    words += ["--weights", request.weights] if request.weights else []
    words += ["--data", request.data] if request.data else []
    words += ["--name", request.name] if request.name else []
    words += [option_of(switch) for switch in request.switches]
    words += [word for setting in request.settings for word in (OPTION, setting)]
    words += [word for name in request.trusted for word in ("--trust", name)]
    if request.limit is not None:
        words += ["--limit", str(request.limit)]
        words += ["--draw", request.draw.value] if request.draw is not Draw.BALANCED else []
    default, chosen = Precision(), request.precision
    words += ["--dtype", chosen.dtype] if chosen.dtype != default.dtype else []
    words += ["--tf32"] if chosen.tf32 else []
    words += ["--channels-last"] if chosen.channels_last else []
    words += ["--threads", str(chosen.threads)] if chosen.threads != default.threads else []
    words += [word for root in request.data_roots for word in ("--data-root", root)]
    return shlex.join([*words, "--out", "out"])


def model_card(info: "ModelInfo") -> dict[str, Any]:
    """The model's part of a result document."""
    card = info.model_dump(mode="json")
    stated = {name: card[name] for name in ("clean_accuracy", "notes") if card[name]}
    return {
        name: card[name]
        for name in (
            "name", "source", "licence", "architecture", "weights_sha256", "structure_sha256",
            "label_space", "num_classes", "input_shape", "preprocessing",
        )
    } | stated  # fmt: skip


def data_card(data: Any) -> dict[str, Any]:
    """The data's part of a result document."""
    manifest = data.manifest
    return {
        "name": manifest.name,
        "title": manifest.title,
        "licence": manifest.licence,
        "sha256": data.sha256,
        **data.facts.document(),
    }
