"""The accuracy-eps curves as a Plotly figure, and the sheets of adversarial images."""

from collections.abc import Sequence

import plotly.graph_objects as go

from assay.results.document import Metric
from assay.tasks.adversarial.pictures import sheet_name
from assay.tasks.adversarial.records import state
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import curve_points
from assay.tasks.base import Figure, Record

_STATES = {"proved": "#2a7f62", "undecided": "#b8b8b8", "broken": "#b5473c"}


def figures(spec: AdversarialSpec, records: Sequence[Record]) -> list[Figure]:
    """The curves, then the sheets that were drawn."""
    sheets = [
        _sheet(spec, record, number)
        for number, record in enumerate(
            record for record in records if sheet_name(record.unit_id) in record.files
        )
    ]
    known = [_known(spec, records)] if spec.proofs is not None else []
    return [_curves(spec, records), *known, *sheets]


def _sheet(spec: AdversarialSpec, record: Record, number: int) -> Figure:
    smallest = {series: eps or "none" for series, eps in record.values["smallest_eps"].items()}
    found = ", ".join(f"{series}: {eps}" for series, eps in smallest.items())
    carried = (
        ""
        if spec.curve == "each"
        else " An image that fell at a smaller eps is shown again at the larger ones."
    )
    caption = (
        f"Image {record.unit_id}, label {record.values['label']}, answered {record.values['predicted']}: its "
        "adversarial images over eps, and below each its difference from the clean image, amplified as written."
        f"{carried} Smallest eps at which it is misclassified: {found}."
    )
    return Figure(
        f"sheet-{number}", "Adversarial images", caption, "png", record.files[sheet_name(record.unit_id)]
    )


def _curves(spec: AdversarialSpec, records: Sequence[Record]) -> Figure:
    """One curve per method with its 95 % Wilson intervals, eps in units of 1/255."""
    curves: dict[str, list[Metric]] = {}
    for metric in curve_points(spec, records):
        if metric.series is not None:
            curves.setdefault(metric.series, []).append(metric)
    chart = go.Figure()
    for name, points in curves.items():
        chart.add_trace(_curve(name, sorted(points, key=lambda point: point.x or 0.0), _scale(spec)))
    chart.update_layout(
        xaxis_title=_unit(spec),
        yaxis_title="accuracy (all images)",
        yaxis_range=[-0.02, 1.02],
        yaxis_tickformat=".0%",
        hovermode="x unified",
        template="plotly_white",
        margin={"t": 30},
    )
    lowest = max(curves.get("worst", ()), key=lambda point: point.x or 0.0, default=None)
    worst = f" Worst case over the methods at the largest eps: {lowest.value:.1%}." if lowest else ""
    turn = " In turn: each curve is that of the attacks up to it, together." if spec.in_turn else ""
    caption = f"Accuracy over eps on {len(records)} images, 95 % Wilson intervals.{turn}{worst}"
    return Figure("accuracy-eps", "Accuracy under attack", caption, "plotly", str(chart.to_json()))


def _known(spec: AdversarialSpec, records: Sequence[Record]) -> Figure:
    """At each eps the shares that are proved, undecided and broken, one bar."""
    chart = go.Figure()
    shares = {}
    for name, colour in _STATES.items():
        shares[name] = [
            sum(state(record, eps) == name for record in records) / max(len(records), 1) for eps in spec.radii
        ]
        eps_shown = [f"{_scale(spec) * float(eps):.4g}" for eps in spec.radii]
        chart.add_trace(go.Bar(name=name, x=eps_shown, y=shares[name], marker_color=colour))
    chart.update_layout(
        barmode="stack",
        xaxis_title=_unit(spec),
        xaxis_type="category",
        yaxis_title="share of images",
        yaxis_tickformat=".0%",
        template="plotly_white",
        margin={"t": 30},
    )
    last = ", ".join(f"{name} {values[-1]:.1%}" for name, values in shares.items())
    caption = f"What is known of {len(records)} images at each eps. At the largest: {last}."
    return Figure("proved-or-broken", "Proved, undecided or broken", caption, "plotly", str(chart.to_json()))


def _unit(spec: AdversarialSpec) -> str:
    return "eps (units of 1/255)" if spec.norm == "linf" else f"eps ({spec.norm.upper()}, pixels in [0, 1])"


def _scale(spec: AdversarialSpec) -> float:
    return 255.0 if spec.norm == "linf" else 1.0


def _curve(name: str, points: Sequence[Metric], scale: float) -> go.Scatter:
    values = [point.value or 0.0 for point in points]
    return go.Scatter(
        name=name,
        mode="lines+markers",
        line_dash={"worst": "dash", "certified": "dot"}.get(name, "solid"),
        x=[scale * (point.x or 0.0) for point in points],
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
