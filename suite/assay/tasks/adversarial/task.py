"""Accuracy under attack, as a family of the task protocol."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Any

from assay.results.document import Guard, Metric
from assay.results.evidence import Evidence
from assay.tasks.adversarial.demands import (
    attacked_in_a_pass,
    check_classes,
    check_foreign,
    check_sources,
    check_targets,
    with_sources,
)
from assay.tasks.adversarial.guards import casts_doubt
from assay.tasks.adversarial.records import RECORD_VALUES, lacks, state
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import (
    broken_at,
    broken_by,
    lowered,
    metrics,
    nearest_of,
    outcome,
    summarise,
    worst_outcome,
    worst_smallest_eps,
)
from assay.tasks.base import Figure, Record, RunContext, Summary, Task, Unit, clean_records, image_units
from assay.tasks.shared.images import DataSource, label_space_mismatch, open_images
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy
from assay.tasks.witness import FoundImage, Inspected, SentRecords, SpotFinding, Witness

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


_COSTS = ("forward_passes", "backward_passes")
BATCHES_TOGETHER = 4  # on a device: more fill its passes better, and are lost together where a run is killed


class SavedPictures(Witness[AdversarialSpec]):
    """Adversarial pictures support a submission, and a short attack of our own tries those that are said to stand."""

    def saved(self, spec: AdversarialSpec) -> bool:
        """See :class:`assay.tasks.base.Witness`."""
        return spec.save_adversarial

    def look(self, sent: SentRecords[AdversarialSpec]) -> Inspected:
        """See :func:`assay.tasks.adversarial.saved.look`; no attack is imported."""
        from assay.tasks.adversarial.saved import look

        return look(sent)

    def spot_check(self, sent: SentRecords[AdversarialSpec], rank_by: str, seed: str) -> SpotFinding | None:
        """See :func:`assay.tasks.adversarial.objections.spot_check`."""
        from assay.tasks.adversarial.objections import spot_check

        return spot_check(sent, rank_by, seed)

    def challenge(self, sent: SentRecords[AdversarialSpec]) -> Mapping[str, float]:
        """See :func:`assay.tasks.adversarial.objections.distances`."""
        from assay.tasks.adversarial.objections import distances

        return distances(sent)

    def lowered(
        self, spec: AdversarialSpec, records: Sequence[Record], found: Mapping[str, float]
    ) -> tuple[Sequence[Metric], Sequence[str]]:
        """See :func:`assay.tasks.adversarial.summary.lowered`."""
        return lowered(spec, records, found)

    def best_known(
        self, spec: AdversarialSpec, records: Sequence[Record], found: Mapping[str, FoundImage]
    ) -> Iterable[Mapping[str, Any]]:
        """See :class:`assay.tasks.witness.Witness`; one row per image and eps, with ``best known`` as its method."""
        for record in clean_records(records):
            yield from _best_known_rows(spec, record, found.get(record.unit_id))


class AdversarialTask(Task[AdversarialSpec, "Dataset"]):
    """Does the label survive a small worst-case perturbation?"""

    meaning = (
        "adversarial: how large a change a picture withstands on average, under the worst of the attacks that were "
        "tried; a stronger one may find less."
    )
    record_version = 4
    attacked = True
    dtypes = ("float32", "bfloat16", "autocast")
    spec_type = AdversarialSpec
    record_columns = (
        "unit_id", "label", "predicted", "clean_correct", "method", "eps", "adversarial_predicted",
        "adversarial_correct", "linf", "steps_used", "smallest_eps", "error",
    )  # fmt: skip
    record_values = RECORD_VALUES
    witness = SavedPictures()
    switches = ("save_adversarial",)

    def open_data(self, spec: AdversarialSpec, source: DataSource) -> "Dataset":
        """See :class:`assay.tasks.base.Task`."""
        data = open_images(source)
        if any(attack.targeted == "dataset" for attack in spec.attacks):
            check_targets(data)
        check_foreign(spec)
        return with_sources(spec, data, source.trust)

    def not_applicable(self, spec: AdversarialSpec, model: "ModelInfo", data: "Dataset") -> str | None:
        """See :class:`assay.tasks.base.Task`.

        Raises:
            UserError: the attacks cannot be made on this model.
        """
        reason = label_space_mismatch(model, data)
        if reason is None:
            check_classes(spec, model.num_classes)
            check_sources(spec, model)
        return reason

    def chunk_units(self, spec: AdversarialSpec) -> int:
        """See :class:`assay.tasks.base.Task`."""
        return spec.chunk_units

    def batch_size(self, input_shape: tuple[int, int, int], device: str) -> int:
        """See :func:`assay.tasks.adversarial.demands.attacked_in_a_pass`."""
        return attacked_in_a_pass(input_shape, device)

    def units_together(self, spec: AdversarialSpec, batch_size: int) -> int:
        """Several batches of images: as some fall, others take their places in the passes."""
        return BATCHES_TOGETHER * batch_size

    def needs_labels(self, spec: AdversarialSpec) -> bool:
        """See :class:`assay.tasks.base.Task`."""
        return not spec.predicted

    def means(self, headline: str, figures: Iterable[str]) -> str:
        """See :class:`assay.tasks.base.Task`."""
        if any("agreement" in name for name in figures):
            return (
                "adversarial: how large a change leaves the network's own clean answer, right or wrong, as it was, "
                "under the worst of the attacks that were tried; a stronger one may find less."
            )
        return self.meaning

    def evidence(self, metric: str) -> Evidence:
        """See :class:`assay.tasks.base.Task`; figures of attacks name these, and at eps 0 nothing was attacked."""
        if metric.startswith("certified_"):
            return "proved"
        return "found" if ":" in metric and not metric.endswith("@0") else ""

    def units(self, spec: AdversarialSpec, data: "Dataset") -> list[Unit]:
        """One unit per image."""
        return image_units(data)

    def run(
        self,
        spec: AdversarialSpec,
        model: "LoadedModel",
        data: "Dataset",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.adversarial.evaluate import evaluate

        yield from evaluate(spec, model, data, units, context)

    def summarise(self, spec: AdversarialSpec, records: Sequence[Record]) -> Summary:
        """See :func:`assay.tasks.adversarial.summary.summarise`."""
        return summarise(spec, records)

    def metrics(self, spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Metric]:
        """See :func:`assay.tasks.adversarial.summary.metrics`."""
        return metrics(spec, records)

    def lacks(self, spec: AdversarialSpec, record: Record) -> str | None:
        """See :func:`assay.tasks.adversarial.records.lacks`."""
        return lacks(spec, record.values)

    def plausible(
        self, spec: AdversarialSpec, records: Sequence[Record], expected: ExpectedAccuracy
    ) -> Guard | None:
        """See :class:`assay.tasks.base.Task`."""
        if spec.predicted:
            return None
        return plausible_accuracy(
            [bool(record.values["clean_correct"]) for record in records], expected, spec.top_k
        )

    def casts_doubt(self, guard: str, metric: str) -> bool:
        """See :func:`assay.tasks.adversarial.guards.casts_doubt`."""
        return casts_doubt(guard, metric)

    def figures(self, spec: AdversarialSpec, records: Sequence[Record]) -> Sequence[Figure]:
        """See :func:`assay.tasks.adversarial.figures.figures`."""
        from assay.tasks.adversarial.figures import figures

        return figures(spec, records)

    def rows(self, spec: AdversarialSpec, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """One row per image, method and eps, ``worst`` among the methods where there are several.

        An image that failed has one row with its error.
        """
        for record in records:
            if record.error is not None:
                yield {"unit_id": record.unit_id, "error": record.error}
            else:
                yield from _csv_rows(spec, record)


def _csv_rows(spec: AdversarialSpec, record: Record) -> Iterator[Mapping[str, Any]]:
    head = _head(record)
    for attack in spec.attacks:
        found = {eps: outcome(record, attack.series, eps) for eps in spec.eps}
        smallest = record.values["smallest_eps"][attack.series]
        yield from _method_rows(head | {"method": attack.series}, smallest, found)
    if len(spec.attacks) > 1 or spec.proofs is not None or spec.curve == "exact":
        worst = {
            eps: {**worst_outcome(spec, record, eps), **_whole_cost(spec, record, eps)} for eps in spec.eps
        }
        rows = _method_rows(head | {"method": "worst"}, worst_smallest_eps(spec, record), worst)
        for eps, row in zip(spec.eps, rows, strict=True):
            yield {**row, **_state(spec, record, eps), "broken_by": broken_by(spec, record, eps)}


def _best_known_rows(
    spec: AdversarialSpec, record: Record, found: FoundImage | None
) -> Iterator[Mapping[str, Any]]:
    """The worst over all attacks and the image that somebody found; an attack that breaks it as early is named."""
    after = record if found is None else broken_at(spec, record, found.distance)
    best: dict[Fraction, Mapping[str, Any]] = {}
    by: dict[Fraction, str | None] = {}
    for eps in spec.eps:
        best[eps], by[eps] = worst_outcome(spec, record, eps), broken_by(spec, record, eps)
        if found is not None and by[eps] is None and broken_by(spec, after, eps) is not None:
            length = found.distance if spec.norm == "linf" else None
            best[eps] = {"predicted": None, "correct": False, "linf": length, "steps": None}
            by[eps] = f"{found.by}, {found.date}"
    rows = _method_rows(_head(record) | {"method": "best known"}, worst_smallest_eps(spec, after), best)
    for eps, row in zip(spec.eps, rows, strict=True):
        yield {**row, **_state(spec, after, eps), "broken_by": by[eps]}


def _head(record: Record) -> dict[str, Any]:
    names = ("label", "predicted", "clean_correct")
    return {"unit_id": record.unit_id, **{name: record.values[name] for name in names}}


def _whole_cost(spec: AdversarialSpec, record: Record, eps: Fraction) -> Mapping[str, int]:
    """The passes of all attacks together, where the spec has them counted."""
    found = [outcome(record, attack.series, eps) for attack in spec.attacks]
    return {name: sum(row[name] for row in found) for name in _COSTS} if spec.count_passes else {}


def _state(spec: AdversarialSpec, record: Record, eps: Fraction) -> Mapping[str, Any]:
    """What some specs tell of an image: the nearest adversarial image, or whether it is broken or proved."""
    if spec.curve == "exact":
        nearest = nearest_of(record)
        return {"nearest": nearest if isfinite(nearest) else None}
    if spec.proofs is None:
        return {}
    by = (record.values["certified"] or {}).get("by") or {}
    return {"state": state(record, eps), "proof": by.get(str(eps))}


def _method_rows(
    head: Mapping[str, Any], smallest: str | None, found: Mapping[Fraction, Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    for eps, row in found.items():
        yield {
            **head,
            "eps": float(eps),
            "adversarial_predicted": row["predicted"],
            "adversarial_correct": row["correct"],
            "linf": row["linf"],
            "steps_used": row["steps"],
            **{name: row[name] for name in _COSTS if name in row},
            "smallest_eps": None if smallest is None else float(Fraction(smallest)),
        }


TASK = AdversarialTask()
