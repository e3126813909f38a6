"""Paired tests of two models over the same units: McNemar's for outcomes, sign flips for scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.board.submissions.check import read_records
from assay.board.submissions.documents import MANIFEST
from assay.board.submissions.folder import open_folder
from assay.board.submissions.outcomes import unit_scores
from assay.board.submissions.reader import UnreadableError
from assay.board.submissions.results import parse_result
from assay.common.errors import UserError
from assay.common.statistics import mcnemar_p_value, sign_flip_interval, sign_flip_p_value
from assay.results.document import ResultDocument, Status
from assay.runner.assemble import stored_jobs
from assay.runner.store import RunFolder
from assay.specs.task_spec import TaskSpec
from assay.tasks.base import Record, Task, clean_records
from assay.tasks.families import family, load_spec

RESAMPLES = 10_000

Gaps = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Paired:
    """How model A differs from model B on the units that count for both.

    Attributes:
        difference: mean of A minus mean of B.
        low: lower bound of its 95 % interval: a paired bootstrap for outcomes, else what sign flips do not reject;
            infinite where units are too few to reject anything.
        high: upper bound.
        p_value: two-sided; exact McNemar for outcomes, the permutation test of sign flips otherwise.
        n: units compared.
        only_a: units where only A is right (outcomes) or A scores more.
        only_b: the same for B.
    """

    test: Literal["McNemar", "sign flips"]
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    only_a: int
    only_b: int


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
    """One of the two things compared."""

    result: ResultDocument
    task: Task[Any, Any]
    spec: TaskSpec
    records: Sequence[Record]


def compare(a: Side, b: Side) -> Mapping[str, Paired | None]:
    """The paired test of each headline metric; None for a metric that is not a mean over units.

    Raises:
        UserError: the two are not the same units of the same task.
    """
    if (a.result.spec_sha256, a.result.data.sha256) != (b.result.spec_sha256, b.result.data.sha256):
        raise UserError(
            f"{a.result.task}: the two were run with different specs or data; run both with one version"
        )
    if [record.unit_id for record in a.records] != [record.unit_id for record in b.records]:
        raise UserError(f"{a.result.task}: the two do not cover the same units; run both to the end")
    names = [metric.name for metric in a.result.metrics if metric.headline]
    ones, others = (unit_scores(side.task, side.spec, side.records, names) for side in (a, b))
    return {
        name: paired_test(ones[name], others[name]) if ones[name] and others[name] else None for name in names
    }


def sides(source: str) -> dict[str, Side]:
    """What ``source`` holds, by task: a submission's folder, a run's folder of one model, or ``RUN@MODEL``.

    Raises:
        UserError: it is none of these.
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
        found[job.document["task"]] = Side(job.result(records), job.task, job.spec, records)
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
                loaded = load_spec(task)
                found[task] = Side(result, family(loaded.spec.family), loaded.spec, read_records(files, task))
        except UnreadableError as error:
            raise UserError(f"{folder}: {error}") from error
    return found


def p_text(p_value: float) -> str:
    """A p-value as the pages write it."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


TABLE_COLUMNS = ("task", "metric", "A - B", "95 % interval", "p", "test", "N", "only A", "only B")


def table_rows(task: str, tests: Mapping[str, Paired | None]) -> list[list[object]]:
    """The tests as rows of :data:`TABLE_COLUMNS`; a metric that is no mean over units keeps a row that states this."""
    rows: list[list[object]] = []
    for name, test in tests.items():
        if test is None:
            rows.append([task, name, "", "", "", "none: not a mean over units", "", "", ""])
            continue
        bounded = np.isfinite(test.low)
        interval = f"[{test.low:+.4f}, {test.high:+.4f}]" if bounded else "none: too few units"
        rows.append(
            [task, name, f"{test.difference:+.4f}", interval, p_text(test.p_value), test.test, test.n,
             test.only_a, test.only_b]
        )  # fmt: skip
    return rows
