"""A paper's claims, and the few tests that can decide one."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.common.validation import StrictModel
from assay.papers.spec.measurements import Name


class Pair(StrictModel):
    """``left`` against ``right``: does it lie below, above, or merely elsewhere?"""

    type: Literal["less", "greater", "differs"]
    left: str
    right: str


class Ratio(StrictModel):
    """``left`` is at least, or at most, ``factor`` times ``right``."""

    type: Literal["ratio_at_least", "ratio_at_most"]
    left: str
    right: str
    factor: float = Field(gt=0)


class Within(StrictModel):
    """``left`` and ``right`` differ by at most ``tolerance`` in their own unit, or ``left`` is not lower by more."""

    type: Literal["within", "not_worse"]
    left: str
    right: str
    tolerance: float = Field(gt=0)


class Occurs(StrictModel):
    """What a measurement counts exists: in every trained network, or in the untrained one.

    One proof of existence suffices, so no interval is asked for.
    """

    type: Literal["occurs"]
    left: str


class Threshold(StrictModel):
    """A measurement against a constant."""

    type: Literal["above", "below", "at_least", "at_most"]
    left: str
    value: float


class Ordering(StrictModel):
    """Each of ``descending`` lies above the next; all neighbouring pairs must."""

    type: Literal["ordering"]
    descending: tuple[str, ...] = Field(min_length=2)


class AllOf(StrictModel):
    """``type`` for every pair of ``left`` and ``right`` at the same place."""

    type: Literal["all_less", "all_greater"]
    left: tuple[str, ...] = Field(min_length=1)
    right: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _paired(self) -> "AllOf":
        if len(self.left) != len(self.right):
            raise ValueError("expected as many measurements in `left` as in `right`")
        return self


Test = Annotated[Pair | Ratio | Within | Threshold | Occurs | Ordering | AllOf, Field(discriminator="type")]


class Claim(StrictModel):
    """A sentence of the paper and the test that decides it.

    ``given`` is another claim without which this one says nothing (robustness is compared "at equal clean
    accuracy"): where that one does not hold, this one is not testable.
    """

    id: Name
    place: str
    text: str
    test: Test
    given: str | None = None
    note: str = ""


def claim_names(claim: Claim) -> set[str]:
    """The measurements that a claim speaks of."""
    return set(names_in(claim.test))


def names_in(test: Test) -> tuple[str, ...]:
    """The measurements that a test needs."""
    match test:
        case Threshold() | Occurs():
            return (test.left,)
        case Ordering():
            return test.descending
        case AllOf():
            return (*test.left, *test.right)
        case Pair() | Ratio() | Within():
            return (test.left, test.right)
