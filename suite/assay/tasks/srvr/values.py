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


class RowValues(ShapeValues):
    """One row of a shape's map."""

    kind: Literal["row"]
    row: Count
    fixed: list[Number]
    scores: list[Annotated[float, Field(ge=0, le=1 + 1e-6)]]
    renders: RendersValues | None
    checks: dict[str, Number]


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
