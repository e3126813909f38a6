"""The accuracy-eps curves, as a Plotly figure."""

from collections.abc import Sequence

import plotly.graph_objects as go

from assay.results.document import Metric
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import summarise
from assay.tasks.base import Figure, Record


def figures(spec: AdversarialSpec, records: Sequence[Record]) -> list[Figure]:
    """One curve a method with its 95 % Wilson intervals, eps in units of 1/255."""
    curves: dict[str, list[Metric]] = {}
    for metric in summarise(spec, records).metrics:
        if metric.headline and metric.series is not None:
            curves.setdefault(metric.series, []).append(metric)
    chart = go.Figure()
    for name, points in curves.items():
        chart.add_trace(_curve(name, sorted(points, key=lambda point: point.x or 0.0)))
    unit = "eps (units of 1/255)" if spec.norm == "linf" else "eps (L2, pixels in [0, 1])"
    chart.update_layout(
        xaxis_title=unit,
        yaxis_title="accuracy (all images)",
        yaxis_range=[-0.02, 1.02],
        yaxis_tickformat=".0%",
        hovermode="x unified",
        template="plotly_white",
        margin={"t": 30},
    )
    lowest = curves["worst"][-1] if "worst" in curves else None
    worst = f" Worst case over the methods at the largest eps: {lowest.value:.1%}." if lowest else ""
    caption = f"Accuracy over eps on {len(records)} images, 95 % Wilson intervals.{worst}"
    text = str(chart.to_json())
    return [Figure("accuracy-eps", "Accuracy under attack", caption, "plotly", text)]


def _curve(name: str, points: Sequence[Metric]) -> go.Scatter:
    values = [point.value or 0.0 for point in points]
    return go.Scatter(
        name=name,
        mode="lines+markers",
        line_dash="dash" if name == "worst" else "solid",
        x=[255 * (point.x or 0.0) for point in points],
        y=values,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(point.ci_high or 0.0) - value for point, value in zip(points, values, strict=True)],
            "arrayminus": [
                value - (point.ci_low or 0.0) for point, value in zip(points, values, strict=True)
            ],
            "thickness": 1,
        },
    )
