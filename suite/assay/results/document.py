"""The result document: what one model scored on one task, as typed, versioned JSON without times or machines.

Equal answers are equal bytes, so nothing here depends on when, where or how fast a job ran; that is kept in the
provenance file beside it. Reading one needs no torch and no other part of Assay.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay.common.errors import UserError

SCHEMA_VERSION: Literal[1] = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Status(StrEnum):
    """How much of a job stands behind its result."""

    COMPLETE = "complete"
    PARTIAL = "partial"  # some units failed or were not run
    NOT_APPLICABLE = "not_applicable"


Direction = Literal["up", "down", "none"]
"""Which way is better; ``none`` where neither is, or nothing is known."""


class Metric(_Document):
    """One figure. ``ci_low`` and ``ci_high`` bound a 95 % interval; ``n`` counts the units behind the figure.

    Metrics that form a curve share a ``series`` and differ in ``x`` (``x_label`` names it, e.g. ``eps``).

    Attributes:
        name: the key, for programs.
        title: what people call it; the key stands in where a document was made before titles.
        direction: which way is better.
        headline: shown wherever there is room for a few figures. The one that ranks is the result's ``headline``.
    """

    name: str
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int
    unit: str
    series: str | None = None
    x: float | None = None
    x_label: str | None = None
    headline: bool = False
    title: Annotated[str, Field(exclude_if=lambda title: not title)] = ""
    direction: Annotated[Direction, Field(exclude_if=lambda direction: direction == "none")] = "none"

    @property
    def heading(self) -> str:
        """The title, or the key of a figure that has none."""
        return self.title or self.name


class Guard(_Document):
    """A check for one way that the numbers could be a lie: ``value`` against ``limit``."""

    name: str
    passed: bool
    value: float | None = None
    limit: float | None = None
    detail: str

    @classmethod
    def none_found(cls, name: str, count: int, detail: str) -> Self:
        """A guard that passes when ``count`` of the things that ``detail`` names is 0."""
        return cls(name=name, passed=count == 0, value=count, limit=0, detail=detail)


class Coverage(_Document):
    """How many units the task has, how many were computed, how many of those failed; ``limited`` by ``--limit``."""

    units: int
    done: int
    errors: int
    limited: bool


def _is_none(value: object) -> bool:
    return value is None


class StatedAccuracyField(_Document):
    """The clean accuracy that a network's maker states, and the images that it was measured on."""

    value: float
    data: str
    n: int | None = None


class ModelCard(_Document):
    """What the model is, as far as it changes or explains the answer.

    Attributes:
        notes: what a reader must know of how the network was read, one sentence each.
    """

    name: str
    source: str
    licence: str
    architecture: str
    weights_sha256: Sha256
    structure_sha256: Annotated[Sha256 | None, Field(exclude_if=_is_none)] = (
        None  # None: made before it was noted
    )
    label_space: str
    num_classes: int
    input_shape: tuple[int, int, int]
    preprocessing: dict[str, Any]
    clean_accuracy: Annotated[StatedAccuracyField | None, Field(exclude_if=_is_none)] = None
    notes: Annotated[tuple[str, ...], Field(exclude_if=lambda notes: not notes)] = ()


_FOLDERS_SHOWN = 10
Counts = Annotated[dict[str, int], Field(default_factory=dict, exclude_if=lambda counts: not counts)]


class DataCard(_Document):
    """What the data are; ``sha256`` covers the files and how they are read.

    Attributes:
        left_out: how many files were left out, by reason.
        converted: how many files were converted when they were read, by kind of conversion.
        classes: how a user's own folders were understood: folder to class index.
    """

    name: str
    title: str
    licence: str
    sha256: Sha256
    left_out: Counts
    converted: Counts
    classes: Counts

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of how the data were read, one sentence each."""
        found = [f"{kind}: {_listed(counts)}" for kind, counts in (
            ("files left out", self.left_out), ("files converted", self.converted),
        ) if counts]  # fmt: skip
        if self.classes:
            folders = [f"{folder} = {index}" for folder, index in self.classes.items()]
            more = ", …" if len(folders) > _FOLDERS_SHOWN else ""
            found.append(f"class folders ({len(folders)}): {', '.join(folders[:_FOLDERS_SHOWN])}{more}")
        return tuple(found)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


class TrainingOverlap(_Document):
    """Which of a job's units are of pictures that its network was trained on.

    Attributes:
        data: the training pictures, in words.
        units: ids; () where none is.
    """

    data: str
    units: tuple[str, ...]


class ResultDocument(_Document):
    """Everything that one model scored on one task; ``headline`` is the key of the one metric that ranks."""

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    family: str
    title: str
    spec: dict[str, Any]
    spec_sha256: Sha256
    model: ModelCard
    data: DataCard
    precision: dict[str, Any]
    record_version: Annotated[int | None, Field(exclude_if=_is_none)] = None  # None: the family's
    job_key: Sha256
    status: Status
    reason: str | None = None
    coverage: Coverage
    metrics: tuple[Metric, ...]
    guards: tuple[Guard, ...]
    command: str
    headline: Annotated[str | None, Field(exclude_if=_is_none)] = None  # None: made before tasks had one
    training: Annotated[TrainingOverlap | None, Field(exclude_if=_is_none)] = (
        None  # None: nothing is known of it
    )

    def __repr__(self) -> str:
        figure = self.headline_metric
        shown = "" if figure is None or figure.value is None else f", {figure.name} = {figure.value:.4g}"
        return f"<{self.task} of {self.model.name}: {self.status.value}{shown}>"

    def __str__(self) -> str:
        return repr(self)

    @property
    def headline_metric(self) -> Metric | None:
        """The figure that ranks; None where the task names none, or nothing was computed."""
        return next((metric for metric in self.metrics if metric.name == self.headline), None)

    @property
    def failed_guards(self) -> tuple[Guard, ...]:
        """The guards that found something; a result that has any is marked wherever it is shown."""
        return tuple(guard for guard in self.guards if not guard.passed)

    def to_json(self) -> str:
        """The document as indented JSON with a final newline; equal documents give equal text."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_result(path: Path) -> ResultDocument:
    """The result document in a file.

    Raises:
        UserError: the file is missing, not JSON, of another schema version, or has wrong fields.
    """
    try:
        return ResultDocument.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the path of a result document or of a run's folder"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; a result document is JSON in UTF-8") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        raise UserError(
            f"{path}: not a result document of schema {SCHEMA_VERSION}: `{key}`: {first['msg']}; "
            "run `assay report` on its folder to write it again"
        ) from error


def read_results(folder: Path) -> list[ResultDocument]:
    """The result documents below ``results`` in a run's or a submission's folder, by the names of their files.

    Raises:
        UserError: as :func:`read_result`.
    """
    return [read_result(path) for path in sorted((folder / "results").rglob("*.json"))]


def result_schema() -> dict[str, Any]:
    """The JSON Schema of :class:`ResultDocument`, as published in ``results/result.schema.json``."""
    return ResultDocument.model_json_schema(mode="serialization")
