"""The page of one run: a single file with the table, the pictures and how to repeat it; opens without a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from itables import options as itables_options
from itables import to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from plotly.offline import get_plotlyjs

from assay.board.html import environment, inside_a_script, png_address, policy, scripts_of
from assay.results.document import ResultDocument
from assay.results.tables import RESULT_COLUMNS, display_status, format_value, result_rows
from assay.tasks.base import Figure

Pictures = Mapping[tuple[str, str], Sequence[Figure]]

# The charts' contents stand in the page as data, which no browser runs.
_DRAW = """
for (const data of document.querySelectorAll("script[type='application/json']")) {
  const chart = JSON.parse(data.textContent);
  Plotly.newPlot(data.previousElementSibling, chart.data, chart.layout, { responsive: true, displaylogo: false });
}
"""
_HASHES = [name for name in RESULT_COLUMNS if name.endswith("sha256")]


def run_page(results: Sequence[ResultDocument], pictures: Pictures) -> str:
    """The page as HTML; ``pictures`` by (model, task)."""
    sections = [_section(result, pictures.get((result.model.name, result.task), ())) for result in results]
    charts = any(figure["kind"] == "plotly" for section in sections for figure in section["figures"])
    templates = environment(Path(__file__).parent / "templates")
    table_code, table = generate_init_offline_itables_html(itables_options.dt_bundle), _table(results)
    plotly = get_plotlyjs() if charts else ""
    return templates.get_template("run.html").render(
        policy=policy([*scripts_of(table_code, 1), *scripts_of(table, 2), plotly, _DRAW], blobs=True),
        table_code=table_code,
        table=table,
        sections=sections,
        plotly=plotly,
        draw=_DRAW,
    )


def _table(results: Sequence[ResultDocument]) -> str:
    """The table of all metrics: sort by a click, search by a word, filter a column, all without a network."""
    frame = pd.DataFrame(result_rows(results), columns=list(RESULT_COLUMNS)).drop(columns=_HASHES)
    for column in ("value", "ci_low", "ci_high"):
        # As text: for numbers the library evaluates a formatter in the page, which the page's policy refuses. Text that
        # is a number is sorted as one all the same.
        numbers = pd.to_numeric(frame[column]).round(4)
        frame[column] = ["" if pd.isna(number) else f"{number:g}" for number in numbers]
    html: str = to_html_datatable(
        frame,
        connected=False,
        table_id="metrics",
        column_filters="footer",
        showIndex=False,
        allow_html=False,
        display_logo_when_loading=False,
        order=[],
        lengthMenu=[15, 50, 200, -1],
    )
    return html


def _section(result: ResultDocument, figures: Sequence[Figure]) -> dict[str, Any]:
    headline = [metric for metric in result.metrics if metric.headline]
    return {
        "result": result,
        "status": display_status(result),
        "failed": bool(result.failed_guards) or result.status.value != "complete",
        "headline": [(metric, format_value(metric)) for metric in headline if metric.x is None],
        "figures": [_figure(figure) for figure in figures],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    held = figure.content
    content = png_address(held) if isinstance(held, bytes) else inside_a_script(held)
    return {"kind": figure.kind, "title": figure.title, "caption": figure.caption, "content": content}
