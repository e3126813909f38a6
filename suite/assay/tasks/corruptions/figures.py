"""The heat map of corruptions and severities, the curves over severity, and the sheets."""

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from assay.tasks.base import Figure, Record
from assay.tasks.corruptions.names import sheet_name
from assay.tasks.corruptions.outcomes import CorruptionOutcomes
from assay.tasks.corruptions.spec import CorruptionsSpec

_MEAN_COLOUR, _OTHERS_COLOUR = "#1f4e8c", "rgba(120,120,120,0.45)"


def figures(spec: CorruptionsSpec, records: Sequence[Record]) -> list[Figure]:
    """All of them; none where the data are themselves the shift."""
    if not records or spec.pictures == "plain":
        return []
    outcomes = CorruptionOutcomes.of(spec, records)
    return [_heat_map(spec, outcomes), _curves(spec, outcomes), *_sheets(spec, records)]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _heat_map(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Figure:
    """One row per corruption, one column per severity, and the mean of both."""
    cells = outcomes.cells
    table = np.hstack([cells, cells.mean(1, keepdims=True)])
    table = np.vstack([table, table.mean(0, keepdims=True)])
    rows = [*map(_words, spec.corruptions), "mean"]
    columns = [*map(str, spec.severities), "mean"]
    chart = go.Figure(
        go.Heatmap(
            z=table.tolist(), x=columns, y=rows, zmin=0, zmax=1, colorscale="Viridis", xgap=1, ygap=1,
            texttemplate="%{z:.0%}", colorbar={"tickformat": ".0%", "title": "accuracy"},
            hovertemplate="%{y}, severity %{x}: %{z:.1%}<extra></extra>",
        )
    )  # fmt: skip
    chart.update_layout(
        xaxis={"title": {"text": "severity", "standoff": 4}, "type": "category", "side": "top"},
        yaxis={"autorange": "reversed", "type": "category", "automargin": True, "dtick": 1},
        font={"size": 11},
        template="plotly_white",
        margin={"t": 50, "b": 10},
    )
    place = int(outcomes.by_corruption.argmin())
    clean = "" if outcomes.clean is None else f" Clean pictures: {outcomes.clean.mean():.1%}."
    caption = (
        f"Share of {len(outcomes.correct)} images that are classified as labelled, one row per corruption and one "
        f"column per severity.{clean} Mean {cells.mean():.1%}; worst: {_words(spec.corruptions[place])}, "
        f"{outcomes.by_corruption[place]:.1%}."
    )
    return Figure("heat-map", "Accuracy by corruption and severity", caption, "plotly", str(chart.to_json()))


def _curves(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Figure:
    """The mean over corruptions, and each corruption's own figure."""
    chart = go.Figure()
    known = outcomes.clean is not None
    severities = [*([0] if known else []), *spec.severities]
    start = [] if outcomes.clean is None else [float(outcomes.clean.mean())]
    for name, row in zip(spec.corruptions, outcomes.cells, strict=True):
        chart.add_trace(
            go.Scatter(
                x=severities, y=[*start, *row.tolist()], name=_words(name), mode="lines", showlegend=False,
                line={"width": 1, "color": _OTHERS_COLOUR},
                hovertemplate=f"{_words(name)}: %{{y:.1%}}<extra></extra>",
            )
        )  # fmt: skip
    mean = [*start, *outcomes.cells.mean(0).tolist()]
    chart.add_trace(
        go.Scatter(
            x=severities, y=mean, name="mean over corruptions", mode="lines+markers",
            line={"width": 3, "color": _MEAN_COLOUR}, hovertemplate="mean: %{y:.1%}<extra></extra>",
        )
    )  # fmt: skip
    chart.update_layout(
        xaxis={"title": "severity (0: clean)" if known else "severity", "dtick": 1},
        yaxis={"title": "accuracy", "range": [-0.02, 1.02], "tickformat": ".0%"},
        template="plotly_white",
        margin={"t": 30},
        showlegend=True,
    )
    caption = f"Accuracy of {len(outcomes.correct)} images over severity: the mean over corruptions, and each in grey."
    return Figure("severity", "Accuracy over severity", caption, "plotly", str(chart.to_json()))


def _sheets(spec: CorruptionsSpec, records: Sequence[Record]) -> Iterator[Figure]:
    drawn = [record for record in records if sheet_name(record.unit_id) in record.files]
    severity = spec.severities[len(spec.severities) // 2] if spec.severities else 0
    for number, record in enumerate(drawn):
        answers = record.values["answers"]
        right = sum(
            one[spec.severities.index(severity)] == record.values["label"] for one in answers.values()
        )
        caption = (
            f"Image {record.unit_id} under every corruption at severity {severity}, and the answer below each (green: "
            f"right). {right} of {len(answers)} are right."
        )
        picture = record.files[sheet_name(record.unit_id)]
        yield Figure(f"sheet-{number}", "One image under all corruptions", caption, "png", picture)
