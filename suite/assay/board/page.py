"""The page of one run: a single file with the card, the pictures and how to repeat it; opens without a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from itables import options as itables_options
from itables import to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from plotly.offline import get_plotlyjs

from assay.board.headings import column_headings, family_title
from assay.board.html import environment, inside_a_script, png_address, policy, scripts_of
from assay.board.together import Beside, charts_together, pictures_beside
from assay.results.card import Background, finding_of, headline_of
from assay.results.document import Metric, ResultDocument, Status
from assay.results.evidence import Evidence, sign_of, word_of
from assay.results.tables import format_interval, format_value, result_rows, unit_and_direction
from assay.tasks.base import Figure

Pictures = Mapping[tuple[str, str], Sequence[Figure]]

_TEMPLATES = Path(__file__).parent / "templates"
_SHOWN = (
    "model", "task", "title", "value", "ci_low", "ci_high", "n", "unit", "direction", "headline", "status", "metric",
)  # fmt: skip


def run_page(
    results: Sequence[ResultDocument], pictures: Pictures, background: Background | None = None
) -> str:
    """The page as HTML; ``pictures`` by (model, task)."""
    background = background or Background()
    families = [
        _family(name, [result for result in results if result.family == name], pictures, background)
        for name in dict.fromkeys(result.family for result in results)
    ]
    charts = any(figure.kind == "plotly" for figures in pictures.values() for figure in figures) or any(
        own["together"] for own in families
    )
    table_code, table = generate_init_offline_itables_html(itables_options.dt_bundle), _table(results)
    script = (_TEMPLATES / "run.js").read_text(encoding="utf-8")
    plotly = get_plotlyjs() if charts else ""
    return (
        environment(_TEMPLATES)
        .get_template("run.html")
        .render(
            policy=policy([*scripts_of(table_code, 1), *scripts_of(table, 2), plotly, script], blobs=True),
            card=_card(results, background),
            families=families,
            table_code=table_code,
            table=table,
            plotly=plotly,
            script=script,
        )
    )


def _card(results: Sequence[ResultDocument], background: Background) -> dict[str, Any]:
    """The first screen: one row per model, one column per task; what headlines mean, and which are missing."""
    found = {(result.model.name, result.task): result for result in results}
    models = list(dict.fromkeys(result.model.name for result in results))
    families = {result.task: result.family for result in results}
    headings = column_headings(list(families.items()))
    return {
        "columns": [
            {"family": name, "heading": headings[task], **_measure(task, results, background)}
            for task, name in families.items()
        ],
        "rows": [
            (model, [_cell(found.get((model, task)), background) for task in families]) for model in models
        ],
        "meanings": [
            (family_title(name), text.removeprefix(f"{name}: ")) for name, text in background.meanings
        ],
        "without": [(family_title(name), why) for name, why in background.without.items()],
    }


def _measure(task: str, results: Sequence[ResultDocument], background: Background) -> dict[str, str]:
    """What a task's headline is called and how it is read, from the first result that has one."""
    known = (metric for result in results if result.task == task and (metric := headline_of(result)))
    metric = next(known, None)
    if metric is None:
        return {"measure": "", "note": "", "evidence": ""}
    evidence = "" if task in background.demonstrations else background.evidence.get((task, metric.name), "")
    note = unit_and_direction(metric.unit, metric.direction)
    return {"measure": metric.heading, "note": note, "evidence": word_of(evidence)}


def _cell(result: ResultDocument | None, background: Background) -> dict[str, Any]:
    if result is None:
        return {"figure": "", "details": ["not run"], "marks": ()}
    finding = finding_of(result, background)
    if finding.metric is None:
        return {"figure": "", "details": [finding.note], "marks": finding.marks}
    counted = ", ".join(filter(None, (f"n {finding.metric.n}", finding.standing)))
    details = [format_interval(finding.metric).strip(), counted]
    return {
        "figure": sign_of(finding.evidence, finding.metric.direction) + format_value(finding.metric),
        "details": list(filter(None, details)),
        "marks": finding.marks,
    }


def _family(
    name: str, results: Sequence[ResultDocument], pictures: Pictures, background: Background
) -> dict[str, Any]:
    """A family's part of the page; its first picture stands on the first screen and not here again.

    Pictures of one thing by several models stand side by side, and not among a model's own.
    """
    shown = {
        (result.model.name, result.task): list(pictures.get((result.model.name, result.task), ()))
        for result in results
    }
    beside = {
        task: pictures_beside({model: own for (model, of), own in shown.items() if of == task})
        for task in dict.fromkeys(result.task for result in results)
    }
    shared = {task: {row.name for row in rows} for task, rows in beside.items()}
    # `pop` takes the picture out of its list, so that the sections below do not show it again.
    first = next(((model, own.pop(0)) for (model, _), own in shown.items() if own), None)
    told = [result for result in results if result.task not in background.demonstrations]
    failed = dict.fromkeys(guard.name for result in told for guard in result.failed_guards)
    return {
        "name": name,
        "title": family_title(name),
        "together": [_figure(figure) for figure in charts_together(results)],
        "failed": list(failed),
        "demonstration": not told,
        "beside": [_row_of_pictures(row) for rows in beside.values() for row in rows],
        "pictured": first[0] if first else "",
        "picture": _figure(first[1]) if first else None,
        "sections": [
            {
                "result": result,
                "status": "complete, limited"
                if result.coverage.limited and result.status is Status.COMPLETE
                else result.status.value,
                "figures": [
                    _figure(figure)
                    for figure in shown[result.model.name, result.task]
                    if figure.kind != "png" or figure.name not in shared[result.task]
                ],
                "numbers": [
                    _number(metric, background.evidence.get((result.task, metric.name), ""))
                    for metric in result.metrics
                    if metric.x is None and (metric.headline or metric.name == result.headline)
                ],
            }
            for result in results
        ],
    }


def _number(metric: Metric, evidence: Evidence) -> dict[str, Any]:
    return {
        "heading": metric.heading,
        "note": unit_and_direction(metric.unit, metric.direction),
        "evidence": word_of(evidence),
        "value": sign_of(evidence, metric.direction) + format_value(metric),
        "interval": format_interval(metric).strip(" []"),
        "n": metric.n,
    }


def _row_of_pictures(row: Beside) -> dict[str, Any]:
    return {"title": row.title, "pictures": [(model, _figure(figure)) for model, figure in row.pictures]}


def _table(results: Sequence[ResultDocument]) -> str:
    """The table of all metrics: sort by a click, search by a word, filter a column, all without a network."""
    frame = pd.DataFrame(result_rows(results), columns=list(_SHOWN))
    for column in ("value", "ci_low", "ci_high"):
        # As text: for numbers the library evaluates a formatter in the page, which the page's policy refuses. Text that
        # is a number is still sorted as a number.
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


def _figure(figure: Figure) -> dict[str, Any]:
    held = figure.content
    content = png_address(held) if isinstance(held, bytes) else inside_a_script(held)
    return {"kind": figure.kind, "title": figure.title, "caption": figure.caption, "content": content}
