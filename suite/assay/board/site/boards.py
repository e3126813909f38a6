"""The figures of all models on one task, and the places that they allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from assay.board.site.entries import Result
from assay.board.site.ranks import Interval, tied_places
from assay.board.submissions.documents import SUBMITTED
from assay.board.submissions.register import AdmittedTask
from assay.tasks.families import LoadedSpec

Cell = Sequence[Any]  # value, ci_low, ci_high, n
RankedCell = Sequence[Any]  # the same, and the best and worst place
Columns = Mapping[str, RankedCell | str]  # by model; a text is why the task does not apply


@dataclass(frozen=True)
class AdmittedSpec:
    """A task of the register with its current spec; ``sha256s`` are the hashes that its results may name."""

    loaded: LoadedSpec
    admitted: AdmittedTask
    family: str
    sha256s: tuple[str, ...]


_METRIC_FIELDS = ("name", "unit", "series", "x", "x_label")


@dataclass(frozen=True)
class Row:
    """A result's headline figures: what they are, and one cell for each; a text is why the task does not apply.

    ``tier`` says what is proved of them.
    """

    metrics: list[Mapping[str, Any]]
    cells: list[Cell] | str
    tier: str

    @classmethod
    def of(cls, result: Result, tier: str) -> "Row":
        """The row of a result."""
        if result["status"] == "not_applicable":
            return cls([], result["reason"] or "not applicable", tier)
        headline = [metric for metric in result["metrics"] if metric["headline"]]
        return cls(
            [{name: metric[name] for name in _METRIC_FIELDS} for metric in headline],
            [
                [_short(metric["value"]), _short(metric["ci_low"]), _short(metric["ci_high"]), metric["n"]]
                for metric in headline
            ],
            tier,
        )


@dataclass
class TaskBoard:
    """Gathers one task's headline figures, model by model."""

    id: str
    title: str
    family: str
    admitted: AdmittedTask
    metrics: list[Mapping[str, Any]] = field(default_factory=list)
    rows: dict[str, list[Cell] | str] = field(default_factory=dict)
    tiers: dict[str, str] = field(default_factory=dict)

    @property
    def rank_by(self) -> str:
        """The metric that the overview shows."""
        return self.admitted.rank_by

    def add(self, model: str, row: Row) -> None:
        """Take a model's headline figures."""
        self.metrics = self.metrics or row.metrics
        self.rows[model] = row.cells
        self.tiers[model] = row.tier

    @cached_property
    def _ranked_index(self) -> int | None:
        return next((at for at, metric in enumerate(self.metrics) if metric["name"] == self.rank_by), None)

    @property
    def unit(self) -> str:
        """The unit of the ranking metric."""
        return "" if self._ranked_index is None else str(self.metrics[self._ranked_index]["unit"])

    def ranked(self) -> Columns:
        """The ranking metric of each model with its places; a model that is only submitted has none."""
        return self._ranked

    @cached_property
    def _ranked(self) -> Columns:
        at = self._ranked_index
        cells = {
            model: cells[at] if at is not None else [None, None, None, 0]
            for model, cells in self.rows.items() if not isinstance(cells, str)
        }  # fmt: skip
        placed = [
            model for model, cell in cells.items() if cell[0] is not None and self.tiers[model] != SUBMITTED
        ]
        intervals = [_interval(cells[model]) for model in placed]
        places = dict(zip(placed, tied_places(intervals, self.admitted.better), strict=True))
        found: dict[str, RankedCell | str] = {
            model: [*cell, *(places.get(model) or (None, None))] for model, cell in cells.items()
        }
        return found | {model: reason for model, reason in self.rows.items() if isinstance(reason, str)}

    def document(self) -> dict[str, Any]:
        """The board as plain JSON, for the family's page."""
        ranked = self.ranked().items()
        return {
            "metrics": self.metrics,
            "rows": self.rows,
            "rank_by": self.rank_by,
            "better": self.admitted.better,
            "tiers": self.tiers,
            "places": {model: cell[4:] for model, cell in ranked if not isinstance(cell, str)},
        }


def _interval(cell: Cell) -> Interval:
    value, low, high, _n = cell
    return Interval(value, value if low is None else low, value if high is None else high)


def _short(value: float | None) -> float | None:
    """Six digits are more than any interval here can tell apart; the documents keep all."""
    return None if value is None else float(f"{value:.6g}")
