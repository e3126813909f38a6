"""What an SRVR record's values are; a stranger's are held against it."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel

Number = Annotated[float, Field(ge=-1e100, le=1e100)]
Count = Annotated[int, Field(ge=0, le=10**12)]


class RendersValues(StrictModel):
    """The renders of a row that are kept, and where in the semantic space."""

    file: str
    points: list[list[Number]]


class ShapeValues(StrictModel):
    """What every record says of its shape."""

    shape: str
    class_name: str
    class_index: Count


class TemperatureValues(StrictModel):
    """The network's temperature, and the labelled pictures that it was fitted on."""

    value: Annotated[float, Field(gt=0, le=1e30)] | None
    pictures: Count
    correct: Count


Scores = list[Annotated[float, Field(ge=0, le=1 + 1e-6)]]


class RowValues(ShapeValues):
    """One row of a shape's map; the last three are None in records of before version 2, or as the spec has it."""

    kind: Literal["row"]
    row: Count
    fixed: list[Number]
    scores: Scores
    renders: RendersValues | None
    checks: dict[str, Number]
    recognised: list[bool] | None = None
    calibrated: Scores | None = None
    temperature: TemperatureValues | None = None


class SearchValues(StrictModel):
    """One search for a region."""

    low: list[Number]
    high: list[Number]
    steps: Count
    converged: bool
    diverged: bool


class SearchesValues(ShapeValues):
    """The searches of one method on a shape."""

    kind: Literal["searches"]
    function: str
    method: str
    searches: list[SearchValues]
    traces: str


RECORD_VALUES: TypeAdapter[RowValues | SearchesValues] = TypeAdapter(
    Annotated[RowValues | SearchesValues, Field(discriminator="kind")]
)
