"""The charts of a reproduction: each task's curves with one line per model, and the families' own."""

import json
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from assay.board.html import inside_a_script
from assay.papers.claims import MeasuredValue
from assay.papers.execute import PaperOutcome
from assay.papers.measure import over_seeds
from assay.results.document import Metric, ResultDocument
from assay.tasks.base import Figure

MANY = 6  # lines whose legend leaves half a page's width too little room


def curves(outcome: PaperOutcome) -> Iterator[dict[str, str]]:
    """A chart for each task and series with more than one point: one line per model, with its band."""
    charts: dict[tuple[str, str], dict[str, list[list[Metric]]]] = {}
    tasks: dict[str, ResultDocument] = {}
    for (model, _seed, task), result in outcome.results.items():
        tasks[task] = result
        for series, points in _series(result).items():
            charts.setdefault((task, series), {}).setdefault(model, []).append(points)
    drawn_already = []
    for (task, series), models in charts.items():
        values = (task, [[_values(points) for points in seeds] for seeds in models.values()])
        if len(models) < 2 or values in drawn_already:  # of one attack, the worst is that attack
            continue
        drawn_already.append(values)
        result, point = tasks[task], next(iter(models.values()))[0][0]
        scale, label = _across(result, point)
        data = [
            trace
            for index, (model, seeds) in enumerate(models.items())
            for trace in _line(model, seeds, scale, index)
        ]
        layout = {
            "xaxis": {"title": {"text": label}},
            "yaxis": {
                "title": {"text": _quantity(point)},
                "rangemode": "tozero",
                **({"tickformat": ".0%"} if point.unit == "proportion" else {}),
            },
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
            "hovermode": "x unified",
        }
        yield {
            "title": f"{series}: {result.title}",
            "class": "wide many" if len(models) > MANY else "",
            "caption": f"{_behind(result, point)}. Lines are means over the networks; bands are their 95 % "
            "intervals by Student's t, no narrower than a network's own over images.",
            "content": _script_json({"data": data, "layout": layout}),
        }


def _across(result: ResultDocument, point: Metric) -> tuple[float, str]:
    """What a curve's x is multiplied by, and its axis title: the unit of the family's own charts of one network."""
    if point.x_label == "eps" and result.spec.get("norm") == "linf":
        return 255.0, "eps (units of 1/255)"
    return 1.0, point.x_label or "x"


def _quantity(point: Metric) -> str:
    """What a point of a curve measures, from its name: ``fgsm:robust_accuracy@1/20`` is a robust accuracy."""
    return point.name.partition("@")[0].rpartition(":")[2].replace("_", " ")


def _behind(result: ResultDocument, point: Metric) -> str:
    """How many units a curve stands on; a data set's title may speak of more than were tried."""
    coverage = result.coverage
    first = f" (the first {coverage.done:,} of {coverage.units:,} units)" if coverage.limited else ""
    return f"Task {result.task}, N = {point.n:,}{first}"


def _series(result: ResultDocument) -> dict[str, list[Metric]]:
    found: dict[str, list[Metric]] = {}
    for metric in result.metrics:
        if metric.series and metric.headline and metric.x is not None and metric.value is not None:
            found.setdefault(metric.series, []).append(metric)
    return {series: sorted(points, key=_x) for series, points in found.items() if len(points) > 1}


def _x(metric: Metric) -> float:
    assert metric.x is not None
    return metric.x


_COLOURS = (
    "#2f81d8",
    "#d2691e",
    "#2a9d4b",
    "#9b59d0",
    "#c0392b",
    "#16a2a2",
    "#b8860b",
    "#7f8c8d",
    "#e05297",
    "#6b8e23",
)
_DASHES = ("solid", "dash", "dot")  # once the colours are used up


def _line(model: str, seeds: list[list[Metric]], scale: float, index: int) -> Iterator[dict[str, Any]]:
    """A mean line and its band, over the networks of one model."""
    colour = _COLOURS[index % len(_COLOURS)]
    dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    by_x = [list(points) for points in zip(*seeds, strict=True)]
    xs = [scale * _x(points[0]) for points in by_x]
    bands = [_band(points) for points in by_x]
    yield {
        "x": [*xs, *reversed(xs)],
        "y": [*[high for _, high in bands], *[low for low, _ in reversed(bands)]],
        "fill": "toself", "fillcolor": colour + "33", "line": {"width": 0}, "hoverinfo": "skip",
        "showlegend": False, "legendgroup": model, "type": "scatter", "mode": "lines",
    }  # fmt: skip
    yield {
        "x": xs, "y": [fmean(_values(points)) for points in by_x], "name": model, "legendgroup": model,
        "type": "scatter", "mode": "lines+markers", "line": {"color": colour, "dash": dash},
    }  # fmt: skip


def _values(points: list[Metric]) -> list[float]:
    return [point.value for point in points if point.value is not None]


def _band(points: list[Metric]) -> tuple[float, float]:
    """The interval of one point of a curve over the networks."""
    found = over_seeds({str(seed): _measured(point) for seed, point in enumerate(points)})
    if found.low is None or found.high is None:
        return found.value, found.value
    return found.low, found.high


def _measured(point: Metric) -> MeasuredValue:
    assert point.value is not None
    return MeasuredValue(point.value, point.ci_low, point.ci_high, point.unit, point.n)


def drawn(outcome: PaperOutcome) -> Iterator[dict[str, str]]:
    """The families' own charts, of the first seed, where a job has no picture."""
    for name, figures in first_seed(outcome):
        if not any(isinstance(figure.content, bytes) for figure in figures):
            for figure in figures[:1]:
                assert isinstance(figure.content, str)
                content = inside_a_script(figure.content)
                title = f"{name}: {figure.title}"
                yield {"title": title, "class": "", "caption": figure.caption, "content": content}


def first_seed(outcome: PaperOutcome) -> Iterator[tuple[str, tuple[Figure, ...]]]:
    """Name and figures of every model and task, of the first seed alone."""
    seen = set()
    for (model, _seed, task), figures in outcome.figures.items():
        if (model, task) not in seen and figures:
            seen.add((model, task))
            yield f"{model}, {task}", figures


def _script_json(document: Any) -> str:
    """JSON that can stand inside a script element."""
    return inside_a_script(json.dumps(document, allow_nan=False))
