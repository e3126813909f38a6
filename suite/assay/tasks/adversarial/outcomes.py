"""The records of a run as columns: what each attack did to every image at each radius. Without torch."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from operator import itemgetter
from typing import Any

from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec
from assay.tasks.base import Record

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
        for attack in spec.attacks:
            found = [record.values["attacks"][attack.series] for record in records]
            for eps in spec.eps:
                name = str(eps)
                column = self._columns[attack.series, eps] = [outcomes[name] for outcomes in found]
                self._correct[attack.series, eps] = [row["correct"] for row in column]

    def of(self, attack: AttackSpec, eps: Fraction) -> Column:
        """What the attack did at the radius."""
        return self._columns[attack.series, eps]

    def correct(self, attack: AttackSpec, eps: Fraction) -> Sequence[bool]:
        """Which images stood the attack at the radius."""
        return self._correct[attack.series, eps]

    def at(self, eps: Fraction) -> Iterator[tuple[AttackSpec, Column]]:
        """Each attack's column at one radius."""
        for attack in self._spec.attacks:
            yield attack, self.of(attack, eps)

    def count(self, field: str) -> int:
        """Of how many outcomes a field is true."""
        return sum(sum(map(itemgetter(field), column)) for column in self._columns.values())

    def columns(self) -> Iterator[tuple[AttackSpec, Fraction, Column]]:
        """All columns, by attack and then by radius, smallest first."""
        for attack in self._spec.attacks:
            for eps in self._spec.radii:
                yield attack, eps, self.of(attack, eps)
