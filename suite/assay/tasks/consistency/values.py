"""What a consistency record's values are; a stranger's are held against it."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel

Count = Annotated[int, Field(ge=0, le=10**12)]


class RealValues(StrictModel):
    """The block's real images, their concepts, and which of them are classified as labelled where they have labels."""

    images: list[Count]
    concepts: list[list[Count]]
    correct: list[bool] | None = None


class AdversarialImageValues(StrictModel):
    """The adversarial images made of them, and who answered their targets."""

    images: list[Count]
    sources: list[Count]
    targets: list[Count]
    outcomes: dict[str, list[bool]]


class KeptValues(StrictModel):
    """How many top images are kept of each kind."""

    real: Count
    adversarial: Count


class ConsistencyValues(StrictModel):
    """One block of images."""

    block: Annotated[int, Field(ge=0, le=99_999)]
    layers: list[str]
    kept: KeptValues
    real: RealValues
    adversarial: AdversarialImageValues
    checks: dict[str, Annotated[float, Field(ge=0, le=1e9)]]


RECORD_VALUES = TypeAdapter(ConsistencyValues)
