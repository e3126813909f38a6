"""What is measured, and which published figure stands beside it."""

from typing import Annotated, Literal

from pydantic import Field

from assay.common.validation import StrictModel

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""The name of an entry in a paper's file."""


class Cell(StrictModel):
    """One published figure; ``scale`` brings it to the unit of ours (0.01 for per cent beside proportions)."""

    table: str
    row: str
    column: str
    scale: float = Field(default=1.0, gt=0)


class _Measurement(StrictModel):
    text: str
    published: Cell | None = None


class MetricMeasurement(_Measurement):
    """A metric of a task's result, by its name."""

    kind: Literal["metric"]
    model: str
    task: str
    metric: str


class CurveMeasurement(_Measurement):
    """The plain mean over a curve's points with x > 0: ``series`` of a task's result."""

    kind: Literal["curve"]
    model: str
    task: str
    series: str


class TrainingMeasurement(_Measurement):
    """What training a net took: ``seconds``, of the processor where it was the CPU that trained."""

    kind: Literal["training"]
    model: str
    quantity: Literal["seconds"]


class AlignmentMeasurement(_Measurement):
    """Etmann's alignment of a network's gradient with the image, over the first ``images`` of a data set."""

    kind: Literal["alignment"]
    model: str
    data: str
    images: int = Field(ge=2)


class RegionsMeasurement(_Measurement):
    """A figure of one network from the authors' archive of semantic maps, one value per shape.

    ``srvr_published`` is of the published regions, ``srvr_regrown`` of regions grown anew on the published maps (%),
    ``mean_nsm`` the mean of the maps (probability), ``traps`` the number of semantic traps.
    """

    kind: Literal["regions"]
    network: str
    quantity: Literal["srvr_published", "srvr_regrown", "mean_nsm", "traps"]
    method: Literal["all", "naive", "OIR_B", "OIR_W"] = "all"


Measurement = Annotated[
    MetricMeasurement | CurveMeasurement | TrainingMeasurement | AlignmentMeasurement | RegionsMeasurement,
    Field(discriminator="kind"),
]
