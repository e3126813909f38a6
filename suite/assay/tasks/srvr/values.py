"""The form of an SRVR record's values; a stranger's are checked against it."""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel
from assay.tasks.srvr.spec import SrvrSpec

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


_CHECKS = (
    "least_coverage", "largest_saturation", "reference_difference", "rerender_difference", "repeat_difference",
)  # fmt: skip


def lacks(spec: SrvrSpec, values: Mapping[str, Any]) -> str | None:
    """What values of the right types lack: a score for each view of the row, or a search from each initial point."""
    if values["kind"] == "searches":
        if spec.function != "network" or values["method"] not in (one.method for one in spec.methods):
            return "expected searches of the spec's function and methods"
        dimensions = {len(found[end]) for found in values["searches"] for end in ("low", "high")}
        if len(values["searches"]) != len(spec.initial) or dimensions != {len(spec.names)}:
            return f"expected {len(spec.initial)} searches over {', '.join(spec.names)}"
        return None
    along, *across = spec.axes
    if values["row"] >= (rows := prod(axis.count for axis in across)):
        return f"expected a row below {rows}"
    columns = [values["scores"], values.get("recognised"), values.get("calibrated")]
    if any(column is not None and len(column) != along.count for column in columns):
        return f"expected {along.count} scores in a row"
    if not values["checks"].keys() >= set(_CHECKS):
        return f"expected the checks {', '.join(_CHECKS)}"
    if values.get("renders") is not None and not values["renders"]["points"]:
        return "expected points of the renders that are kept"
    return None


RECORD_VALUES: TypeAdapter[RowValues | SearchesValues] = TypeAdapter(
    Annotated[RowValues | SearchesValues, Field(discriminator="kind")]
)
