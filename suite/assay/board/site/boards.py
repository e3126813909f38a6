"""The figures of all models on one task, and the places that they allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from assay.board.site.entries import Result
from assay.board.site.ranks import Interval, tied_places
from assay.board.submissions.documents import SUBMITTED
from assay.board.submissions.register import AdmittedTask, Better
from assay.results.evidence import sign_of, word_of
from assay.tasks.families import LoadedSpec, family
from assay.tasks.shared.curves import CurvePoint

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

    @property
    def headline(self) -> str:
        """The key of the figure that ranks: the spec's own, or of a spec without one what the register says."""
        return self.loaded.spec.headline_key or self.admitted.rank_by


_NOT_THERE: Cell = (None, None, None, 0)
_METRIC_FIELDS = ("name", "unit", "series", "x", "x_label")


@dataclass(frozen=True)
class BoardRow:
    """The figures of a result that a board shows, and one cell for each; a text is why the task does not apply.

    ``tier`` says what is proved of them; ``curve`` is the model's in the chart of all models.
    """

    metrics: list[Mapping[str, Any]]
    cells: list[Cell] | str
    tier: str
    curve: Sequence[CurvePoint] = ()

    @classmethod
    def of(cls, result: Result, tier: str, headline: str) -> "BoardRow":
        """The row of a result; ``headline`` is the key of the figure that ranks."""
        if result["status"] == "not_applicable":
            return cls([], result["reason"] or "not applicable", tier)
        shown = [metric for metric in result["metrics"] if metric["headline"] or metric["name"] == headline]
        curves = family(result["family"]).curves
        return cls(
            [_described(metric, result["family"]) for metric in shown],
            [
                [_short(metric["value"]), _short(metric["ci_low"]), _short(metric["ci_high"]), metric["n"]]
                for metric in shown
            ],
            tier,
            curves.points(result["metrics"]) if curves else (),
        )


def _described(metric: Mapping[str, Any], of: str) -> dict[str, Any]:
    """What a metric of a family is; older documents have no title and no direction."""
    direction, evidence = metric.get("direction", "none"), family(of).evidence(metric["name"])
    people = {
        "title": metric.get("title") or metric["name"], "direction": direction,
        "evidence": word_of(evidence), "sign": sign_of(evidence, direction),
    }  # fmt: skip
    return {name: metric[name] for name in _METRIC_FIELDS} | people


@dataclass
class TaskBoard:
    """Gathers one task's figures, model by model; ``rank_by`` is the key of the figure that ranks."""

    id: str
    title: str
    family: str
    admitted: AdmittedTask
    rank_by: str
    metrics: list[Mapping[str, Any]] = field(default_factory=list)
    rows: dict[str, list[Cell] | str] = field(default_factory=dict)
    tiers: dict[str, str] = field(default_factory=dict)
    curves: dict[str, Sequence[CurvePoint]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The task's name within its family."""
        return self.id.rpartition("/")[2]

    def add(self, model: str, row: BoardRow) -> None:
        """Take a model's figures; figures of another version find their columns by name."""
        self.tiers[model] = row.tier
        self.curves[model] = row.curve
        if isinstance(row.cells, str):
            self.rows[model] = row.cells
            return
        known = {metric["name"] for metric in self.metrics}
        self.metrics = [*self.metrics, *(metric for metric in row.metrics if metric["name"] not in known)]
        own = {metric["name"]: cell for metric, cell in zip(row.metrics, row.cells, strict=True)}
        self.rows[model] = [own.get(metric["name"], _NOT_THERE) for metric in self.metrics]

    def cells(self, name: str) -> dict[str, Cell]:
        """A metric, by its key, of each model that the task applies to; an empty cell where a model has no value."""
        at = self._index(name)
        return {
            model: cells[at] if at is not None and at < len(cells) else _NOT_THERE
            for model, cells in self.rows.items() if not isinstance(cells, str)
        }  # fmt: skip

    def _index(self, name: str) -> int | None:
        return next((at for at, metric in enumerate(self.metrics) if metric["name"] == name), None)

    @cached_property
    def _ranked_index(self) -> int | None:
        return self._index(self.rank_by)

    def _of_ranked(self, field: str) -> str:
        return "" if self._ranked_index is None else str(self.metrics[self._ranked_index][field])

    @property
    def unit(self) -> str:
        """The unit of the ranking metric."""
        return self._of_ranked("unit")

    @property
    def evidence(self) -> str:
        """What the ranking metric rests on: ``proved``, ``found`` or nothing."""
        return self._of_ranked("evidence")

    @property
    def sign(self) -> str:
        """What stands before its figures, see :func:`assay.results.evidence.sign_of`."""
        return self._of_ranked("sign")

    @property
    def measure(self) -> str:
        """What people call the ranking metric."""
        return self._of_ranked("title") or self.rank_by

    @property
    def better(self) -> Better:
        """Which way of the ranking metric is better, as its results say, else as the register does."""
        known: Mapping[str, Better] = {"up": "higher", "down": "lower"}
        return known.get(self._of_ranked("direction"), self.admitted.better)

    @property
    def figured(self) -> int:
        """How many models have a figure that could rank."""
        return sum(not isinstance(cell, str) and cell[0] is not None for cell in self.ranked().values())

    def ranked(self) -> Columns:
        """The ranking metric of each model with its places.

        A model that is only submitted has none; neither has a single model.
        """
        return self._ranked

    @cached_property
    def _ranked(self) -> Columns:
        cells = self.cells(self.rank_by)
        placed = [
            model for model, cell in cells.items() if cell[0] is not None and self.tiers[model] != SUBMITTED
        ]
        intervals = [_interval(cells[model]) for model in placed]
        places = dict(zip(placed, tied_places(intervals, self.better), strict=True)) if placed[1:] else {}
        found: dict[str, RankedCell | str] = {
            model: [*cell, *(places.get(model) or (None, None))] for model, cell in cells.items()
        }
        return found | {model: reason for model, reason in self.rows.items() if isinstance(reason, str)}

    def document(self) -> dict[str, Any]:
        """The board as plain JSON, for the family's page."""
        ranked = self.ranked().items()
        return {
            "metrics": self.metrics,
            "rows": {model: self._whole(cells) for model, cells in self.rows.items()},
            "rank_by": self.rank_by,
            "better": self.better,
            "tiers": self.tiers,
            "places": {model: cell[4:] for model, cell in ranked if not isinstance(cell, str)},
        }

    def _whole(self, cells: list[Cell] | str) -> list[Cell] | str:
        """A row with a cell for every column; those that came with a later model are empty."""
        if isinstance(cells, str):
            return cells
        return [*cells, *[_NOT_THERE] * (len(self.metrics) - len(cells))]


def _interval(cell: Cell) -> Interval:
    value, low, high, _n = cell
    return Interval(value, value if low is None else low, value if high is None else high)


def _short(value: float | None) -> float | None:
    """Six digits are more than any interval here can tell apart; the documents keep all."""
    return None if value is None else float(f"{value:.6g}")
