"""A study as text: its page, which is one file, and its two tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay.board.html import environment, png_address, policy
from assay.board.study.findings import MeasurePair
from assay.board.study.table import StudyTable
from assay.common.statistics import LEAST_UNITS
from assay.results.tables import csv_text

_TEMPLATES = Path(__file__).parents[1] / "templates"
_PAIR_COLUMNS = (
    "a", "b", "tau", "ci_low", "ci_high", "p_value", "p_corrected", "clusters", "shown", "sentence",
)  # fmt: skip


def study_page(track: str, table: StudyTable, pairs: Sequence[MeasurePair], matrix: bytes) -> str:
    """The page as HTML, with the PNG ``matrix``; it loads nothing and runs no script."""
    template = environment(_TEMPLATES).get_template("study.html")
    page: str = template.render(policy=policy([]), **page_values(track, table, pairs, matrix))
    return page


def page_values(track: str, table: StudyTable, pairs: Sequence[MeasurePair], matrix: bytes) -> dict[str, Any]:
    """What the templates of a study show, of a folder of runs or of the leaderboard."""
    return {
        "track": track,
        "clusters": len({model.cluster for model in table.models}),
        "tested": sum(pair.p_corrected is not None for pair in pairs),
        "least_interval": LEAST_UNITS,
        "matrix": png_address(matrix),
        "measures": table.measures,
        "models": table.models,
        "pairs": pairs,
        "left_out": table.left_out,
    }


def pairs_csv(pairs: Sequence[MeasurePair]) -> str:
    """One row per pair of measures."""
    return csv_text(
        _PAIR_COLUMNS,
        [
            {
                "a": pair.a.id,
                "b": pair.b.id,
                "tau": pair.association.tau,
                "ci_low": pair.association.low,
                "ci_high": pair.association.high,
                "p_value": pair.association.p_value,
                "p_corrected": pair.p_corrected,
                "clusters": pair.association.clusters,
                "shown": "yes" if pair.shown else "",
                "sentence": pair.sentence,
            }
            for pair in pairs
        ],
    )


def models_csv(table: StudyTable) -> str:
    """One row per model, one column per measure; a figure that is not there is empty."""
    columns = ["model", "cluster", *(measure.id for measure in table.measures)]
    return csv_text(
        columns,
        [{"model": model.name, "cluster": model.cluster, **model.figures} for model in table.models],
    )
