"""Several models on one task: one chart of them all, and their pictures of one thing side by side."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from assay.results.document import ResultDocument
from assay.tasks.base import Figure
from assay.tasks.families import family
from assay.tasks.shared.curves import CurvePoint, ModelCurves

MOST = 12
"""Models in one chart; more could not be told apart."""

Curves = Mapping[str, Sequence[CurvePoint]]
"""By model."""


class Beside(NamedTuple):
    """Pictures of one thing, each with its model's name; ``name`` and ``title`` come from the first."""

    name: str
    title: str
    pictures: tuple[tuple[str, Figure], ...]


def charts_together(results: Sequence[ResultDocument]) -> list[Figure]:
    """For each task that several models have a curve on, all of these in one chart."""
    found = []
    for task in dict.fromkeys(result.task for result in results):
        own = [result for result in results if result.task == task]
        curves = family(own[0].family).curves
        if curves is None:
            continue
        known = {
            result.model.name: curves.points(metric.model_dump() for metric in result.metrics)
            for result in own
        }
        figure = chart_of_models(curves, known, own[0].title)
        found += [figure] if figure is not None else []
    return found


def chart_of_models(curves: ModelCurves, models: Curves, task: str) -> Figure | None:
    """The chart; None for fewer than two models with a curve.

    Args:
        curves: what they are of.
        models: each model's curve; the first :data:`MOST` are drawn, those with the highest mean first.
        task: its title.
    """
    known = {model: points for model, points in models.items() if points}
    if len(known) < 2:
        return None
    best = sorted(known, key=lambda model: -sum(point.value for point in known[model]) / len(known[model]))
    shown = best[:MOST]
    chart = go.Figure([_curve(model, known[model]) for model in shown])
    chart.update_layout(
        xaxis={"title": curves.x_title, "dtick": 1},
        yaxis={"title": curves.y_title, "range": [-0.02, 1.02], "tickformat": ".0%"},
        template="plotly_white",
        margin={"t": 30},
        showlegend=True,
    )
    return Figure("together", curves.title, _caption(known, shown, task), "plotly", str(chart.to_json()))


def pictures_beside(figures: Mapping[str, Sequence[Figure]]) -> list[Beside]:
    """The pictures that two models or more have of one thing, in the order of the first of them.

    Args:
        figures: each model's, of one task; a picture is of one thing where its name is the same.
    """
    found: dict[str, list[tuple[str, Figure]]] = {}
    for model, own in figures.items():
        for figure in own:
            if figure.kind == "png":
                found.setdefault(figure.name, []).append((model, figure))
    return [Beside(name, held[0][1].title, tuple(held)) for name, held in found.items() if len(held) > 1]


def _curve(model: str, points: Sequence[CurvePoint]) -> go.Scatter:
    above = [0.0 if point.high is None else point.high - point.value for point in points]
    below = [0.0 if point.low is None else point.value - point.low for point in points]
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.value for point in points],
        name=escape(model),
        mode="lines+markers",
        line={"width": 2},
        error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1},
        hovertemplate=f"{escape(model)}, %{{x}}: %{{y:.1%}}<extra></extra>",
    )


def _caption(known: Curves, shown: Sequence[str], task: str) -> str:
    last = max(point.x for model in shown for point in known[model])
    ends = ", ".join(f"{model} {known[model][-1].value:.1%}" for model in shown if known[model][-1].x == last)
    counts = sorted({point.n for model in shown for point in known[model]})
    units = f"n {counts[0]}" if len(counts) == 1 else f"n {counts[0]} to {counts[-1]}"
    left_out = len(known) - len(shown)
    more = f" The {left_out} models below these are left out." if left_out else ""
    return f"{task}: {len(shown)} models, one curve each, with 95 % intervals ({units}). At {last:g}: {ends}.{more}"
