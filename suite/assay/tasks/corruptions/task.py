"""Accuracy on corrupted and shifted pictures, as a family of the task protocol."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.common.resampling import PairedEstimate
from assay.results.document import Guard, Metric
from assay.tasks.base import Figure, Record, RunContext, Summary, Task, Unit
from assay.tasks.corruptions.spec import HEADLINE, CorruptionsSpec
from assay.tasks.corruptions.titles import headline_title
from assay.tasks.corruptions.values import RECORD_VALUES, lacks
from assay.tasks.shared.curves import ModelCurves
from assay.tasks.shared.images import DataSource, label_space_mismatch, open_images
from assay.tasks.shared.loading import LoadedPicture
from assay.tasks.shared.own_answers import as_agreement
from assay.tasks.shared.passes import images_in_a_pass
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy

if TYPE_CHECKING:
    from assay.data.dataset import Dataset, Sample
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


class CorruptionsTask(Task[CorruptionsSpec, "Dataset"]):
    """Does the label survive noise, blur, weather and compression, or another kind of picture?"""

    meaning = "corruptions: the share of right answers in noise, blur, fog or on pictures from another place."
    spec_type = CorruptionsSpec
    record_columns = ("unit_id", "label", "corruption", "severity", "predicted", "correct", "change", "error")
    record_values = RECORD_VALUES
    curves = ModelCurves(
        series="mean",
        start="clean_accuracy",
        title="Mean accuracy over severity, several models",
        x_title="severity (0: clean pictures, where there are any)",
        y_title="accuracy, mean over corruptions",
    )

    def open_data(self, spec: CorruptionsSpec, source: DataSource) -> "Dataset":
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.corruptions.sets import check_classes, images

        data = open_images(source)
        check_classes(spec, data)
        images(spec, data)
        return data

    def not_applicable(self, spec: CorruptionsSpec, model: "ModelInfo", data: "Dataset") -> str | None:
        """See :class:`assay.tasks.base.Task`.

        Raises:
            UserError: a corruption cannot be made of pictures of the model's size.
        """
        reason = label_space_mismatch(model, data)
        if reason is None and spec.pictures == "made":
            from assay.tasks.corruptions.sets import check_size

            check_size(spec, model.input_shape, model.name)
        return reason

    def needs_labels(self, spec: CorruptionsSpec) -> bool:
        """See :class:`assay.tasks.base.Task`."""
        return not spec.predicted

    def means(self, headline: str, figures: Iterable[str]) -> str:
        """See :class:`assay.tasks.base.Task`."""
        if as_agreement(HEADLINE) in figures:
            return (
                "corruptions: how often the answer stays what it was on the clean picture, right or wrong, when this "
                "gets noisy, blurred or foggy."
            )
        return self.meaning

    def batch_size(self, input_shape: tuple[int, int, int], device: str) -> int:
        """16 of 224 x 224 on a CPU, and at most an image's own pictures."""
        return images_in_a_pass(input_shape, device, cpu_values=16 * 3 * 224 * 224, most_on_cpu=100, most=100)

    def units(self, spec: CorruptionsSpec, data: "Dataset") -> list[Unit]:
        """One unit per image, with all its pictures."""
        from assay.tasks.corruptions.sets import images

        return images(spec, data)

    def shown(self, data: "Dataset", unit: Unit) -> "list[tuple[Dataset, Sample]]":
        """The image's clean picture, or its published ones."""
        image = unit.payload
        samples = list(image.published.values()) if image.clean is None else [image.clean]
        return [(data, sample) for sample in samples]

    def pictures(
        self, spec: CorruptionsSpec, model: "LoadedModel", data: "Dataset", unit: Unit
    ) -> Sequence[LoadedPicture]:
        """See :func:`assay.tasks.corruptions.evaluate.pictures_of`."""
        from assay.tasks.corruptions.evaluate import pictures_of

        return pictures_of(spec, model, data, unit.payload)

    def run(
        self,
        spec: CorruptionsSpec,
        model: "LoadedModel",
        data: "Dataset",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """See :func:`assay.tasks.corruptions.evaluate.evaluate`."""
        from assay.tasks.corruptions.evaluate import evaluate

        yield from evaluate(spec, model, data, units, context)

    def on_host(self, spec: CorruptionsSpec) -> str:
        """See :class:`assay.tasks.base.Task`."""
        return "reading and corrupting pictures"

    def summarise(self, spec: CorruptionsSpec, records: Sequence[Record]) -> Summary:
        """See :func:`assay.tasks.corruptions.summary.summarise`."""
        from assay.tasks.corruptions.summary import summarise

        return summarise(spec, records)

    def metrics(self, spec: CorruptionsSpec, records: Sequence[Record]) -> Iterator[Metric]:
        """See :func:`assay.tasks.corruptions.summary.metrics`."""
        from assay.tasks.corruptions.summary import metrics

        return metrics(spec, records)

    def headline_title(self, spec: CorruptionsSpec) -> str:
        """See :class:`assay.tasks.base.Task`."""
        return headline_title(spec)

    def lacks(self, spec: CorruptionsSpec, record: Record) -> str | None:
        """See :func:`assay.tasks.corruptions.values.lacks`."""
        return lacks(spec, record.values)

    def plausible(
        self, spec: CorruptionsSpec, records: Sequence[Record], expected: ExpectedAccuracy
    ) -> Guard | None:
        """See :class:`assay.tasks.base.Task`; a shift has no clean answers to hold against anything."""
        if spec.pictures != "made" or spec.predicted:
            return None
        return plausible_accuracy([bool(record.values["clean_correct"]) for record in records], expected)

    def paired(
        self, spec: CorruptionsSpec, a: Sequence[Record], b: Sequence[Record]
    ) -> Mapping[str, PairedEstimate]:
        """See :func:`assay.tasks.corruptions.paired.paired`."""
        from assay.tasks.corruptions.paired import paired

        return paired(spec, a, b)

    def figures(self, spec: CorruptionsSpec, records: Sequence[Record]) -> Sequence[Figure]:
        """See :func:`assay.tasks.corruptions.figures.figures`."""
        from assay.tasks.corruptions.figures import figures

        return figures(spec, records)

    def rows(self, spec: CorruptionsSpec, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """One row per picture, the clean one at severity 0; an image that failed has one row with its error."""
        for record in records:
            if record.error is not None:
                yield {"unit_id": record.unit_id, "error": record.error}
            else:
                yield from _csv_rows(spec, record)


def _csv_rows(spec: CorruptionsSpec, record: Record) -> Iterator[Mapping[str, Any]]:
    values = record.values
    head = {"unit_id": record.unit_id, "label": values["label"]}
    if values["predicted"] is not None:
        yield {
            **head, "corruption": "clean", "severity": 0, "predicted": values["predicted"],
            "correct": values["clean_correct"],
        }  # fmt: skip
    for name in spec.corruptions:
        changes = (values["changes"] or {}).get(name, [None] * len(spec.severities))
        for severity, answer, change in zip(spec.severities, values["answers"][name], changes, strict=True):
            yield {
                **head, "corruption": name, "severity": severity, "predicted": answer,
                "correct": answer == values["label"], "change": change,
            }  # fmt: skip


TASK = CorruptionsTask()
