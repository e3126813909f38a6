"""The measures of a track's models as one table, and which of them belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

from assay.common.errors import UserError
from assay.models.trained import StatedTraining
from assay.results.document import Metric, ResultDocument, Status
from assay.results.tables import unit_and_direction
from assay.tasks.families import family
from assay.tasks.tracks import Scale, Track

CLEAN, ALIGNMENT = "clean_accuracy", "alignment"


@dataclass(frozen=True)
class Measure:
    """A figure that all models of a track can have.

    Attributes:
        id: a task's id, :data:`CLEAN` or :data:`ALIGNMENT`.
        title: for people.
        unit: as its metric has it.
        better: which way is better.
    """

    id: str
    title: str
    unit: str
    better: Literal["up", "down"]

    @property
    def note(self) -> str:
        """Its unit, and which way is better."""
        return unit_and_direction(self.unit, self.better)

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.better == "up" else -1


@dataclass(frozen=True)
class StudiedModel:
    """One model's figures, by measure.

    Attributes:
        name: for people.
        cluster: shared by networks that were trained alike, or are the same.
        figures: by measure.
        page: the model's own, from the site's root; empty where there is none.
    """

    name: str
    cluster: str
    figures: Mapping[str, float]
    page: str = ""


@dataclass(frozen=True)
class StudyTable:
    """What is known of a track's models.

    Attributes:
        measures: the columns: clean accuracy, the track's tasks in its order, alignment; only those with a figure.
        models: the rows, by name.
        left_out: why a figure is not used, one sentence each.
    """

    measures: tuple[Measure, ...]
    models: tuple[StudiedModel, ...]
    left_out: tuple[str, ...]

    def clusters(self, *measures: str) -> dict[str, tuple[float, ...]]:
        """The mean figures of each cluster's models that have all of these measures, by cluster."""
        found: dict[str, list[tuple[float, ...]]] = {}
        for model in self.models:
            if all(measure in model.figures for measure in measures):
                own = tuple(model.figures[measure] for measure in measures)
                found.setdefault(model.cluster, []).append(own)
        return {name: tuple(map(fmean, zip(*own, strict=True))) for name, own in found.items()}


@dataclass
class _Gathered:
    """What is gathered while results are read."""

    measures: dict[str, Measure] = field(default_factory=dict)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def take(self, result: ResultDocument, id: str, metric: Metric) -> None:
        assert metric.value is not None
        better: Literal["up", "down"] = "down" if metric.direction == "down" else "up"
        title = "Clean accuracy" if id == CLEAN else metric.heading
        self.measures.setdefault(id, Measure(id, title, metric.unit, better))
        known = self.figures.setdefault(result.model.name, {})
        if id == CLEAN and id in known:
            return  # each task of a track may state it; the track's first one counts
        if id in known and known[id] != metric.value:
            raise UserError(
                f"{result.model.name}: has two results of {id}, {known[id]:g} and {metric.value:g}; give each network "
                "its own --name, or leave one of the folders out"
            )
        known[id] = metric.value
        self.clusters[result.model.name] = cluster_of(result.model.source, result.model.weights_sha256)


def cluster_of(source: str, weights_sha256: str) -> str:
    """What a network belongs to: its recipe without the seed where Assay trained it, else its weights.

    Args:
        source: as its card has it.
        weights_sha256: of its weights.
    """
    training = StatedTraining.read(source)
    return weights_sha256 if training is None else str(replace(training, recipe_sha256=None))


def study_table(
    track: Track, results: Sequence[ResultDocument], alignments: Mapping[str, float] | None = None
) -> StudyTable:
    """The table of a track.

    Args:
        track: whose tasks are looked for.
        results: of runs; results of other tasks are ignored.
        alignments: mean alignment by the weights' SHA-256 (:mod:`assay.saliency.alignment`).

    Raises:
        UserError: a model has two results of one task that differ.
    """
    largest_first = reversed(Scale)
    tasks = list(dict.fromkeys(task for scale in largest_first for task in track.at(scale).tasks))
    gathered = _Gathered()
    asked = sorted((each for each in results if each.task in tasks), key=lambda each: tasks.index(each.task))
    reasons = [_unfit(result) for result in asked]
    fit = [result for result, why in zip(asked, reasons, strict=True) if why is None]
    # Only answers to one question compare: the question that most models of the task were asked.
    usual = {task: _usual_question([each for each in fit if each.task == task]) for task in tasks}
    for result, why in zip(asked, reasons, strict=True):
        if why is None and _question(result) != usual[result.task]:
            why = "is of other units, other data or another spec than most models' results of this task"
        if why is not None:
            gathered.left_out.append(f"{result.model.name}, {result.task}: {why}")
            continue
        metric, clean = result.headline_metric, _named(result, CLEAN)
        assert metric is not None
        gathered.take(result, result.task, metric)
        if clean is not None and clean.value is not None:
            gathered.take(result, CLEAN, clean)
    for result in results:
        known = gathered.figures.get(result.model.name)
        if known is not None and result.model.weights_sha256 in (alignments or {}):
            known[ALIGNMENT] = (alignments or {})[result.model.weights_sha256]
            gathered.measures[ALIGNMENT] = Measure(
                ALIGNMENT, "Alignment of gradient and image", "pixels", "up"
            )
    order = [CLEAN, *tasks, ALIGNMENT]
    measures = sorted(gathered.measures.values(), key=lambda measure: order.index(measure.id))
    return StudyTable(
        told_apart(measures),
        tuple(
            StudiedModel(name, gathered.clusters[name], figures)
            for name, figures in sorted(gathered.figures.items())
        ),
        tuple(dict.fromkeys(gathered.left_out)),
    )


def told_apart(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """The measures; where two have one title, each has its task's name behind it."""
    counted = Counter(measure.title for measure in measures)
    return tuple(
        replace(measure, title=f"{measure.title} ({measure.id})") if counted[measure.title] > 1 else measure
        for measure in measures
    )


def _question(result: ResultDocument) -> tuple[str, str, int]:
    return result.spec_sha256, result.data.sha256, result.coverage.done


def _usual_question(results: Sequence[ResultDocument]) -> tuple[str, str, int] | None:
    """What most of a task's results answer; of as many, what more units answer."""
    counted = Counter(map(_question, results))
    return max(counted, key=lambda question: (counted[question], question[2]), default=None)


def _named(result: ResultDocument, name: str) -> Metric | None:
    return next((metric for metric in result.metrics if metric.name == name), None)


def _unfit(result: ResultDocument) -> str | None:
    """Why the result's headline says nothing here, or None."""
    if result.status is Status.NOT_APPLICABLE:
        return f"does not apply ({result.reason})"
    if result.status is not Status.COMPLETE:
        return f"only {result.coverage.done} of {result.coverage.units} units are done"
    metric = result.headline_metric
    if metric is None or metric.value is None:
        return "has no headline"
    task = family(result.family)
    doubts = [guard.name for guard in result.failed_guards if task.casts_doubt(guard.name, metric.name)]
    return f"failed {', '.join(doubts)}" if doubts else None
