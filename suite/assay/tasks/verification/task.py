"""Proved attention and classification robustness, as a family of the task protocol."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.data.layouts.base import UNLABELLED
from assay.results.document import Guard
from assay.results.evidence import Evidence
from assay.tasks.base import Figure, Record, RunContext, Summary, Task, Unit
from assay.tasks.shared.images import DataSource, label_space_mismatch, open_images
from assay.tasks.shared.passes import images_in_a_pass
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy
from assay.tasks.verification.spec import (
    RELATIVE_SUP,
    RELATIVE_SUP_FOUND,
    WITHIN_QUARTER_SEEN,
    VerificationSpec,
)
from assay.tasks.verification.summary import summarise, without_labels
from assay.tasks.verification.titles import combination_words, evidence_of
from assay.tasks.verification.values import RECORD_VALUES, lacks

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.data.layouts import Sample
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


PROVED_ON_HOST = "the proof in float64, which lists and cuts cells and runs no passes of pictures"

_TITLES = {
    "regions.png": "Where the property holds (blue), fails (red), or fails in part of a cell (yellow)",
    "saliency.png": "Saliency maps: actual, expected and their difference",
    "ray.png": "Attention inconsistency from the lowest to the highest corner of the range",
}


_SEARCHED_TITLES = {
    "saliency.png": "Heat maps ({}): actual, expected and their difference; searched, nothing proved",
    "ray.png": "Attention inconsistency ({}) from the lowest to the highest corner; searched, nothing proved",
}
_UNPROVED = "Nothing is proved: other changes in the range may move it further."
_MEANINGS = {
    RELATIVE_SUP: "verification: how far what the network looks at moves under the worst change in the range, as a "
    "share of itself, in the median image.",
    RELATIVE_SUP_FOUND: "verification: how far what the network looks at was moved by the worst change that was found, "
    f"as a share of itself, in the median image. {_UNPROVED}",
    WITHIN_QUARTER_SEEN: "verification: the share of the changes that were tried for which what the network looks at "
    f"moves by a quarter at the most. {_UNPROVED}",
}


def _title(record: Record, name: str) -> str:
    picture = name.rpartition("/")[2]
    if "verifier" in record.values:
        return _SEARCHED_TITLES[picture].format(record.values["saliency"])
    return _TITLES[picture]


def _caption(record: Record) -> str:
    values = record.values
    if "verifier" in values:
        return (
            f"{values['points']} points looked at; found: attention inconsistency up to {values['sup_ai']:.4g}, "
            f"margin down to {values['min_margin']:.4g}"
        )
    if values["sup_ai"] is None:
        return "nothing was decided before the time-out"
    return (
        f"{values['cells']} activation cells; proved: attention inconsistency at most {values['sup_ai']:.4g}, "
        f"margin at least {values['min_margin']:.4g}"
    )


class VerificationTask(Task[VerificationSpec, "Dataset"]):
    """For which brightness, patch and translation changes is the attention provably unchanged?

    The seconds that an image takes are part of this family's answer (a time-out can leave it ``unknown``), so its
    records are equal between runs in everything but them.
    """

    meaning = (
        "verification: the share of all changes in the range for which what the network looks at provably "
        "moves by a quarter at the most."
    )
    record_version = 3
    spec_type = VerificationSpec
    record_columns = (
        "unit_id", "label", "perturbation", "property", "verdict", "sup_ai", "theta_sup", "min_margin", "theta_min",
        "share_satisfied", "share_violated", "share_partial", "cells", "seconds", "error",
    )  # fmt: skip
    record_values = RECORD_VALUES

    def open_data(self, spec: VerificationSpec, source: DataSource) -> "Dataset":
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.verification.evaluate import check_perturbations

        check_perturbations(spec)
        return open_images(source)

    def not_applicable(self, spec: VerificationSpec, model: "ModelInfo", data: "Dataset") -> str | None:
        """See :class:`assay.tasks.base.Task`; what the exact verifier cannot take is named when the network is read.

        Raises:
            UserError: a range leaves the network's pictures.
        """
        reason = label_space_mismatch(model, data)
        if reason is None:
            from assay.tasks.verification.evaluate import check_pictures

            check_pictures(spec, model.input_shape)
        return reason

    def chunk_units(self, spec: VerificationSpec) -> int:
        """See :class:`assay.tasks.base.Task`."""
        return 4 if spec.verifier == "exact" else 10

    def batch_size(self, input_shape: tuple[int, int, int], device: str) -> int:
        """Images in one pass of the search; the exact verifier has no passes."""
        return images_in_a_pass(input_shape, device, cpu_values=4 * 3 * 224 * 224, most_on_cpu=512, most=512)

    def host_only(self, spec: VerificationSpec) -> str | None:
        """See :class:`assay.tasks.base.Task`."""
        return PROVED_ON_HOST if spec.verifier == "exact" else None

    def on_host(self, spec: VerificationSpec) -> str | None:
        """See :class:`assay.tasks.base.Task`."""
        words = "the choice of boxes, points and grids, some numbers for each image"
        return (
            f"{words}; where `auto` takes the exact verifier: {PROVED_ON_HOST}"
            if spec.verifier == "auto"
            else words
        )

    def means(self, headline: str, figures: Iterable[str]) -> str:
        """See :class:`assay.tasks.base.Task`; what was proved and what was only looked for are different sentences."""
        return _MEANINGS.get(headline.rpartition(":")[2], self.meaning)

    def evidence(self, metric: str) -> Evidence:
        """See :class:`assay.tasks.base.Task`."""
        return evidence_of(metric)

    def units(self, spec: VerificationSpec, data: "Dataset") -> list[Unit]:
        """One unit per image and combination of perturbations."""
        return [
            Unit(f"{sample.unit_id} {name}", (sample, index))
            for sample in data.samples[: spec.images]
            for index, name in enumerate(spec.names)
        ]

    def needs_labels(self, spec: VerificationSpec) -> bool:
        """Never: it asks whether the network's own answer and attention stay; labels are there for a guard alone."""
        return False

    def shown(self, data: "Dataset", unit: Unit) -> "list[tuple[Dataset, Sample]]":
        """The unit's image."""
        return [(data, unit.payload[0])]

    def run(
        self,
        spec: VerificationSpec,
        model: "LoadedModel",
        data: "Dataset",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.verification.choose import chooser

        if chooser.takes_exact(spec, model, data):
            from assay.tasks.verification.evaluate import evaluate
        else:
            from assay.tasks.verification.search_evaluate import evaluate
        yield from evaluate(spec, model, data, units, context)

    def summarise(self, spec: VerificationSpec, records: Sequence[Record]) -> Summary:
        """See :func:`assay.tasks.verification.summary.summarise`."""
        return summarise(spec, records)

    def lacks(self, spec: VerificationSpec, record: Record) -> str | None:
        """See :func:`assay.tasks.verification.values.lacks`."""
        return lacks(spec, record.values)

    def plausible(
        self, spec: VerificationSpec, records: Sequence[Record], expected: ExpectedAccuracy
    ) -> Guard | None:
        """See :class:`assay.tasks.base.Task`; an image counts once for all its combinations."""
        images = {record.values["image"]: record.values for record in records}
        if without_labels(records):
            return None
        return plausible_accuracy(
            [values["label"] == values["predicted"] for values in images.values()], expected
        )

    def figures(self, spec: VerificationSpec, records: Sequence[Record]) -> Sequence[Figure]:
        """The region maps, saliency panels and rays that are stored beside the first images' records."""
        words = combination_words(spec)
        return [
            Figure(
                name=name,
                title=_title(record, name),
                caption=f"Image {record.values['image']}, {words[record.values['perturbation']]}: {_caption(record)}",
                kind="png",
                content=record.files[name],
            )
            for record in records
            for name in record.files
        ]

    def rows(self, spec: VerificationSpec, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """One row per image, combination and property; theta as a JSON list in the order of the perturbations."""
        for record in records:
            if record.error is not None:
                yield {"unit_id": record.unit_id, "error": record.error}
                continue
            columns = _searched_columns if "verifier" in record.values else _proved_columns
            for name, found in record.values["properties"].items():
                yield _row_of(record.values, name, found["verdict"]) | columns(record.values, found)


def _row_of(values: Mapping[str, Any], name: str, verdict: str) -> dict[str, Any]:
    """The columns of a property that a proof and a search share."""
    return {
        "unit_id": values["image"],
        "label": None if values["label"] == UNLABELLED else values["label"],
        "property": name,
        "verdict": verdict,
        "theta_sup": json.dumps(values["theta_sup"]),
        "theta_min": json.dumps(values["theta_min"]),
    }


def _proved_columns(values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    shares = {f"share_{part}": found[part] for part in ("satisfied", "violated", "partial")}
    own = ("perturbation", "sup_ai", "min_margin", "cells", "seconds")
    return shares | {column: values[column] for column in own}


def _searched_columns(values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of what was proved stay empty: what was looked for has no share of the range."""
    own = (
        "perturbation", "sup_ai", "min_margin", "verifier", "saliency", "sup_ai_relative", "points",
    )  # fmt: skip
    return {"share_seen": found["seen"]} | {column: values[column] for column in own}


TASK = VerificationTask()
