"""What a reproduction leaves behind: figures.csv, claims.csv, the page, and lines for the terminal."""

from dataclasses import dataclass
from pathlib import Path

from assay.common.tables import text_table
from assay.papers.execute import PaperOutcome
from assay.papers.page import number, reproduction_page
from assay.papers.tables import CLAIM_COLUMNS, FIGURE_COLUMNS, claim_rows, figure_rows
from assay.results.tables import csv_text
from assay.runner.files import write_atomically


@dataclass(frozen=True)
class ReportFiles:
    """The files."""

    figures: Path
    claims: Path
    page: Path


def write(outcome: PaperOutcome) -> ReportFiles:
    """Write the CSVs and the page into the reproduction's folder.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    plan = outcome.plan
    written = ReportFiles(plan.out / "figures.csv", plan.out / "claims.csv", plan.out / "index.html")
    write_atomically(written.figures, csv_text(FIGURE_COLUMNS, figure_rows(plan, outcome.measured)))
    write_atomically(written.claims, csv_text(CLAIM_COLUMNS, claim_rows(plan, outcome.findings)))
    write_atomically(written.page, reproduction_page(outcome))
    return written


def terminal_text(outcome: PaperOutcome) -> str:
    """Figures and verdicts as two tables."""
    figures = [
        [
            row["measurement"],
            number(row["published"], row.get("unit", "")),
            number(row.get("ours"), row.get("unit", "")),
            f"{number(row.get('ci_low'), row.get('unit', ''))} to {number(row.get('ci_high'), row.get('unit', ''))}",
        ]
        for row in figure_rows(outcome.plan, outcome.measured)
    ]
    claims = [
        [finding.verdict.value, finding.claim.text + (f" ({finding.reason})" if finding.reason else "")]
        for finding in outcome.findings
    ]
    return "\n\n".join(
        [
            text_table(
                figures, headers=["measured", "published", "ours", "95 % interval"], disable_numparse=True
            ),
            text_table(claims, headers=["verdict", "claim"], maxcolwidths=[None, 90]),
        ]
    )
