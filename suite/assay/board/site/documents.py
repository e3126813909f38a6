"""Result documents as a page shows them: single figures, and curves as tables with one column per point."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from assay.results.evidence import sign_of, word_of
from assay.results.tables import unit_and_direction
from assay.tasks.families import family

Metric = Mapping[str, Any]


def cell(metric: Metric) -> str:
    """A figure with its interval, in short: ``61.2 % (57.0 to 65.1)``."""
    value, low, high = metric["value"], metric["ci_low"], metric["ci_high"]
    if value is None:
        return "–"
    percent = metric["unit"] == "proportion"
    text = f"{100 * value:.1f} %" if percent else f"{value:.4g}"
    if low is None or high is None:
        return text
    interval = f"{100 * low:.1f} to {100 * high:.1f}" if percent else f"{low:.4g} to {high:.4g}"
    return f"{text} ({interval})"


def heading(metric: Metric) -> str:
    """What people call it; the key stands in where a document was made before titles."""
    return str(metric.get("title") or metric["name"])


def figure(metric: Metric, of: str) -> dict[str, Any]:
    """What a page shows of a figure of the family ``of``: title, key, cell with its sign, N, note, and its evidence."""
    direction = metric.get("direction", "none")
    evidence = family(of).evidence(metric["name"])
    return {
        "title": heading(metric),
        "key": metric["name"],
        "cell": (sign_of(evidence, direction) if metric["value"] is not None else "") + cell(metric),
        "n": metric["n"],
        "note": unit_and_direction(metric["unit"], direction),
        "evidence": word_of(evidence),
    }


def headline(result: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The figure of a result that ranks, by its key, as :func:`figure` tells it; or why there is none."""
    found = next((metric for metric in result["metrics"] if metric["name"] == key), None)
    if found is None:
        why = f"n/a: {result['reason']}" if result["status"] == "not_applicable" else "–"
        return {"title": "", "key": "", "cell": why, "n": "", "note": "", "evidence": ""}
    return figure(found, result["family"])


def singles(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of a result that stand alone, each as :func:`figure` tells it."""
    return [
        figure(metric, result["family"])
        for metric in result["metrics"]
        if metric["x"] is None or metric["series"] is None
    ]


def curve_tables(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """One table for each kind of curve: its points as columns, its series as rows (name, N, cells)."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    counts: dict[str, int] = {}
    for metric in metrics:
        if metric["x"] is not None and metric["series"] is not None:
            rows = tables.setdefault(metric["x_label"] or "x", {})
            rows.setdefault(metric["series"], {})[point(metric)] = cell(metric)
            counts[metric["series"]] = metric["n"]
    return [
        {
            "x_label": label,
            "points": (points := list(dict.fromkeys(name for row in rows.values() for name in row))),
            "rows": [
                (series, counts[series], _table_cells([row.get(name, "–") for name in points]))
                for series, row in rows.items()
            ],
        }
        for label, rows in tables.items()
    ]


def _table_cells(cells: Sequence[str]) -> Markup:
    """Cells of figures; :func:`cell` makes them from numbers alone, so nothing needs escaping."""
    return Markup("<td>" + "</td><td>".join(cells) + "</td>")


def guard_rows(guards: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Each guard's name, outcome, figure, limit, and what was looked at."""
    return [
        (
            guard["name"], "passed" if guard["passed"] else "failed",
            _three_digits(guard["value"]), _three_digits(guard["limit"]), guard["detail"],
        )
        for guard in guards
    ]  # fmt: skip


def _three_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def point(metric: Metric) -> str:
    """A curve point's name: as the spec writes it (``4/255``) where the metric's name says so."""
    written = str(metric["name"]).rpartition("@")[2]
    return written if written != metric["name"] else f"{metric['x']:g}"


def provenance_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where and with what a result was computed, one fact per row; the document may hold anything."""
    environments = document.get("environments")
    machines = list(environments.values()) if isinstance(environments, dict) else []
    rows = []
    for number, machine in enumerate(machines, start=1):
        where = f", machine {number}" if len(machines) > 1 else ""
        facts = machine if isinstance(machine, dict) else {"machine": machine}
        rows += [(_label(name) + where, _words(fact)) for name, fact in facts.items() if fact is not None]
    rest = {name: value for name, value in document.items() if name not in ("job_key", "environments")}
    return rows + [(_label(name), _words(value)) for name, value in rest.items() if value is not None]


def _label(name: str) -> str:
    return name.replace("_", " ")


def _words(value: Any) -> str:
    """A JSON value in a reader's words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{_label(name)} {_words(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value)
