"""What the records of a run hold: the values of one record, and all records as columns. Without torch."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from operator import itemgetter
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from assay.attacks.settings import AttackSettings
from assay.common.validation import StrictModel
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record

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
    """For each radius whether the label provably holds; with proofs first, how it was proved there."""

    proof: str
    holds: dict[str, bool]
    by: dict[str, str | None] | None = None


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


def proved(record: Record, eps: Fraction) -> bool:
    """Whether the label provably holds in the whole ball of a radius."""
    proof = record.values["certified"]
    return proof is not None and bool(proof["holds"][str(eps)])


def state(record: Record, eps: Fraction) -> str:
    """``broken``, ``proved`` or ``undecided``: what is known of an image at a radius.

    An image that an attack broke is broken, whatever a proof says.
    """
    name = str(eps)
    stands = all(by_eps[name]["correct"] for by_eps in record.values["attacks"].values())
    if not (stands and record.values["clean_correct"]):
        return "broken"
    return "proved" if proved(record, eps) else "undecided"


Row = Mapping[str, Any]
Column = Sequence[Row]


class Outcomes:
    """A column a series and radius, its rows in the order of the records.

    Made once for all figures and guards: a summary of 10,000 images looks at each outcome a dozen times.
    """

    def __init__(self, spec: AdversarialSpec, records: Sequence[Record]) -> None:
        self.records = records
        self.clean: Sequence[bool] = [bool(record.values["clean_correct"]) for record in records]
        self._spec = spec
        self._columns: dict[tuple[str, Fraction], Column] = {}
        self._correct: dict[tuple[str, Fraction], Sequence[bool]] = {}
        self._stands: dict[Fraction, Sequence[bool]] = {}
        for attack in spec.attacks:
            found = [record.values["attacks"][attack.series] for record in records]
            for eps in spec.eps:
                name = str(eps)
                column = self._columns[attack.series, eps] = [outcomes[name] for outcomes in found]
                self._correct[attack.series, eps] = [row["correct"] for row in column]

    def of(self, attack: AttackSettings, eps: Fraction) -> Column:
        """What the attack did at the radius."""
        return self._columns[attack.series, eps]

    def correct(self, attack: AttackSettings, eps: Fraction) -> Sequence[bool]:
        """Which images stood the attack at the radius."""
        return self._correct[attack.series, eps]

    def stands(self, eps: Fraction) -> Sequence[bool]:
        """Which images stood every attack at the radius."""
        if eps not in self._stands:
            columns = (self.correct(attack, eps) for attack in self._spec.attacks)
            self._stands[eps] = [all(each) for each in zip(*columns, strict=True)]
        return self._stands[eps]

    def at(self, eps: Fraction) -> Iterator[tuple[AttackSettings, Column]]:
        """Each attack's column at one radius."""
        for attack in self._spec.attacks:
            yield attack, self.of(attack, eps)

    def count(self, field: str) -> int:
        """Of how many outcomes a field is true."""
        return sum(sum(map(itemgetter(field), column)) for column in self._columns.values())

    def columns(self) -> Iterator[tuple[AttackSettings, Fraction, Column]]:
        """All columns, by attack and then by radius, smallest first."""
        for attack in self._spec.attacks:
            for eps in self._spec.radii:
                yield attack, eps, self.of(attack, eps)
