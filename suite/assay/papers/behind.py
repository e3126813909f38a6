"""What stands behind a network's figure that is a mean: the score of each image, or of each shape."""

from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean

from assay.board.submissions.outcomes import Score, unit_scores
from assay.results.document import Metric
from assay.runner.assemble import StoredJob
from assay.tasks.base import clean_records


def units_behind(job: StoredJob, metrics: Sequence[Metric]) -> dict[str, float]:
    """The mean score of each image over the metrics; empty where one of them is no mean over all images.

    Args:
        job: whose result the metrics are of.
        metrics: one, or the points of a curve.
    """
    scores = _scores(job)
    columns = [scores.get(metric.name, {}) for metric in metrics]
    if not columns or any(None in column.values() or set(column) != set(columns[0]) for column in columns):
        return {}
    return {unit: fmean(column[unit] or 0.0 for column in columns) for unit in columns[0]}


def averaged_behind(job: StoredJob, metric: Metric) -> Mapping[str, float]:
    """The figures that a metric averages where those are not the units' (but shapes'); empty for any other metric.

    Args:
        job: of any family, whose result the metric is of.
        metric: one of the result's.
    """
    found = _averaged(job).get(metric.name, {})
    is_their_mean = (
        bool(found) and metric.value is not None and abs(fmean(found.values()) - metric.value) < 1e-9
    )
    return found if is_their_mean else {}


@cache
def _averaged(job: StoredJob) -> Mapping[str, Mapping[str, float]]:
    """Computed once per job: it may take long, as where regions are grown again from the stored maps."""
    records = clean_records(job.records())
    with job.understood():
        return job.task.averaged(job.spec, records)


@cache
def _scores(job: StoredJob) -> Mapping[str, Mapping[str, Score]]:
    """Each metric's score of each image, by name and then by image; metrics that are no means are left out."""
    records = clean_records(job.records())
    with job.understood():
        names = [metric.name for metric in job.task.summarise(job.spec, records).metrics]
        found = unit_scores(job.task, job.spec, records, names)
    ids = [record.unit_id for record in records]
    return {name: dict(zip(ids, column, strict=True)) for name, column in found.items() if column}
