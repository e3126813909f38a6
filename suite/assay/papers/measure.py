"""From stored results, training records and the authors' archive to measurements with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import hypot, inf
from statistics import fmean

from assay.papers.behind import averaged_behind, units_behind
from assay.papers.claims import MeasuredValue, MissingValue
from assay.papers.intervals import half_over_images, student_interval
from assay.papers.kept import aligned, shape_values
from assay.papers.plan import ZOO, Reproduction
from assay.papers.spec.measurements import (
    AlignmentMeasurement,
    CurveMeasurement,
    Measurement,
    MetricMeasurement,
    RegionsMeasurement,
    TrainingMeasurement,
)
from assay.results.document import Metric, ResultDocument, Status
from assay.runner.assemble import StoredJob
from assay.tasks.families import family

_RANGE = {
    "proportion": (0.0, 1.0), "share of Theta": (0.0, 1.0), "s": (0.0, inf), "pixels": (0.0, inf),
}  # fmt: skip
"""What a unit's figures can be: an interval reaches no further."""
JobName = tuple[str, int | None, str]
"""Model, seed and task, as the paper's file calls them."""
Results = Mapping[JobName, ResultDocument]
Jobs = Mapping[JobName, StoredJob]


def measure(plan: Reproduction, results: Results, jobs: Jobs) -> dict[str, MeasuredValue | MissingValue]:
    """Every measurement of the scale, by name, from results and the jobs that they are of."""
    return {name: _measure(plan, each, results, jobs) for name, each in plan.measurements.items()}


def _measure(
    plan: Reproduction, wanted: Measurement, results: Results, jobs: Jobs
) -> MeasuredValue | MissingValue:
    match wanted:
        case MetricMeasurement() | CurveMeasurement():
            return _of_results(plan, wanted, results, jobs)
        case TrainingMeasurement():
            return _training(plan, wanted)
        case AlignmentMeasurement():
            return _alignment(plan, wanted)
        case RegionsMeasurement():
            return _regions(plan, wanted)


def _of_results(
    plan: Reproduction, wanted: MetricMeasurement | CurveMeasurement, results: Results, jobs: Jobs
) -> MeasuredValue | MissingValue:
    def measured(seed: int | None) -> MeasuredValue | MissingValue:
        name = wanted.model, seed, wanted.task
        result, job = results[name], jobs[name]
        found = _of_result(result, wanted)
        if isinstance(found, MissingValue):
            return found
        if seed is ZOO:
            return _by_shape(result, job, wanted, found)
        scores = units_behind(job, _points(result, wanted))
        return replace(found, by_unit={unit: (score,) for unit, score in scores.items()})

    return _of_every_seed(plan, wanted.model, measured)


def _by_shape(
    result: ResultDocument,
    job: StoredJob,
    wanted: MetricMeasurement | CurveMeasurement,
    found: MeasuredValue,
) -> MeasuredValue:
    """The same with the shapes behind it, where it is a mean over shapes: networks saw the same ones."""
    if isinstance(wanted, CurveMeasurement):
        return found
    metric = next(metric for metric in result.metrics if metric.name == wanted.metric)
    samples = averaged_behind(job, metric)
    return replace(found, samples=samples, repeated_over="shapes") if samples else found


def _alignment(plan: Reproduction, wanted: AlignmentMeasurement) -> MeasuredValue | MissingValue:
    return _of_every_seed(plan, wanted.model, lambda seed: aligned(plan, wanted, seed))


def _of_every_seed(
    plan: Reproduction, model: str, measured: Callable[[int | None], MeasuredValue | MissingValue]
) -> MeasuredValue | MissingValue:
    """One measurement from the measurements of a model's networks; missing if one of them is."""
    single: dict[str, MeasuredValue] = {}
    for seed in plan.seeds(model):
        found = measured(seed)
        if isinstance(found, MissingValue):
            return found
        if seed is ZOO:
            return found
        single[str(seed)] = found
    return over_seeds(single)


def _of_result(
    result: ResultDocument, wanted: MetricMeasurement | CurveMeasurement
) -> MeasuredValue | MissingValue:
    where = f"{result.model.name} · {result.task}"
    if result.status is not Status.COMPLETE:
        return MissingValue(f"{where} is {result.status.value}: {result.reason}")
    points = _points(result, wanted)
    if not points:
        name = wanted.series if isinstance(wanted, CurveMeasurement) else wanted.metric
        return MissingValue(f"{where} has no figure {name!r}")
    doubt = "; ".join(
        f"guard {guard.name} failed"
        for guard in result.failed_guards
        if any(family(result.family).casts_doubt(guard.name, point.name) for point in points)
    )
    return _mean_of(points, doubt)


def _points(result: ResultDocument, wanted: MetricMeasurement | CurveMeasurement) -> list[Metric]:
    """The metric, or the points of the curve."""
    if isinstance(wanted, CurveMeasurement):
        return [m for m in result.metrics if m.series == wanted.series and (m.x or 0) > 0]
    return [metric for metric in result.metrics if metric.name == wanted.metric]


def _mean_of(points: Sequence[Metric], doubt: str) -> MeasuredValue | MissingValue:
    """The mean of a curve's points, or the one metric; the interval assumes points that err together."""
    values = [point.value for point in points if point.value is not None]
    if len(values) < len(points):
        return MissingValue(f"{points[0].name}: has no value")
    lows = [point.ci_low for point in points if point.ci_low is not None]
    highs = [point.ci_high for point in points if point.ci_high is not None]
    bounded = len(lows) == len(highs) == len(points)
    first = points[0]
    return MeasuredValue(
        value=fmean(values),
        low=fmean(lows) if bounded else None,
        high=fmean(highs) if bounded else None,
        unit=first.unit,
        n=first.n,
        resolution=1 / first.n if first.unit == "proportion" and first.n else 0.0,
        doubt=doubt,
    )


def over_seeds(single: Mapping[str, MeasuredValue]) -> MeasuredValue:
    """One measurement from its repetitions.

    The interval is Student's t over seeds, with what other images would change squared and added, as in differences.
    It is widened to the mean of the repetitions' own intervals where those reach further: three networks without an
    error were still tried on so many images only.
    """
    samples = {seed: each.value for seed, each in single.items()}
    first = next(iter(single.values()))
    lows = [each.low for each in single.values() if each.low is not None]
    highs = [each.high for each in single.values() if each.high is not None]
    ends = [(fmean(lows), fmean(highs))] if len(lows) == len(highs) == len(single) else []
    by_unit = _together([each.by_unit for each in single.values()])
    ends += [_seeds_and_images(list(samples.values()), by_unit)] if len(samples) > 1 else []
    low, high = min((end[0] for end in ends), default=None), max((end[1] for end in ends), default=None)
    least, most = _RANGE.get(first.unit, (-inf, inf))
    if low is not None and high is not None:
        low, high = max(low, least), min(high, most)
    return MeasuredValue(
        value=fmean(samples.values()),
        low=low,
        high=high,
        unit=first.unit,
        n=first.n,
        samples=samples,
        repeated_over="seeds",
        trained=True,
        resolution=first.resolution,
        doubt="; ".join(
            dict.fromkeys(one for each in single.values() for one in each.doubt.split("; ") if one)
        ),
        by_unit=by_unit,
    )


def _together(columns: Sequence[Mapping[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    """Each image's scores, one per repetition; empty where the repetitions are not of the same images."""
    first = columns[0]
    if any(set(column) != set(first) for column in columns):
        return {}
    return {unit: tuple(score for column in columns for score in column[unit]) for unit in first}


def _seeds_and_images(
    samples: Sequence[float], by_unit: Mapping[str, tuple[float, ...]]
) -> tuple[float, float]:
    """The interval of a mean over seeds, and over the images where their scores are known."""
    import numpy as np

    low, high = student_interval(samples)
    half = half_over_images([np.array(list(by_unit.values()))]) if by_unit else 0.0
    wide = hypot((high - low) / 2, half)
    return (low + high) / 2 - wide, (low + high) / 2 + wide


def _training(plan: Reproduction, wanted: TrainingMeasurement) -> MeasuredValue | MissingValue:
    single = {}
    for seed in plan.seeds(wanted.model):
        record = plan.net(wanted.model, seed).record() if seed is not ZOO else None
        if record is None:
            return MissingValue(f"{wanted.model} is not trained here")
        single[str(seed)] = MeasuredValue(record.seconds, None, None, "s", 1)
    return over_seeds(single)


def _regions(plan: Reproduction, wanted: RegionsMeasurement) -> MeasuredValue | MissingValue:
    archive, what = plan.archive, plan.paper.archive
    assert what is not None
    if archive is None:
        return MissingValue(f"the authors' archive {what.file} is in no --data-root; to get it: {what.get}")
    unit = "" if wanted.quantity in ("mean_nsm", "traps") else "%"
    kept = plan.out / "archive.json"
    return over_shapes(shape_values(family(what.family), archive, kept, wanted), unit)


def over_shapes(samples: Mapping[str, float], unit: str) -> MeasuredValue:
    """One measurement from one value per shape; the interval is Student's t over the shapes."""
    low, high = student_interval(list(samples.values()))
    return MeasuredValue(
        value=fmean(samples.values()), low=low, high=high, unit=unit, n=len(samples), samples=samples,
        repeated_over="shapes",
    )  # fmt: skip
