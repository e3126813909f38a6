"""What a study found: every pair of measures, corrected for their number, and sentences where these are allowed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from assay.board.headings import in_a_sentence
from assay.board.study.association import LEAST_CLUSTERS, SIGNIFICANT, Association, associate, corrected
from assay.board.study.table import Measure, StudyTable
from assay.common.statistics import LEAST_UNITS


@dataclass(frozen=True)
class MeasurePair:
    """Two measures and how they go together; ``p_corrected`` is Holm's, over all pairs of the study."""

    a: Measure
    b: Measure
    association: Association
    p_corrected: float | None

    @property
    def shown(self) -> bool:
        """Whether the data show that the measures go together: by the corrected test and by the interval."""
        found = self.association
        if found.low is None or found.high is None or self.p_corrected is None:
            return False
        return self.p_corrected <= SIGNIFICANT and (found.low > 0 or found.high < 0)

    @property
    def sentence(self) -> str:
        """What follows, in one sentence."""
        found, (a, b) = self.association, (in_a_sentence(each.title) for each in (self.a, self.b))
        names = f"{a[:1].upper()}{a[1:]} and {b}"
        counted = f"{found.clusters} clusters"
        if found.tau is None:
            if found.clusters < LEAST_CLUSTERS:
                return f"{names}: nothing can be said of {counted}; {LEAST_CLUSTERS} are the least."
            return f"{names}: one of them is the same for all {counted}."
        figure = f"τ {found.tau:.2f}"
        if found.low is None or found.high is None:
            few = f"fewer than {LEAST_UNITS} have no interval, so nothing is shown"
            return f"{names}: {figure} over {counted}; {few}."
        figure += f" [{found.low:.2f}, {found.high:.2f}], corrected p {self.p_corrected:.2g}, {counted}"
        if not self.shown:
            return f"{names}: not shown to go together, {figure}."
        better = "better" if found.tau > 0 else "worse"
        return f"Models that do better at {a} do {better} at {b}: {figure}."


def pairs_of(table: StudyTable, seed: int = 0) -> list[MeasurePair]:
    """All pairs of the table's measures, in the order of its columns. Tau is positive where better goes with better."""
    found = []
    for a, b in combinations(table.measures, 2):
        clusters = list(table.clusters(a.id, b.id).values())
        first, second = ([sign * own[at] for own in clusters] for at, sign in enumerate((a.sign, b.sign)))
        found.append((a, b, associate(first, second, seed)))
    tested = [at for at, (_, _, each) in enumerate(found) if each.p_value is not None]
    raw = [each.p_value for _, _, each in found if each.p_value is not None]
    by_pair = dict(zip(tested, corrected(raw), strict=True))
    return [MeasurePair(a, b, each, by_pair.get(at)) for at, (a, b, each) in enumerate(found)]
