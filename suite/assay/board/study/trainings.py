"""Does a training move a measure that it was not made for? Networks of one recipe beside those trained as usual.

Recipes that differ in the method alone share their base title and their training images; the others are compared with
the one called :data:`REGULAR`. Pure; no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

from assay.board.study.association import SIGNIFICANT, corrected
from assay.models.trained import StatedTraining

REGULAR = "Regular training"
"""How every recipe of the method ``regular`` is called."""

LEAST_SEEDS = 3
"""Fewer networks of a training do not tell it from the luck of a seed."""

_REACH = 1.96  # standard errors in half a 95 % interval


@dataclass(frozen=True)
class SweepMember:
    """What a cluster of networks was trained by: the method's title, and what the sweep has in common."""

    method: str
    base: str
    data: str

    @property
    def regular(self) -> SweepMember:
        """The usual training of the same sweep."""
        return SweepMember(REGULAR, self.base, self.data)


@dataclass(frozen=True)
class NetworkFigure:
    """One network's figure on one task, with the interval over the task's ``n`` units where it has one."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Move:
    """How much a training's networks differ from the regular ones on a measure, with the 95 % interval.

    ``p_corrected`` is Holm's, over all moves that were looked at together.
    """

    training: SweepMember
    measure: str
    regular: float
    trained: float
    low: float
    high: float
    p_corrected: float

    @property
    def shown(self) -> bool:
        """Whether the data show it."""
        return self.p_corrected <= SIGNIFICANT


def training_of(cluster: str) -> SweepMember | None:
    """The training that a cluster of :func:`assay.board.study.table.cluster_of` is of; None where it is of none."""
    training = StatedTraining.read(cluster)
    method, _, base = training.title.partition(", ") if training else ("", "", "")
    return SweepMember(method, base, training.data_sha256) if training and base else None


def moves(figures: Mapping[str, Mapping[SweepMember, Sequence[NetworkFigure]]]) -> list[Move]:
    """All moves that can be told: both trainings have :data:`LEAST_SEEDS` networks with the figure.

    The standard error holds the scatter of seeds, and what other units would change (from the figures' own intervals;
    that both trainings meet the same units only makes it smaller). Degrees of freedom are Satterthwaite's (1946).

    Args:
        figures: by measure, then by training.
    """
    found = []
    for measure, by_training in figures.items():
        for training, own in by_training.items():
            usual = by_training.get(training.regular, ())
            if training.method != REGULAR and min(len(own), len(usual)) >= LEAST_SEEDS:
                found.append((training, measure, usual, own, _difference(usual, own)))
    p_values = corrected([p_value for *_, (_, _, p_value) in found])
    return [
        Move(training, measure, _mean(usual), _mean(own), low, high, p_value)
        for (training, measure, usual, own, (low, high, _)), p_value in zip(found, p_values, strict=True)
    ]


def _difference(usual: Sequence[NetworkFigure], own: Sequence[NetworkFigure]) -> tuple[float, float, float]:
    """Interval of the difference of two means, and its p-value."""
    from scipy import stats

    parts = [part for figures in (usual, own) for part in _variances(figures)]
    total = sum(size for size, _ in parts)
    gap = _mean(own) - _mean(usual)
    if total == 0:
        return gap, gap, float(gap == 0)
    freedom = total**2 / sum(size**2 / own_freedom for size, own_freedom in parts)
    error = sqrt(total)
    half = float(stats.t.ppf(0.975, freedom)) * error
    return gap - half, gap + half, float(2 * stats.t.sf(abs(gap) / error, freedom))


def _variances(figures: Sequence[NetworkFigure]) -> Iterable[tuple[float, int]]:
    """The parts of a mean's variance from seeds and from units, each with its degrees of freedom."""
    yield variance(figure.value for figure in figures) / len(figures), len(figures) - 1
    known = [figure for figure in figures if figure.low is not None and figure.high is not None]
    if known:
        halves = [((figure.high or 0.0) - (figure.low or 0.0)) / 2 for figure in known]
        yield fmean((half / _REACH) ** 2 for half in halves), max(1, min(figure.n for figure in known) - 1)


def _mean(figures: Sequence[NetworkFigure]) -> float:
    return fmean(figure.value for figure in figures)
