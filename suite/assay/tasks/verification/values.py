"""The form of a verification record's values; a stranger's are checked against it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from assay.common.validation import StrictModel
from assay.tasks.verification.spec import VerificationSpec, property_name

Number = Annotated[float, Field(ge=-1e100, le=1e100)]
Share = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Label = Annotated[int, Field(ge=-1, le=10**15)]


class WitnessValues(StrictModel):
    """A point of the perturbation's range, and the figure there."""

    theta: list[Number]
    value: Number


class FindingValues(StrictModel):
    """What was found of one property."""

    verdict: str
    satisfied: Share
    violated: Share
    partial: Share
    witness: WitnessValues | None
    connected_share: Share | None
    farthest: list[Number] | None


class RelativeValues(StrictModel):
    """The norm of the image's own maps, and the shares of Theta by ai relative to it."""

    norm: Annotated[float, Field(ge=0, le=1e100)]
    satisfied: Share
    violated: Share
    partial: Share


class VerificationValues(StrictModel):
    """One image under one perturbation; ``label`` is -1 where the picture has none."""

    image: str
    label: Label
    predicted: Count
    perturbation: str
    sup_ai: Number | None
    theta_sup: list[Number] | None
    min_margin: Number | None
    theta_min: list[Number] | None
    cells: Count
    covered: Share
    complete: bool
    audit_missed: Count
    seconds: Annotated[float, Field(ge=0, le=1e10)]
    satisfies_cr_not_ar: Share | None
    above_sup: Count = 0
    relative: RelativeValues | None = None  # None: made before version 3
    properties: dict[str, FindingValues]


class SeenValues(StrictModel):
    """What the search found of one property; ``seen`` is the share of its grid that satisfies it."""

    verdict: Literal["violated", "unknown"]
    seen: Share
    witness: WitnessValues | None


class SearchedValues(StrictModel):
    """One image under one perturbation, where the search looked.

    ``sup_ai`` bounds the supremum from below, ``min_margin`` the least margin from above; ``sup_ai_relative`` is None
    for an image whose own maps are zero; ``label`` is -1 where the picture has none.
    """

    verifier: Literal["search"]
    saliency: str
    image: str
    label: Label
    predicted: Count
    perturbation: str
    norm: Annotated[float, Field(ge=0, le=1e100)]
    sup_ai: Number
    sup_ai_relative: Number | None
    theta_sup: list[Number]
    min_margin: Number
    theta_min: list[Number]
    within_quarter: Share
    points: Count
    confirmed: bool
    properties: dict[str, SeenValues]


def lacks(spec: VerificationSpec, values: Mapping[str, Any]) -> str | None:
    """What values of the right types lack: the spec's properties, and what is known once an image is decided."""
    if values["perturbation"] not in spec.names:
        return f"expected a perturbation of {', '.join(spec.names)}"
    searched = "verifier" in values
    if spec.verifier != "auto" and searched != (spec.verifier == "search"):
        return f"expected what the verifier `{spec.verifier}` finds"
    properties = {property_name(delta) for delta in (*spec.deltas, None)}
    if values["properties"].keys() != properties:
        return f"expected the properties {', '.join(sorted(properties))}"
    decided = ("sup_ai", "min_margin", "satisfies_cr_not_ar")
    if not searched and values["complete"] and any(values[name] is None for name in decided):
        return f"expected {', '.join(decided)} of a complete image"
    if not searched and values["sup_ai"] is not None and values["min_margin"] is None:
        return "expected min_margin beside sup_ai"
    return None


def _verifier_of(values: Any) -> str:
    return "search" if isinstance(values, Mapping) and "verifier" in values else "exact"


RECORD_VALUES: TypeAdapter[VerificationValues | SearchedValues] = TypeAdapter(
    Annotated[
        Annotated[VerificationValues, Tag("exact")] | Annotated[SearchedValues, Tag("search")],
        Discriminator(_verifier_of),
    ]
)
