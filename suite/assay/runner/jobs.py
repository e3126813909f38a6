"""A job: one model on one task. Its key covers exactly what changes the answer."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.canonical import canonical_sha256
from assay.errors import UserError
from assay.tasks.base import DataSource, Task, Unit
from assay.tasks.families import LoadedSpec, family, load_spec

if TYPE_CHECKING:
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


@dataclass(frozen=True)
class JobRequest:
    """What a user asks for, one model and one task; plain values, so that it can travel to another process.

    ``device``, ``batch_size`` and ``data_roots`` do not change the answer and are not in the job's key.
    """

    model: str
    task: str
    weights: str | None = None
    limit: int | None = None
    device: str = "cpu"
    batch_size: int = 32
    data_roots: tuple[str, ...] = ()


# Which field of a request changes the answer; a test fails for a field that is missing here.
REQUEST_SIDES: Mapping[str, str] = {
    "model": "identity",  # through the weights' hash, the architecture and the preprocessing
    "task": "identity",  # through the spec's identity and the data's hash
    "weights": "identity",  # through their hash
    "limit": "identity",
    "device": "runtime",
    "batch_size": "runtime",
    "data_roots": "runtime",
}

PRECISION: Mapping[str, Any] = {"dtype": "float32", "tf32": False}


@dataclass(frozen=True)
class OpenJob:
    """A job with its model and data in memory, ready to run."""

    request: JobRequest
    task: Task[Any, Any]
    spec: LoadedSpec
    model: "LoadedModel"
    data: Any
    units: Sequence[Unit]
    all_units: int
    not_applicable: str | None
    identity: Mapping[str, Any]

    @property
    def key(self) -> str:
        """SHA-256 of what changes the answer."""
        return canonical_sha256(self.identity)

    def chunk(self, index: int) -> Sequence[Unit]:
        """The units of one chunk."""
        size = self.task.chunk_units
        return self.units[index * size : (index + 1) * size]

    @property
    def chunk_count(self) -> int:
        """How many chunks the units make."""
        return -(-len(self.units) // self.task.chunk_units)

    @property
    def names(self) -> tuple[str, str]:
        """Model and task, as results are filed."""
        return self.model.info.name, self.spec.id

    def document(self) -> dict[str, Any]:
        """The job as plain JSON: all that a report needs without the model and the data."""
        info = self.model.info
        return {
            "key": self.key,
            "identity": dict(self.identity),
            "task": self.spec.id,
            "spec": self.spec.spec.model_dump(mode="json", by_alias=True),
            "model": model_card(info),
            "data": data_card(self.data),
            "units": self.all_units,
            "planned": len(self.units),
            "chunks": self.chunk_count,
            "limited": self.request.limit is not None and len(self.units) < self.all_units,
            "not_applicable": self.not_applicable,
            "command": repeat_command(self.request),
        }


def open_job(request: JobRequest) -> OpenJob:
    """Load everything that a job needs and compute its key.

    Raises:
        UserError: unknown model or task, missing weights or data, a bad spec, a model that the probe refuses.
    """
    spec = load_spec(request.task)
    task = family(spec.spec.family)
    roots = tuple(Path(root) for root in request.data_roots)
    data = task.open_data(spec.spec, DataSource(spec.spec.data, spec.folder, roots))
    model = _load_model(request.model, request.weights, request.device)
    reason = task.not_applicable(spec.spec, model.info, data)
    units = [] if reason else list(task.units(spec.spec, data))
    _check_units(units, spec.id)
    kept = units if request.limit is None else units[: request.limit]
    return OpenJob(
        request=request,
        task=task,
        spec=spec,
        model=model,
        data=data,
        units=kept,
        all_units=len(units),
        not_applicable=reason,
        identity=_identity(task, spec, data, model.info, len(kept) if len(kept) < len(units) else None),
    )


def repeat_command(request: JobRequest) -> str:
    """The command that repeats a job; how and where it ran is no part of it, so that equal answers are equal bytes."""
    words = ["assay", "run", "--model", request.model, "--task", request.task]
    words += ["--weights", request.weights] if request.weights else []
    words += ["--limit", str(request.limit)] if request.limit is not None else []
    words += [word for root in request.data_roots for word in ("--data-root", root)]
    return shlex.join([*words, "--out", "out"])


@lru_cache(maxsize=2)
def _load_model(name: str, weights: str | None, device: str) -> "LoadedModel":
    from assay.models.check import probe
    from assay.models.zoo import load_model

    loaded = load_model(name, weights=Path(weights) if weights else None, device=device)
    probe(loaded, device)
    return loaded


def forget_models() -> None:
    """Drop the models that are kept between jobs (their files may have changed on disk)."""
    _load_model.cache_clear()


def _check_units(units: Sequence[Unit], task_id: str) -> None:
    seen: set[str] = set()
    for unit in units:
        if unit.id in seen:
            raise UserError(f"{task_id}: the unit {unit.id!r} is there twice; ids in a data set must differ")
        seen.add(unit.id)


def _identity(
    task: Task[Any, Any], spec: LoadedSpec, data: Any, info: "ModelInfo", limit: int | None
) -> dict[str, Any]:
    return {
        "spec": spec.spec.identity(),
        "data_sha256": data.sha256,
        "model": {
            "architecture": info.architecture,
            "weights_sha256": info.weights_sha256,
            "label_space": info.label_space,
            "preprocessing": info.preprocessing.model_dump(mode="json"),
        },
        "precision": dict(PRECISION),
        "record": {"family": task.family, "version": task.record_version, "chunk_units": task.chunk_units},
        "limit": limit,
    }


def model_card(info: "ModelInfo") -> dict[str, Any]:
    """The model's part of a result document."""
    card = info.model_dump(mode="json")
    return {
        name: card[name]
        for name in (
            "name", "source", "licence", "architecture", "weights_sha256",
            "label_space", "num_classes", "input_shape", "preprocessing",
        )
    }  # fmt: skip


def data_card(data: Any) -> dict[str, Any]:
    """The data's part of a result document."""
    manifest = data.manifest
    return {
        "name": manifest.name,
        "title": manifest.title,
        "licence": manifest.licence,
        "sha256": data.sha256,
    }
