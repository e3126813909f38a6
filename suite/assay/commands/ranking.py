"""The verb that sets the models of runs in order: `assay rank`."""

import difflib
import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.results.document import Metric, ResultDocument

app = typer.Typer()


@app.command(epilog="Example: assay rank out/first --by worst:robust_accuracy@4/255")
def rank(
    directories: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    by: Annotated[
        str | None,
        typer.Option("--by", help="The figure, by its key; each task's own headline when left out."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task (repeat it).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Set the models of runs in order, task by task; models whose intervals overlap share places."""
    from assay.runner.assemble import stored_results

    results = [
        each
        for directory in directories
        for each in stored_results(directory)
        if not task or each.task in task
    ]
    tables = [_table(group, by) for group in _comparable(results)]
    rows = [row for table in tables for row in table]
    if not rows:
        raise _no_such_figure(results, by)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print("\n\n".join(_shown(table) for table in tables if table))


def _comparable(results: "Iterable[ResultDocument]") -> "list[list[ResultDocument]]":
    """The results of one question on the same number of units, as one group; groups in the order they were met."""
    groups: dict[tuple[str, str, str, int], list[ResultDocument]] = {}
    for each in results:
        question = (each.task, each.spec_sha256, each.data.sha256, each.coverage.done)
        groups.setdefault(question, []).append(each)
    return list(groups.values())


def _table(group: "Sequence[ResultDocument]", by: str | None) -> list[dict[str, Any]]:
    """A row for each model of a group that has the figure, the best first."""
    from assay.board.site.ranks import Interval, tied_places
    from assay.results.tables import display_status

    ranked = [(each, metric) for each in group if (metric := _figure(each, by)) is not None]
    if not ranked:
        return []
    lower = ranked[0][1].direction == "down"
    intervals = [Interval(*_bounds(metric)) for _, metric in ranked]
    places = tied_places(intervals, "lower" if lower else "higher")
    rows = [
        {
            "task": result.task,
            "figure": metric.name,
            "title": metric.heading,
            "best_place": place.best,
            "worst_place": place.worst,
            "model": result.model.name,
            "value": metric.value,
            "ci_low": metric.ci_low,
            "ci_high": metric.ci_high,
            "unit": metric.unit,
            "n": metric.n,
            "status": display_status(result),
        }
        for (result, metric), place in zip(ranked, places, strict=True)
    ]
    return sorted(rows, key=lambda row: row["value"], reverse=not lower)


def _bounds(metric: "Metric") -> tuple[float, float, float]:
    value = float(metric.value or 0)
    low, high = metric.ci_low, metric.ci_high
    return value, value if low is None else low, value if high is None else high


def _figure(result: "ResultDocument", by: str | None) -> "Metric | None":
    """The figure called ``by``, or the headline; None where the result has none."""
    from assay.results.card import headline_of

    metric = (
        headline_of(result)
        if by is None
        else next((each for each in result.metrics if _key(each.name) == _key(by)), None)
    )
    return metric if metric is not None and metric.value is not None else None


def _key(name: str) -> str:
    """A figure's key with its radius in lowest terms, however it was written."""
    head, at, radius = name.rpartition("@")
    try:
        return f"{head}{at}{Fraction(radius)}" if at else name
    except ValueError:
        return name


def _no_such_figure(results: "Sequence[ResultDocument]", by: str | None) -> UserError:
    known = sorted({metric.name for each in results for metric in each.metrics})
    if by is None or not known:
        return UserError("there is no figure to rank by: the runs have no such result (`assay status DIR`)")
    near = difflib.get_close_matches(by, known, n=3, cutoff=0.3) or known[:3]
    return UserError(f"--by: no result has a figure {by!r}; did you mean {' or '.join(near)}?")


def _shown(rows: Sequence[dict[str, Any]]) -> str:
    """A table, its question as a line above it."""
    from assay.common.tables import text_table
    from assay.results.document import Metric
    from assay.results.tables import format_interval, format_value

    shown = []
    for row in rows:
        fields = {name: row[name] for name in ("value", "ci_low", "ci_high", "n", "unit")}
        metric = Metric(name=row["figure"], **fields)
        place = str(row["best_place"])
        place += "" if row["worst_place"] == row["best_place"] else f"–{row['worst_place']}"
        figure = f"{format_value(metric)}{format_interval(metric)}"
        shown.append([place, row["model"], figure, row["n"], row["status"]])
    headers = ["place", "model", "figure", "N", "status"]
    table = text_table(shown, headers=headers, disable_numparse=True)
    return f"{rows[0]['task']} by {rows[0]['title']} ({rows[0]['figure']})\n{table}"
