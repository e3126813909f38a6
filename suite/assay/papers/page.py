"""The page of a reproduction: one file with the claims, every figure beside the published one, curves and commands."""

import shlex
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay import board
from assay.board.html import environment, png_address, policy
from assay.common.version import VERSION
from assay.papers.claims import Comparison, MeasuredValue, MissingValue, Verdict
from assay.papers.curves import curves, drawn, first_seed
from assay.papers.execute import PaperOutcome
from assay.papers.plan import ZOO, Reproduction
from assay.papers.tables import figure_rows

_ASSETS = Path(board.__file__).parent / "assets"
PICTURES_A_JOB = 2
_CLASS = {
    Verdict.CONFIRMED: "confirmed",
    Verdict.NOT_CONFIRMED: "open",
    Verdict.OPPOSITE: "opposite",
    Verdict.NOT_TESTABLE: "untested",
}


def reproduction_page(outcome: PaperOutcome) -> str:
    """The page as HTML; it loads nothing, and follows the reader's choice of light or dark."""
    charts = [*curves(outcome), *drawn(outcome)]
    plan = outcome.plan
    rows = list(figure_rows(plan, outcome.measured))
    templates = environment(Path(__file__).parent / "templates")
    theme, plotly, draw = _asset("theme.js"), _plotly() if charts else "", _draw() if charts else ""
    return templates.get_template("reproduction.html").render(
        version=VERSION,
        style=_asset("site.css"),
        policy=policy([theme, plotly, draw]),
        theme_script=theme,
        chart_script=draw,
        plotly=plotly,
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
                "name": _network(model, seed),
                "task": task,
                "result": result,
            }
            for (model, seed, task), result in outcome.results.items()
        ],
        guards=_failed_guards(outcome),
        nets=[(net, net.record()) for net in plan.nets],
    )


def commands(plan: Reproduction) -> list[str]:
    """What repeats the reproduction."""
    words = ["assay", "reproduce", plan.paper.paper, "--scale", plan.scale_name]
    words += [word for root in plan.data_roots for word in ("--data-root", root)]
    return [shlex.join([*words, "--out", "out"])]


def _draw() -> str:
    """The script that draws the charts; their contents stand beside their places as data, which no browser runs."""
    draw = (
        "for (const data of document.querySelectorAll(\"script[type='application/json']\")) {\n"
        "  Charts.drawInView(document.getElementById(data.dataset.chart), () => JSON.parse(data.textContent));\n}\n"
    )
    return f"\nconst Page = {{ script: async () => {{}} }};\n{_asset('charts.js')}\n{draw}"


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


def difference(value: float, unit: str) -> str:
    """A difference of two figures for a reader, with its sign; percentages differ by points, not by per cent."""
    if unit == "proportion":
        return f"{100 * value:+.1f} points"
    if unit == "%":
        return f"{value:+.2f} points"
    return f"{value:+.4g}" + (" s" if unit == "s" else "")


def _between(low: str, high: str) -> str:
    """An interval of two figures, their unit said once."""
    unit = high.partition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}"


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    unit = row.get("unit") or ""
    interval = ""
    if row.get("ci_low") is not None:
        interval = _between(number(row["ci_low"], unit), number(row["ci_high"], unit))
    apart = row.get("difference")
    repetitions = row.get("repetitions")
    return {
        **row,
        "published": number(row["published"], unit),
        "ours": number(row.get("ours"), unit),
        "difference": "" if apart is None else difference(apart, unit),
        "interval": interval,
        "behind": f"{repetitions} {row['repeated_over']}, N = {row['n']}" if repetitions else _n(row),
    }


def _n(row: Mapping[str, Any]) -> str:
    return f"N = {row['n']}" if row.get("n") else ""


def _network(model: str, seed: int | None) -> str:
    return model if seed is ZOO else f"{model}, seed {seed}"


def _failed_guards(outcome: PaperOutcome) -> list[dict[str, str]]:
    """What every guard that failed found, and where."""
    return [
        {"guard": guard.name, "name": _network(model, seed), "task": task, "detail": guard.detail}
        for (model, seed, task), result in outcome.results.items()
        for guard in result.failed_guards
    ]


def _comparison(each: Comparison, measured: Mapping[str, MeasuredValue | MissingValue]) -> dict[str, str]:
    """A comparison with its value, interval and limit in one unit."""
    left, minus, _ = each.text.partition(" − ")
    first = measured.get(left)
    unit = first.unit if isinstance(first, MeasuredValue) else ""
    told = difference if minus else number
    return {
        "text": each.text,
        "value": told(each.value, unit),
        "interval": _between(told(each.low, unit), told(each.high, unit)),
        "limit": each.relation
        + (told(each.bound, unit).removeprefix("+") if each.bound else each.bound_text),
        "how": each.how,
        "class": _CLASS[each.verdict],
    }


def _tables(outcome: PaperOutcome) -> list[dict[str, Any]]:
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


def _pictures(outcome: PaperOutcome) -> Iterator[dict[str, str]]:
    for name, figures in first_seed(outcome):
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
