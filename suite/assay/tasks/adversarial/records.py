"""What the records of a run hold: the values of one record, and all records as columns. Without torch."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from assay.attacks.settings import AttackSettings
from assay.common.validation import StrictModel
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record

Size = Annotated[float, Field(ge=0, le=1e9)]
Class = Annotated[int, Field(ge=0, le=10**9)]


class OutcomeValues(StrictModel):
    """What one attack at one radius did to an image; the last six are there where the spec asks for them."""

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
    forward_passes: Class | None = None
    backward_passes: Class | None = None


class CheckValues(StrictModel):
    """What clean passes said.

    ``dynamic``, whether the network changed with what it was asked, is there where the spec names a protocol. Older
    records lack it.
    """

    repeat_difference: Size
    alone_difference: Size
    probabilities: bool
    in_box: bool
    dynamic: bool | None = None


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


def lacks(spec: AdversarialSpec, values: Mapping[str, Any]) -> str | None:
    """What values of the right types lack: an outcome of each of the spec's attacks at each of its radii."""
    names, ordered = {attack.series for attack in spec.attacks}, [str(eps) for eps in spec.radii]
    radii = set(ordered)
    attacks, smallest, proof = values["attacks"], values["smallest_eps"], values["certified"]
    if attacks.keys() != names or smallest.keys() != names:
        return f"expected outcomes and smallest_eps of {', '.join(sorted(names))}"
    if any(by_eps.keys() != radii for by_eps in attacks.values()) or not radii.issuperset(
        eps for eps in smallest.values() if eps is not None
    ):
        return f"expected the radii {', '.join(map(str, spec.radii))}"
    if proof is not None and not (radii <= proof["holds"].keys()):
        return "expected `certified` to say of each radius whether the label holds"
    if spec.protocol is not None and values.get("classes") is None:
        return "expected `classes`, which a protocol depends on"
    for attack in spec.attacks:
        for field in _asked_of(spec, attack):
            if any(row.get(field) is None for row in attacks[attack.series].values()):
                return f"expected `{field}` in each outcome of {attack.series}"
    for series, by_eps in attacks.items():
        first = next((eps for eps in ordered if not by_eps[eps]["correct"]), None)
        if smallest[series] != first:
            return (
                f"expected smallest_eps of {series} to be {first}, the first radius at which it is not right"
            )
    return None


def _asked_of(spec: AdversarialSpec, attack: AttackSettings) -> Iterator[str]:
    """The fields that outcomes of this attack have beside the common ones."""
    if attack.targeted != "no":
        yield "target_hit"
    if attack.only_foolbox_has:
        yield "relative_l2"
    if spec.save_adversarial:
        yield "correct_8bit"


def proved(record: Record, eps: Fraction) -> bool:
    """Whether the label provably holds in the whole ball of a radius."""
    proof = record.values["certified"]
    return proof is not None and bool(proof["holds"][str(eps)])


def state(record: Record, eps: Fraction) -> str:
    """``broken``, ``proved`` or ``undecided``: what is known of an image at a radius.

    An image that an attack broke is broken, even if a proof denies it.
    """
    name = str(eps)
    stands = all(by_eps[name]["correct"] for by_eps in record.values["attacks"].values())
    if not (stands and record.values["clean_correct"]):
        return "broken"
    return "proved" if proved(record, eps) else "undecided"


Row = Mapping[str, Any]
Column = Sequence[Row]
Place = tuple[str, Fraction]  # a series and a radius


class Fields(NamedTuple):
    """What guards ask of a column, each field in the order of the records."""

    predicted: Sequence[int]
    claimed: Sequence[bool]
    distance: Sequence[float]
    in_box: Sequence[bool]
    zero_gradient: Sequence[bool]
    retried: Sequence[bool]


class Outcomes:
    """A column per series and radius, its values in the order of the records.

    Made once for all figures and guards. The slow part is to find an outcome in memory. A record's outcomes lie side by
    side there, so the loop goes through records one by one, and then makes the columns.
    """

    def __init__(self, spec: AdversarialSpec, records: Sequence[Record]) -> None:
        self.records = records
        self.clean: Sequence[bool] = [bool(record.values["clean_correct"]) for record in records]
        self._spec = spec
        self._correct = {place: column for place, (column,) in self._columns("correct").items()}
        self._stands: dict[Fraction, Sequence[bool]] = {}

    def _columns(self, *fields: str) -> dict[Place, Sequence[Sequence[Any]]]:
        """For each place one column per field."""
        places = [(attack.series, eps) for attack in self._spec.attacks for eps in self._spec.radii]
        names = [str(eps) for eps in self._spec.radii]
        # One flat row per record, in the order of places, then fields; `zip` turns rows into columns.
        rows = (
            [
                outcomes[name][field]
                for attack in self._spec.attacks
                for outcomes in (record.values["attacks"][attack.series],)
                for name in names
                for field in fields
            ]
            for record in self.records
        )
        count = len(fields)
        columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * (count * len(places))
        return {place: columns[at * count : (at + 1) * count] for at, place in enumerate(places)}

    def of(self, attack: AttackSettings, eps: Fraction) -> Column:
        """What the attack did at the radius."""
        name = str(eps)
        return [record.values["attacks"][attack.series][name] for record in self.records]

    def correct(self, attack: AttackSettings, eps: Fraction) -> Sequence[bool]:
        """Which images stood the attack at the radius."""
        return self._correct[attack.series, eps]

    def stands(self, eps: Fraction) -> Sequence[bool]:
        """Which images stood every attack at the radius."""
        if eps not in self._stands:
            columns = (self.correct(attack, eps) for attack in self._spec.attacks)
            self._stands[eps] = [all(each) for each in zip(*columns, strict=True)]
        return self._stands[eps]

    @cached_property
    def fields(self) -> Sequence[tuple[AttackSettings, Fraction, Fields]]:
        """The fields of all columns, by attack and then by radius, smallest first."""
        columns = self._columns(*Fields._fields)
        return [
            (attack, eps, Fields(*columns[attack.series, eps]))
            for attack in self._spec.attacks
            for eps in self._spec.radii
        ]
