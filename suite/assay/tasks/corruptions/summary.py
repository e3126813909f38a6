"""From records to accuracies; pure, and without torch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.common.statistics import LEAST_UNITS, bootstrap_interval, wilson_interval
from assay.results.document import Metric
from assay.tasks.base import Record, Summary
from assay.tasks.corruptions.baseline import alexnet_error
from assay.tasks.corruptions.guards import all_guards
from assay.tasks.corruptions.outcomes import CorruptionOutcomes
from assay.tasks.corruptions.spec import HEADLINE, CorruptionsSpec
from assay.tasks.corruptions.titles import headline_title
from assay.tasks.shared.own_answers import as_agreement

Floats = npt.NDArray[np.float64]
_RESAMPLES = 2000


def summarise(spec: CorruptionsSpec, records: Sequence[Record]) -> Summary:
    """The mean accuracy with an interval that resamples images, and its parts."""
    if not records:
        return Summary((), ())
    outcomes = CorruptionOutcomes.of(spec, records)
    return Summary(tuple(_metrics(spec, outcomes)), tuple(all_guards(spec, records, outcomes)))


def metrics(spec: CorruptionsSpec, records: Sequence[Record]) -> Iterator[Metric]:
    """Those of :func:`summarise`, one after another."""
    yield from _metrics(spec, CorruptionOutcomes.of(spec, records))


def _metrics(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Iterator[Metric]:
    for each in _plain(spec, outcomes) if spec.pictures == "plain" else _corrupted(spec, outcomes):
        words = {"name": as_agreement(each.name), "title": as_agreement(each.title)} if spec.predicted else {}
        yield each.model_copy(update=words) if words else each


def corruption_error(spec: CorruptionsSpec, correct: Floats) -> Any:
    """Mean corruption error (Hendrycks and Dietterich 2019, section 4.1), 1 for AlexNet itself.

    Args:
        spec: says which corruptions and severities of the baseline's errors count.
        correct: (…, C, S) accuracies.

    Returns:
        (…): the mean over corruptions of the ratio of the errors' sums over severities.
    """
    places = [spec.corruptions.index(name) for name in spec.of_baseline]
    baseline = np.array(
        [sum(alexnet_error(name, level) for level in spec.severities) for name in spec.of_baseline]
    )
    return ((1 - correct[..., places, :]).sum(-1) / baseline).mean(-1)


def _plain(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Iterator[Metric]:
    assert outcomes.clean is not None
    yield _mean(spec, HEADLINE, outcomes.clean, title=headline_title(spec), direction="up", headline=True)


def _corrupted(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Iterator[Metric]:
    images = outcomes.correct.mean((1, 2))
    yield _mean(spec, HEADLINE, images, title=headline_title(spec), direction="up", headline=True)
    if outcomes.clean is not None and not spec.predicted:
        yield _share("clean_accuracy", outcomes.clean, title="Clean accuracy", direction="up", headline=True)
        yield _mean(
            spec, "drop_from_clean", outcomes.clean - images, title="Drop from clean accuracy", direction="down",
            headline=True,
        )  # fmt: skip
    yield _worst(spec, outcomes)
    if spec.has_baseline:
        yield _corruption_error(spec, outcomes)
    if outcomes.flips.shape[2]:
        title = "Answers that change from one severity to the next"
        yield _mean(spec, "flips", outcomes.flips.mean((1, 2)), title=title, direction="down")
    for place, severity in enumerate(spec.severities):
        yield _mean(
            spec, f"mean:accuracy@{severity}", outcomes.correct[:, :, place].mean(1), series="mean", x=severity,
            x_label="severity", title=f"Mean accuracy at severity {severity}", direction="up",
        )  # fmt: skip
    for place, name in enumerate(spec.corruptions):
        yield from _of_corruption(spec, name, outcomes.correct[:, place])


def _worst(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Metric:
    place = int(outcomes.by_corruption.argmin())
    name = spec.corruptions[place].replace("_", " ")
    return _mean(
        spec, "worst_corruption_accuracy", outcomes.correct[:, place].mean(1),
        title=f"Accuracy under the worst corruption ({name})", direction="up", headline=True,
    )  # fmt: skip


def _corruption_error(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Metric:
    value = float(corruption_error(spec, outcomes.cells))
    low, high = _resampled(spec, outcomes)
    count = len(spec.of_baseline)
    return Metric(
        name="mean_corruption_error", value=value, ci_low=low, ci_high=high, n=len(outcomes.correct), unit="ratio",
        headline=True, direction="down", title=f"Mean corruption error, AlexNet = 1 ({count} corruptions)",
    )  # fmt: skip


def _resampled(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> tuple[float | None, float | None]:
    """It is linear in the accuracies, so each image has its own share of it."""
    return _interval(corruption_error(spec, outcomes.correct.astype(np.float64)), spec.seed)


def _of_corruption(spec: CorruptionsSpec, name: str, correct: npt.NDArray[np.bool_]) -> Iterator[Metric]:
    """Args: correct: (N, S)."""
    words = name.replace("_", " ").capitalize()
    yield _mean(spec, f"{name}:accuracy", correct.mean(1), title=f"{words}, mean accuracy", direction="up")
    for place, severity in enumerate(spec.severities):
        yield _share(
            f"{name}:accuracy@{severity}", correct[:, place], series=name, x=severity, x_label="severity",
            title=f"{words}, accuracy at severity {severity}", direction="up",
        )  # fmt: skip


def _interval(values: Any, seed: int) -> tuple[float | None, float | None]:
    """The mean's interval, by resampling images; none where there are so few that it would mislead."""
    return bootstrap_interval(values, seed, _RESAMPLES) if len(values) >= LEAST_UNITS else (None, None)


def _mean(spec: CorruptionsSpec, name: str, values: Any, **extra: Any) -> Metric:
    low, high = _interval(values, spec.seed)
    value = float(np.mean(values))
    return Metric(name=name, value=value, ci_low=low, ci_high=high, n=len(values), unit="proportion", **extra)


def _share(name: str, hits: npt.NDArray[np.bool_], **extra: Any) -> Metric:
    low, high = wilson_interval(int(hits.sum()), len(hits))
    value = float(hits.mean())
    return Metric(name=name, value=value, ci_low=low, ci_high=high, n=len(hits), unit="proportion", **extra)
