"""Paired tests of two models over what both were asked: McNemar's for outcomes, sign flips for scores.

A figure that is no mean is resampled over units, shapes or images (:mod:`assay.common.resampling`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.board.submissions.check import read_records
from assay.board.submissions.documents import MANIFEST
from assay.board.submissions.folder import open_folder
from assay.board.submissions.outcomes import unit_columns
from assay.board.submissions.reader import UnreadableError
from assay.board.submissions.results import parse_result
from assay.common.errors import UserError
from assay.common.resampling import PairedEstimate, median, paired_resampling
from assay.common.statistics import mcnemar_p_value, sign_flip_interval, sign_flip_p_value
from assay.results.document import Metric, ResultDocument, Status
from assay.results.tables import displayed_difference
from assay.runner.assemble import stored_jobs
from assay.runner.store import RunFolder
from assay.tasks.base import Record, Task, clean_records
from assay.tasks.families import family, stated_spec
from assay.tasks.reading import understood
from assay.tasks.task_spec import TaskSpec

RESAMPLES = 10_000

Gaps = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Paired:
    """How model A differs from model B on the units that count for both.

    Attributes:
        test: McNemar, sign flips, or what :class:`PairedEstimate` names.
        difference: mean of A minus mean of B, or of what is no mean, A's figure minus B's.
        low: lower bound of its 95 % interval: a paired bootstrap for outcomes, else what sign flips do not reject;
            infinite where units are too few to reject anything.
        high: upper bound.
        p_value: two-sided; exact McNemar for outcomes, the permutation test of sign flips otherwise.
        n: units compared, or shapes, or whatever ``of`` says.
        only_a: units where only A is right (outcomes) or A scores more; None where no unit has a share of the figure.
        only_b: the same for B.
        of: what was compared one by one, in the plural.
    """

    test: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    only_a: int | None = None
    only_b: int | None = None
    of: str = "units"

    @classmethod
    def of_estimate(cls, estimate: PairedEstimate) -> "Paired":
        """A figure that no item has a share of, so that none can be counted for a side."""
        return cls(**estimate._asdict())

    def times(self, factor: float, of: str) -> "Paired":
        """The same test of a sum instead of a mean."""
        return replace(
            self, difference=factor * self.difference, low=factor * self.low, high=factor * self.high, of=of
        )


def paired_test(
    scores_a: Sequence[float | None], scores_b: Sequence[float | None], seed: int = 0
) -> Paired | None:
    """Compare two models unit by unit; None when no unit counts for both.

    Raises:
        ValueError: the two have different numbers of units.
    """
    pairs = [
        (a, b) for a, b in zip(scores_a, scores_b, strict=True) if a is not None and b is not None
    ]  # fmt: skip
    if not pairs:
        return None
    a, b = np.asarray(pairs, dtype=np.float64).T
    gaps = a - b
    more, less = int((gaps > 0).sum()), int((gaps < 0).sum())
    outcomes = bool(np.isin([a, b], [0.0, 1.0]).all())
    low, high = _bootstrap_interval(gaps, seed) if outcomes else sign_flip_interval(gaps, seed)
    return Paired(
        test="McNemar" if outcomes else "sign flips",
        difference=float(gaps.mean()),
        low=low,
        high=high,
        p_value=mcnemar_p_value(more, less) if outcomes else sign_flip_p_value(gaps, seed),
        n=len(gaps),
        only_a=more,
        only_b=less,
    )


def _bootstrap_interval(gaps: Gaps, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean of outcomes' differences, by how often each of the three values is drawn."""
    values, counts = np.unique(gaps, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(gaps), counts / len(gaps), size=RESAMPLES)
    low, high = np.quantile(draws @ values / len(gaps), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Side:
    """One of the two things compared; ``source`` is where it was read, for messages."""

    source: str
    result: ResultDocument
    task: Task[Any, Any]
    spec: TaskSpec
    records: Sequence[Record]


def compare(a: Side, b: Side) -> Mapping[str, Paired | None]:
    """The paired test of each headline metric, over what both have; None for a metric that nothing of that gives.

    A mean over units is tested unit by unit, a figure of shapes shape by shape, and a median by a bootstrap of the
    units. Any other figure is compared by its family.

    Raises:
        UserError: the two are not of the same task, or have no unit in common.
    """
    if (a.result.spec_sha256, a.result.data.sha256) != (b.result.spec_sha256, b.result.data.sha256):
        raise UserError(
            f"{a.result.task}: the two were run with different specs or data; run both with one version"
        )
    ones, others = _shared(a, b)
    with understood(f"{a.source}, {b.source}: {a.result.task}"):
        return _compared(a, ones, others)


def _compared(a: Side, ones: list[Record], others: list[Record]) -> Mapping[str, Paired | None]:
    names = [metric.name for metric in a.result.metrics if metric.headline]
    found: dict[str, Paired | None] = _by_units(a, (ones, others), names)
    rest = [name for name in names if found[name] is None]
    if rest:
        found |= _by_items(a, (ones, others), rest)
        estimates = a.task.paired(a.spec, ones, others)
        found |= {
            name: Paired.of_estimate(estimates[name])
            for name in rest
            if found[name] is None and name in estimates
        }
    return found


def _shared(a: Side, b: Side) -> tuple[list[Record], list[Record]]:
    """The records of the units that both have, in A's order: one may be limited or stopped."""
    of_b = {record.unit_id: record for record in b.records}
    ones = [record for record in a.records if record.unit_id in of_b]
    if not ones:
        raise UserError(f"{a.result.task}: the two have no unit in common; run both on the same part")
    return ones, [of_b[record.unit_id] for record in ones]


def _by_units(
    a: Side, records: tuple[list[Record], list[Record]], names: Sequence[str]
) -> dict[str, Paired | None]:
    """Means over units by their own tests, medians of units by a bootstrap."""
    columns = [unit_columns(a.task, a.spec, each, names) for each in records]
    found: dict[str, Paired | None] = dict.fromkeys(names)
    for name in names:
        one, other = (column[name] for column in columns)
        if one.kind == other.kind == "mean":
            found[name] = paired_test(one.scores, other.scores)
        elif one.kind is not None and "median" in (one.kind, other.kind) and other.kind is not None:
            pairs = [
                (x, y)
                for x, y in zip(one.scores, other.scores, strict=True)
                if x is not None and y is not None
            ]
            if pairs:
                left, right = np.asarray(pairs, dtype=np.float64).T
                found[name] = Paired.of_estimate(paired_resampling(left, right, median, "units"))
    return found


def _by_items(
    a: Side, records: tuple[list[Record], list[Record]], names: Sequence[str]
) -> dict[str, Paired | None]:
    """Figures that average or count other things than units, over the things that both have."""
    behind = [a.task.averaged(a.spec, each) for each in records]
    whole = {metric.name: metric.value for metric in a.task.summarise(a.spec, records[0]).metrics}
    found: dict[str, Paired | None] = dict.fromkeys(names)
    for name in names:
        one, other = (each.get(name, {}) for each in behind)
        common = [item for item in one if item in other]
        value = whole.get(name)
        if not common or value is None:
            continue
        test = paired_test([one[item] for item in common], [other[item] for item in common])
        if math.isclose(math.fsum(one.values()) / len(one), value, rel_tol=1e-9, abs_tol=1e-9):
            found[name] = test and replace(test, of="shapes")
        elif math.isclose(math.fsum(one.values()), value, rel_tol=1e-9, abs_tol=1e-9):
            found[name] = test and test.times(test.n, "shapes")
    return found


def sides(source: str) -> dict[str, Side]:
    """What ``source`` holds, by task: a submission's folder, a run's folder of one model, or ``RUN@MODEL``.

    Raises:
        UserError: it is no such place, or names several models.
    """
    if (Path(source) / MANIFEST).is_file():
        return _sides_of_submission(Path(source))
    folder, _, model = source.partition("@")
    jobs = list(stored_jobs(RunFolder.existing(Path(folder))))
    names = sorted({job.document["model"]["name"] for job in jobs})
    if (model or len(names) != 1) and model not in names:
        raise UserError(
            f"{source}: choose one model as {folder}@MODEL; it holds: {', '.join(names) or 'nothing'}"
        )
    chosen = [job for job in jobs if job.document["model"]["name"] == (model or names[0])]
    found = {}
    for job in chosen:
        records = clean_records(job.records())
        found[job.document["task"]] = Side(source, job.result(records), job.task, job.spec, records)
    return found


def _sides_of_submission(folder: Path) -> dict[str, Side]:
    files, problems = open_folder(folder)
    if files is None:
        raise UserError(f"{folder}: {problems[0]}")
    found = {}
    for task in files.tasks:
        name = f"results/{task}.json"
        try:
            result = parse_result(name, files.read(name))
            if result.status is Status.COMPLETE:
                spec = stated_spec(result.family, result.spec, f"{folder}: {name}", "submit the task again")
                records = clean_records(read_records(files, task, spec))
                found[task] = Side(str(folder), result, family(result.family), spec, records)
        except UnreadableError as error:
            raise UserError(f"{folder}: {error}") from error
    return found


def p_text(p_value: float) -> str:
    """A p-value as the pages write it."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


TABLE_COLUMNS = ("task", "figure", "A - B", "95 % interval", "unit", "p", "test", "N", "only A", "only B")


def table_rows(a: Side, tests: Mapping[str, Paired | None]) -> list[list[object]]:
    """The tests as rows of :data:`TABLE_COLUMNS`, in the units of the card; a figure without a test keeps a row."""
    metrics = {metric.name: metric for metric in a.result.metrics}
    return [_row(a.result.task, metrics[name], test) for name, test in tests.items()]


def _row(task: str, metric: Metric, test: Paired | None) -> list[object]:
    if test is None:
        return [task, metric.heading, "", "", "", "", f"none: {NO_TEST}", "", "", ""]
    gap, low, high, unit = displayed_difference(metric, (test.difference, test.low, test.high))
    interval = f"[{low}, {high}]" if np.isfinite(test.low) else "none: too few"
    sides = ["" if count is None else count for count in (test.only_a, test.only_b)]
    n = f"{test.n} {test.of}"
    return [task, metric.heading, gap, interval, unit, p_text(test.p_value), test.test, n, *sides]


NO_TEST = "nothing that both have gives this figure"
