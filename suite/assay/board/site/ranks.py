"""Ranks as far as they can be trusted: models with overlapping intervals share places."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Places(NamedTuple):
    """The best and the worst place that a model's interval allows; equal when no interval overlaps its own."""

    best: int
    worst: int


def tied_places(figures: Sequence[Interval], better: Literal["higher", "lower"] = "higher") -> list[Places]:
    """For each figure the places it may hold, from 1.

    A model stands surely behind another one when its whole interval lies on the worse side of the other's. Its best
    place is one more than the number of models that it stands surely behind; its worst place is the number of
    models minus those that stand surely behind it.
    """
    if better == "lower":
        figures = [Interval(-value, -high, -low) for value, low, high in figures]
    lows = sorted(figure.low for figure in figures)
    highs = sorted(figure.high for figure in figures)
    count = len(figures)
    return [
        Places(1 + count - bisect_right(lows, figure.high), count - bisect_left(highs, figure.low))
        for figure in figures
    ]
