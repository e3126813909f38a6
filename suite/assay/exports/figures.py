"""What every export says of a figure: one set of facts, and one rule for how a doubtful figure shows its doubt."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from assay.common.errors import UserError
from assay.results.document import Metric, ResultDocument, Status
from assay.results.tables import display_status

Fact = str | float | bool


@dataclass(frozen=True)
class ExportedResult:
    """A result, with what lies beside it.

    Attributes:
        document: the result itself.
        versions: of Assay, with which its records were computed; () where nothing says so.
        finished: when its provenance was written; None where there is none.
    """

    document: ResultDocument
    versions: tuple[str, ...] = ()
    finished: datetime | None = None

    @property
    def version(self) -> str:
        """The versions in one word, or ``unknown``."""
        return ", ".join(self.versions) or "unknown"

    @property
    def doubt(self) -> str:
        """Why its figures do not cover the whole task, in one word; empty where they do.

        The gravest alone: ``not_applicable`` (there are no figures), ``guard_failed``, ``demonstration``, ``partial``
        or ``limited``.
        """
        document = self.document
        reasons = {
            "not_applicable": document.status is Status.NOT_APPLICABLE,
            "guard_failed": bool(document.failed_guards),
            "demonstration": bool(document.spec.get("demonstration")),
            "partial": document.status is Status.PARTIAL,
            "limited": document.coverage.limited,
        }
        return next((name for name, holds in reasons.items() if holds), "")

    @property
    def status(self) -> str:
        """Its state for a reader: complete, partial, limited, which guards failed, or a demonstration."""
        shown = display_status(self.document)
        return f"{shown}, demonstration" if self.document.spec.get("demonstration") else shown

    @property
    def guards_failed(self) -> str:
        """The sentence of every guard that failed; empty where none did."""
        return "; ".join(f"{guard.name}: {guard.detail}" for guard in self.document.failed_guards)

    @property
    def explanation(self) -> str:
        """The status, and why: the guards that failed, and what is missing."""
        reasons = filter(
            None, (self.guards_failed, self.document.reason, self.document.spec.get("demonstration"))
        )
        return ". ".join([self.status, *reasons])


class ExportedFigure(NamedTuple):
    """One figure that has a value, and the result that it belongs to."""

    of: ExportedResult
    metric: Metric

    @property
    def value(self) -> float:
        """The value."""
        assert self.metric.value is not None  # figures_of leaves the others out
        return self.metric.value

    @property
    def key(self) -> str:
        """The figure's key for machines.

        A figure that is in doubt has another key, ``DOUBT/KEY``, so that nothing that joins by keys sets it beside a
        sound one.
        """
        return "/".join(filter(None, (self.of.doubt, self.metric.name)))

    @property
    def heading(self) -> str:
        """The figure's name for people; the doubt stands in it."""
        return f"{self.metric.heading} [{self.of.status}]" if self.of.doubt else self.metric.heading

    @property
    def ranks(self) -> bool:
        """Whether it is the figure that ranks its task."""
        return self.metric.name == self.of.document.headline

    @property
    def facts(self) -> dict[str, Fact]:
        """Everything beside the value; a missing interval is left out."""
        metric = self.metric
        interval: dict[str, Fact] = {}
        if metric.ci_low is not None and metric.ci_high is not None:
            interval = {"ci_low": metric.ci_low, "ci_high": metric.ci_high, "ci_level": 0.95}
        point: dict[str, Fact] = {} if metric.x is None else {metric.x_label or "x": metric.x}
        own: dict[str, Fact] = {
            "n": metric.n,
            "unit": metric.unit,
            "direction": metric.direction,
            "headline": self.ranks,
        }
        return {"metric": metric.name, **interval, **point, **own, **facts_of(self.of)}


def facts_of(result: ExportedResult) -> dict[str, Fact]:
    """What holds for every figure of a result: task, data set, model, hashes, version, status and failed guards."""
    document = result.document
    return {
        "task": document.task,
        "task_title": document.title,
        "spec_sha256": document.spec_sha256,
        "data": document.data.name,
        "data_sha256": document.data.sha256,
        "model": document.model.name,
        "weights_sha256": document.model.weights_sha256,
        "job_key": document.job_key,
        "assay_version": result.version,
        "status": result.status,
        "guards_failed": result.guards_failed,
    }


def figures_of(result: ExportedResult, headlines_only: bool = False) -> Iterator[ExportedFigure]:
    """The figures of a result that have a value.

    Args:
        result: a result.
        headlines_only: only those that are shown where there is room for a few.
    """
    for metric in result.document.metrics:
        if metric.value is not None and (metric.headline or not headlines_only):
            yield ExportedFigure(result, metric)


def require_figures(results: Sequence[ExportedResult]) -> None:
    """Refuse results without a single figure: an empty export would look like a finished one.

    Raises:
        UserError: none has a figure; says why of the first.
    """
    if any(True for each in results for _ in figures_of(each)):
        return
    first = results[0].document
    why = first.reason or display_status(first)
    raise UserError(
        f"there is no figure to export: {first.model.name} on {first.task} is {first.status.value} ({why}); "
        "`assay status` shows what a run still lacks"
    )


def in_doubt(results: Iterable[ExportedResult]) -> list[str]:
    """One line for each result whose figures are marked, for the person who exports it."""
    return [
        f"{each.document.model.name} · {each.document.task}: marked as {each.doubt} ({each.status})"
        for each in results
        if each.doubt
    ]
