"""Result documents as CSV rows and as terminal tables."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tabulate import tabulate

from assay.common.tables import text_table
from assay.results.document import Metric, ResultDocument, Status

_PLAIN_DENOMINATOR = 5  # up to it a fraction is written as it is: 1/5, 1/3
RESULT_COLUMNS = (
    "model", "task", "metric", "value", "ci_low", "ci_high", "n", "unit", "status",
    "spec_sha256", "data_sha256", "weights_sha256", "title", "direction", "headline",
)  # fmt: skip


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """``rows`` as CSV with a header; None is an empty cell, booleans are true/false, floats round-trip."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _cell(row.get(column)) for column in columns} for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else value


def display_status(result: ResultDocument) -> str:
    """The status a reader sees: a failed guard marks the row wherever it stands."""
    failed = len(result.failed_guards)
    mark = f"guard failed ({', '.join(guard.name for guard in result.failed_guards)})" if failed else ""
    limited = "limited" if result.coverage.limited else ""
    return ", ".join(part for part in (result.status.value, limited, mark) if part)


def result_rows(results: Iterable[ResultDocument]) -> list[dict[str, Any]]:
    """One row per metric in :data:`RESULT_COLUMNS`; a result without metrics keeps one row, so none is hidden."""
    rows = []
    for result in results:
        common = {
            "model": result.model.name,
            "task": result.task,
            "status": display_status(result),
            "spec_sha256": result.spec_sha256,
            "data_sha256": result.data.sha256,
            "weights_sha256": result.model.weights_sha256,
        }
        metrics = [
            metric.model_dump(include={"value", "ci_low", "ci_high", "n", "unit"})
            | {
                "title": metric.heading,
                "direction": metric.direction,
                "headline": "yes" if metric.name == result.headline else "",
            }
            for metric in result.metrics
        ]
        names = [metric.name for metric in result.metrics]
        if not metrics:
            metrics, names = [{"n": result.coverage.done, "unit": ""}], ["(none)"]
        rows += [common | {"metric": name} | values for name, values in zip(names, metrics, strict=True)]
    return rows


def results_csv(results: Iterable[ResultDocument]) -> str:
    """The whole of ``results.csv``."""
    return csv_text(RESULT_COLUMNS, result_rows(results))


_ARROWS = {"up": "↑", "higher": "↑", "down": "↓", "lower": "↓"}


def unit_and_direction(unit: str, direction: str) -> str:
    """Such as ``% ↑``; nothing for what is unknown."""
    return " ".join(filter(None, ("%" if unit == "proportion" else unit, _ARROWS.get(direction, ""))))


def format_value(metric: Metric) -> str:
    """A metric for a reader: percentages for proportions, four significant digits otherwise."""
    if metric.value is None:
        return "–"
    return f"{100 * metric.value:.1f} %" if metric.unit == "proportion" else f"{metric.value:.4g}"


def displayed_difference(metric: Metric, values: Sequence[float]) -> list[str]:
    """Signed differences of a metric in the unit that the metric is shown in; then that unit."""
    if metric.unit == "proportion":
        return [*(f"{100 * value:+.1f}" for value in values), "% points"]
    return [*(f"{value:+.4g}" for value in values), metric.unit]


def terminal_table(results: Sequence[ResultDocument]) -> str:
    """One table for the terminal: one line per curve (its points side by side) and per single headline figure."""
    lines: list[list[str]] = []
    for result in results:
        lines += _result_lines(result)
    return text_table(lines, headers=["model", "task", "measure", "figures", "N", "status"])


def results_text(results: Sequence[ResultDocument], form: str) -> str:
    """All results as text for other programs, without a line's end.

    Args:
        results: in the order of the rows.
        form: ``json`` (a list of the documents), ``csv`` (as ``results.csv``), ``markdown`` or ``latex``.
    """
    if form == "json":
        shown = [result.model_dump(mode="json") for result in results]
        return json.dumps(shown, indent=1, ensure_ascii=False)
    if form == "csv":
        return results_csv(results).rstrip("\n")
    return figures_table(results, {"markdown": "github", "latex": "latex_booktabs"}[form])


def figures_table(results: Sequence[ResultDocument], form: str) -> str:
    """The headline figures for a paper or a page: model, task, figure, value with its interval, N and status.

    Args:
        results: in the order of the rows.
        form: one of tabulate's, such as ``github`` or ``latex_booktabs``.
    """
    rows = []
    for result in results:
        figures = [(each.heading, _figure(each), str(each.n)) for each in result.metrics if each.headline]
        for figure in figures or [("–", "–", "0")]:
            rows.append([result.model.name, result.task, *figure, display_status(result)])
    headers = ["model", "task", "figure", "value", "N", "status"]
    return tabulate(rows, headers=headers, tablefmt=form, disable_numparse=True)


def _figure(metric: Metric) -> str:
    return format_value(metric) + format_interval(metric)


def _result_lines(result: ResultDocument) -> list[list[str]]:
    head = [result.model.name, result.task]
    if result.status is Status.NOT_APPLICABLE:
        return [[*head, "–", result.reason or "", "0", display_status(result)]]
    curves: dict[str, list[Metric]] = {}
    for metric in result.metrics:
        if metric.headline:
            curves.setdefault(metric.series or metric.name, []).append(metric)
    lines = []
    for name, points in curves.items():
        figures = "   ".join(_point(metric) for metric in points)
        lines.append([*head, name, figures, str(points[0].n), display_status(result)])
        head = ["", ""]
    return lines or [[*head, "–", "no figures", "0", display_status(result)]]


def _point(metric: Metric) -> str:
    if metric.x is None:
        return _figure(metric)
    return f"{in_255ths(metric.name.rpartition('@')[2])}: {format_value(metric)}"


def in_255ths(number: str) -> str:
    """A radius as the field writes it: ``3/255``, where the fraction is 1/85; anything else as it is."""
    try:
        radius = Fraction(number)
    except ValueError:
        return number
    steps = radius * 255
    return f"{steps}/255" if steps.denominator == 1 and radius.denominator > _PLAIN_DENOMINATOR else number


def format_interval(metric: Metric) -> str:
    """A metric's interval for a reader, after a blank; nothing where there is none."""
    if metric.ci_low is None or metric.ci_high is None:
        return ""
    if metric.unit == "proportion":
        return f" [{100 * metric.ci_low:.1f}, {100 * metric.ci_high:.1f}]"
    return f" [{metric.ci_low:.4g}, {metric.ci_high:.4g}]"
