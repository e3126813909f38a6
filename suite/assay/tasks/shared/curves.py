"""Which figures of a family make a curve, so that several models on one task stand in one chart. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class ModelCurves:
    """One curve per model.

    Attributes:
        series: of the metrics on the curve.
        start: the metric that stands at x = 0, where there is one.
        title: of the chart.
        x_title: what x is.
        y_title: what the metrics are; proportions.
    """

    series: str
    start: str | None
    title: str
    x_title: str
    y_title: str

    def points(self, metrics: Iterable[Mapping[str, Any]]) -> "list[CurvePoint]":
        """A model's curve by ascending x, from the metrics of its result document; [] where it has none."""
        found = []
        for metric in metrics:
            x = 0.0 if metric["name"] == self.start else metric["x"]
            on_it = metric["name"] == self.start or metric["series"] == self.series
            if on_it and x is not None and metric["value"] is not None:
                found.append(CurvePoint(x, metric["value"], metric["ci_low"], metric["ci_high"], metric["n"]))
        return sorted(found)


class CurvePoint(NamedTuple):
    """One figure of a curve, with its interval and the units behind it."""

    x: float
    value: float
    low: float | None
    high: float | None
    n: int
