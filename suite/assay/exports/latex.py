r"""LaTeX: the table of ``assay show --latex``, and in comments above it what a table has no room for."""

from collections.abc import Sequence
from pathlib import Path

from assay.exports.figures import ExportedResult, facts_of, figures_of
from assay.results.tables import figures_table

_OWN = ("ci_low", "ci_high", "n", "unit", "direction", "headline")


def write(results: Sequence[ExportedResult], out: Path) -> None:
    r"""Write one file with the headline figures.

    Args:
        results: in the order of the rows.
        out: the ``.tex`` file; a document takes it in by ``\input`` and the package booktabs.
    """
    lines = [
        "% By `assay export`. Needs \\usepackage{booktabs}. A row's status names the guards that failed."
    ]
    for result in results:
        lines.append("%")
        lines += [_comment(f"{name}: {value}") for name, value in facts_of(result).items()]
        for figure in figures_of(result, headlines_only=True):
            own = [f"{name} {value}" for name, value in figure.facts.items() if name in _OWN]
            lines.append(_comment(f"{figure.metric.name}: {figure.value!r}, {', '.join(own)}"))
    table = figures_table([each.document for each in results], "latex_booktabs")
    out.write_text("\n".join([*lines, table]) + "\n", encoding="utf-8")


def _comment(text: str) -> str:
    return "% " + " ".join(text.split())  # one line, or what follows would be set
