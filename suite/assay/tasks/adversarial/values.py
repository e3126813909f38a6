"""What an adversarial record's values are; a stranger's are held against it."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel

Size = Annotated[float, Field(ge=0, le=1e9)]
Class = Annotated[int, Field(ge=0, le=10**9)]


class OutcomeValues(StrictModel):
    """What one attack at one radius did to an image; the last four are there where the spec asks for them."""

    predicted: Class
    correct: bool
    claimed: bool
    distance: Size
    linf: Size
    in_box: bool
    steps: Class
    zero_gradient: bool
    retried: bool
    carried: bool
    target_hit: bool | None = None
    relative_l2: Size | None = None
    nearest: Size | None = None
    correct_8bit: bool | None = None


class CheckValues(StrictModel):
    """What clean passes said."""

    repeat_difference: Size
    alone_difference: Size
    probabilities: bool
    in_box: bool


class ProofValues(StrictModel):
    """For each radius whether the label provably holds."""

    proof: str
    holds: dict[str, bool]


class AdversarialValues(StrictModel):
    """One image; ``classes``, how many the network knows, is there where the spec names a protocol."""

    label: Class
    predicted: Class
    clean_correct: bool
    attacks: dict[str, dict[str, OutcomeValues]]
    smallest_eps: dict[str, str | None]
    checks: CheckValues
    probe: bool | None
    certified: ProofValues | None
    certainty: Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)] | None = None  # None: made before version 4
    classes: Class | None = None


RECORD_VALUES = TypeAdapter(AdversarialValues)
