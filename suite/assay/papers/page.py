"""The page of a reproduction: one file with the claims, every figure beside the published one, curves and commands."""

import json
import shlex
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from assay import __version__, board
from assay.board.html import environment, inside_a_script, png_address
from assay.papers.claims import Comparison, Measured, Missing, Verdict, student_interval
from assay.papers.execute import Outcome
from assay.papers.plan import ZOO, Reproduction
from assay.papers.tables import figure_rows
from assay.results.document import Metric, ResultDocument
from assay.tasks.base import Figure

_ASSETS = Path(board.__file__).parent / "assets"
PICTURES_A_JOB = 2
_CLASS = {
    Verdict.CONFIRMED: "confirmed",
    Verdict.NOT_CONFIRMED: "open",
    Verdict.OPPOSITE: "opposite",
    Verdict.NOT_TESTABLE: "untested",
}


def reproduction_page(outcome: Outcome) -> str:
    """The page as HTML; it loads nothing, and follows the reader's choice of light or dark."""
    charts = [*_curves(outcome), *_drawn(outcome)]
    plan = outcome.plan
    rows = list(figure_rows(plan, outcome.measured))
    templates = environment(Path(__file__).parent / "templates")
    return templates.get_template("reproduction.html").render(
        version=__version__,
        style=_asset("site.css"),
        theme_script=_asset("theme.js"),
        chart_script=_asset("charts.js") if charts else "",
        plotly=_plotly() if charts else "",
        charts=[chart | {"id": f"chart-{index}"} for index, chart in enumerate(charts)],
        paper=plan.paper,
        scale_name=plan.scale_name,
        scale=plan.scale,
        findings=[
            {
                "finding": finding,
                "class": _CLASS[finding.verdict],
                "comparisons": [_comparison(each, outcome.measured) for each in finding.comparisons],
            }
            for finding in outcome.findings
        ],
        counts=[
            (verdict.value, _CLASS[verdict], sum(finding.verdict is verdict for finding in outcome.findings))
            for verdict in Verdict
        ],
        rows=[_row(row) for row in rows],
        any_published=any(row["published"] is not None for row in rows),
        tables=_tables(outcome),
        pictures=list(_pictures(outcome)),
        commands=commands(plan),
        jobs=[
            {
                "name": f"{model}{'' if seed is ZOO else f', seed {seed}'}",
                "task": task,
                "result": result,
            }
            for (model, seed, task), result in outcome.results.items()
        ],
        nets=[(net, net.record()) for net in plan.nets],
    )


def commands(plan: Reproduction) -> list[str]:
    """What repeats the reproduction."""
    words = ["assay", "reproduce", plan.paper.paper, "--scale", plan.scale_name]
    words += [word for root in plan.data_roots for word in ("--data-root", root)]
    return [shlex.join([*words, "--out", "out"])]


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    code: str = get_plotlyjs()
    return code


def number(value: float | None, unit: str) -> str:
    """A figure for a reader: percentages for proportions, four significant digits otherwise."""
    if value is None:
        return "–"
    if unit == "proportion":
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" + (f" {unit}" if unit in ("%", "s") else "")


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    unit = row.get("unit") or ""
    interval = ""
    if row.get("ci_low") is not None:
        interval = f"{number(row['ci_low'], unit)} to {number(row['ci_high'], unit)}"
    difference = row.get("difference")
    points = unit == "proportion" and difference is not None
    repetitions = row.get("repetitions")
    return {
        **row,
        "published": number(row["published"], unit),
        "ours": number(row.get("ours"), unit),
        "difference": (f"{100 * difference:+.1f} points" if points else f"{difference:+.4g}")
        if difference is not None
        else "",
        "interval": interval,
        "behind": f"{repetitions} {row['repeated_over']}, N = {row['n']}" if repetitions else _n(row),
    }


def _n(row: Mapping[str, Any]) -> str:
    return f"N = {row['n']}" if row.get("n") else ""


def _comparison(each: Comparison, measured: Mapping[str, Measured | Missing]) -> dict[str, str]:
    first = measured.get(each.text.split(" − ")[0])
    unit = first.unit if isinstance(first, Measured) else ""
    return {
        "text": each.text,
        "value": number(each.value, unit),
        "interval": f"{number(each.low, unit)} to {number(each.high, unit)}",
        "limit": each.limit,
        "how": each.how,
        "class": _CLASS[each.verdict],
    }


def _tables(outcome: Outcome) -> list[dict[str, Any]]:
    """The published tables, each cell marked where it has a measurement beside it."""
    beside = {
        (cell.table, cell.row, cell.column)
        for each in outcome.plan.measurements.values()
        if (cell := each.published) is not None
    }
    return [
        {
            "table": table,
            "rows": [
                (label, [(figure, (table.id, label, column) in beside)
                         for column, figure in zip(table.columns, figures, strict=True)])
                for label, figures in table.rows.items()
            ],
        }
        for table in outcome.plan.paper.tables
    ]  # fmt: skip


def _curves(outcome: Outcome) -> Iterator[dict[str, str]]:
    """A chart for each task and series with more than one point: a line a model, with its band."""
    charts: dict[tuple[str, str], dict[str, list[list[Metric]]]] = {}
    titles: dict[str, ResultDocument] = {}
    for (model, _seed, task), result in outcome.results.items():
        titles[task] = result
        for series, points in _series(result).items():
            charts.setdefault((task, series), {}).setdefault(model, []).append(points)
    for (task, series), models in charts.items():
        if len(models) < 2:
            continue
        label = next(iter(models.values()))[0][0].x_label or "x"
        data = [
            trace
            for index, (model, seeds) in enumerate(models.items())
            for trace in _line(model, seeds, index)
        ]
        proportion = next(iter(models.values()))[0][0].unit == "proportion"
        layout = {
            "xaxis": {"title": label},
            "yaxis": {
                "title": series,
                "rangemode": "tozero",
                **({"tickformat": ".0%"} if proportion else {}),
            },
            "legend": {"orientation": "h", "y": -0.25},
            "hovermode": "x unified",
        }
        yield {
            "title": f"{series} on {titles[task].data.title}",
            "caption": f"Task {titles[task].task}. Lines are means; bands are 95 %, Student's t over seeds, or the "
            "interval over units where there is one network.",
            "content": _script_json({"data": data, "layout": layout}),
        }


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


def _line(model: str, seeds: list[list[Metric]], index: int) -> Iterator[dict[str, Any]]:
    """A mean line and its band, over the networks of one model."""
    colour = _COLOURS[index % len(_COLOURS)]
    by_x = [list(points) for points in zip(*seeds, strict=True)]
    xs = [points[0].x for points in by_x]
    bands = [_band(points) for points in by_x]
    yield {
        "x": [*xs, *reversed(xs)],
        "y": [*[high for _, high in bands], *[low for low, _ in reversed(bands)]],
        "fill": "toself", "fillcolor": colour + "33", "line": {"width": 0}, "hoverinfo": "skip",
        "showlegend": False, "legendgroup": model, "type": "scatter", "mode": "lines",
    }  # fmt: skip
    yield {
        "x": xs, "y": [fmean(_values(points)) for points in by_x], "name": model, "legendgroup": model,
        "type": "scatter", "mode": "lines+markers", "line": {"color": colour},
    }  # fmt: skip


def _values(points: list[Metric]) -> list[float]:
    return [point.value for point in points if point.value is not None]


def _band(points: list[Metric]) -> tuple[float, float]:
    values = _values(points)
    if len(values) > 1:
        low, high = student_interval(values)
        return max(low, 0.0), high
    only = points[0]
    low = only.ci_low if only.ci_low is not None else values[0]
    return low, only.ci_high if only.ci_high is not None else values[0]


def _drawn(outcome: Outcome) -> Iterator[dict[str, str]]:
    """The families' own charts, of the first seed, where a job has no picture."""
    for name, figures in _first_seed(outcome):
        if not any(isinstance(figure.content, bytes) for figure in figures):
            for figure in figures[:1]:
                assert isinstance(figure.content, str)
                content = inside_a_script(figure.content)
                yield {"title": f"{name}: {figure.title}", "caption": figure.caption, "content": content}


def _pictures(outcome: Outcome) -> Iterator[dict[str, str]]:
    for name, figures in _first_seed(outcome):
        pictures = [figure for figure in figures if isinstance(figure.content, bytes)]
        for figure in pictures[:PICTURES_A_JOB]:
            assert isinstance(figure.content, bytes)
            content, wide = png_address(figure.content), "wide" if _is_wide(figure.content) else ""
            yield {
                "title": f"{name}: {figure.title}", "caption": figure.caption, "content": content, "class": wide,
            }  # fmt: skip


def _is_wide(png: bytes) -> bool:
    """Whether half of the page's width is too little for the picture: nearly twice as wide as it is high."""
    width, height = struct.unpack(">II", png[16:24])  # of the header that every PNG begins with
    return bool(width > 1.8 * height)


def _first_seed(outcome: Outcome) -> Iterator[tuple[str, tuple[Figure, ...]]]:
    """Name and figures of every model and task, of the first seed alone."""
    seen = set()
    for (model, _seed, task), figures in outcome.figures.items():
        if (model, task) not in seen and figures:
            seen.add((model, task))
            yield f"{model}, {task}", figures


def _script_json(document: Any) -> str:
    """JSON that can stand inside a script element."""
    return inside_a_script(json.dumps(document, allow_nan=False))
