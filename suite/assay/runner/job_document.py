"""The fields of a job's document, to check those that others wrote."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from assay.results.document import DataCard, ModelCard, TrainingOverlap

_Count = Annotated[int, Field(ge=0, le=10**9)]


class JobDocument(BaseModel):
    """The fields of a job's document that the program relies on; anybody may have written it."""

    model_config = ConfigDict(strict=True)

    task: str
    identity: "JobIdentity"
    spec: "JobSpec"
    model: ModelCard
    data: DataCard
    units: _Count
    planned: _Count
    chunks: _Count
    limited: bool
    not_applicable: str | None
    command: str
    record_version: _Count | None = None
    training: TrainingOverlap | None = None


class JobIdentity(BaseModel):
    """The part of an identity that a result shows."""

    spec: dict[str, Any]
    precision: dict[str, Any]


class JobSpec(BaseModel):
    """The part of a spec that every family has."""

    family: str
    title: str
