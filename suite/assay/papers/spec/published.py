"""Published tables beside a paper's file: ``figures: FILE.csv`` stands for a table's columns and rows."""

import csv
from pathlib import Path
from typing import Any

from assay.common.errors import UserError


def with_figures(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """The document of the paper's file ``path`` with the figures of such tables written out.

    The first line of a CSV file names the columns after the first, each other line is a row: its label, then one figure
    per column, with nothing where the paper has none.

    Raises:
        UserError: a file cannot be read, or a figure is no number.
    """
    tables = document.get("tables")
    if not isinstance(tables, list):
        return document
    return {**document, "tables": [_with_figures(table, path) for table in tables]}


def _with_figures(table: Any, path: Path) -> Any:
    if not isinstance(table, dict) or "figures" not in table:
        return table
    rest = {key: value for key, value in table.items() if key != "figures"}
    return {**rest, **_figures(path.parent / str(table["figures"]))}


def _figures(path: Path) -> dict[str, Any]:
    try:
        (_, *columns), *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        return {
            "columns": columns,
            "rows": {label: [float(cell) if cell else None for cell in cells] for label, *cells in rows},
        }
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check `figures` of the table") from error
    except ValueError as error:
        raise UserError(
            f"{path}: expected a line of columns, then a label and numbers in each line ({error})"
        ) from error
