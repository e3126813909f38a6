"""A reproduction as rows: every figure beside the published one, and every claim with what was compared. No torch."""

from collections.abc import Iterator, Mapping
from typing import Any

from assay.papers.claims import ClaimFinding, MeasuredValue, MissingValue
from assay.papers.plan import Reproduction
from assay.papers.spec.measurements import Cell
from assay.papers.spec.paper import Paper

FIGURE_COLUMNS = (
    "paper", "scale", "measurement", "text", "place", "published", "ours", "difference", "ci_low", "ci_high", "unit",
    "n", "repetitions", "repeated_over", "remark",
)  # fmt: skip
CLAIM_COLUMNS = (
    "paper", "scale", "claim", "place", "text", "verdict", "reason", "compared", "value", "ci_low", "ci_high", "limit",
    "interval",
)  # fmt: skip


def figure_rows(
    plan: Reproduction, measured: Mapping[str, MeasuredValue | MissingValue]
) -> Iterator[dict[str, Any]]:
    """One row per measurement, in :data:`FIGURE_COLUMNS`; those that were not made say why."""
    for name, wanted in plan.measurements.items():
        published = None if wanted.published is None else plan.paper.published(wanted.published)
        row = {
            "paper": plan.paper.paper,
            "scale": plan.scale_name,
            "measurement": name,
            "text": wanted.text,
            "place": _place(plan.paper, wanted.published),
            "published": published,
        }
        found = measured[name]
        if isinstance(found, MissingValue):
            yield row | {"remark": found.reason}
            continue
        yield row | {
            "ours": found.value,
            "difference": None if published is None else found.value - published,
            "ci_low": found.low,
            "ci_high": found.high,
            "unit": found.unit,
            "n": found.n,
            "repetitions": len(found.samples) or None,
            "repeated_over": found.repeated_over,
            "remark": found.doubt,
        }


def claim_rows(plan: Reproduction, findings: list[ClaimFinding]) -> Iterator[dict[str, Any]]:
    """One row per comparison, in :data:`CLAIM_COLUMNS`; a claim without any has one row."""
    for finding in findings:
        row = {
            "paper": plan.paper.paper,
            "scale": plan.scale_name,
            "claim": finding.claim.id,
            "place": finding.claim.place,
            "text": finding.claim.text,
            "verdict": finding.verdict.value,
            "reason": finding.reason,
        }
        compared = [
            {
                "compared": each.text, "value": each.value, "ci_low": each.low, "ci_high": each.high,
                "limit": each.limit, "interval": each.how,
            }
            for each in finding.comparisons
        ]  # fmt: skip
        yield from (row | each for each in compared or [{}])


def _place(paper: Paper, cell: Cell | None) -> str:
    if cell is None:
        return ""
    table = next(each for each in paper.tables if each.id == cell.table)
    return f"{table.place}: {cell.row}, {cell.column}"
