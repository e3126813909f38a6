"""Neuron consistency, as a family of the task protocol."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.common.resampling import PairedEstimate
from assay.results.document import Guard
from assay.tasks.base import Figure, Record, RunContext, Summary, Task, Unit
from assay.tasks.consistency.spec import ConsistencySpec
from assay.tasks.consistency.values import RECORD_VALUES, lacks
from assay.tasks.shared.images import DataSource, label_space_mismatch, open_images, refuse_unfit
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.data.layouts import Sample
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel
    from assay.tasks.consistency.sets import ConsistencyData


class ConsistencyTask(Task[ConsistencySpec, "ConsistencyData"]):
    """Does a neuron mean one thing, on real and on adversarial images?"""

    meaning = (
        "consistency: how much more alike the images are that excite a neuron than images drawn at random."
    )
    record_version = 2
    trained_for = ("consistent loss",)
    spec_type = ConsistencySpec
    record_columns = ("layer", "neuron", "consis", "consis_adv", "floor", "floor_adv", "top_class", "error")
    scored_files = ("blocks/*.npz", "hierarchy.json")
    record_values = RECORD_VALUES
    attackers = "adversarial.ensemble"
    no_own_answers = (
        "single neurons are held against what pictures show; the network's answers are made of them"
    )

    def open_data(self, spec: ConsistencySpec, source: DataSource) -> "ConsistencyData":
        """The real images, the hierarchy and the adversarial set. A unit makes what the set still lacks."""
        from assay.tasks.consistency.opening import open_data

        images = open_images(source)
        images.manifest.require_labels(self.no_own_answers)
        return open_data(spec, images, source)

    def not_applicable(
        self, spec: ConsistencySpec, model: "ModelInfo", data: "ConsistencyData"
    ) -> str | None:
        """Concepts are independent of a model's classes; labels are not."""
        has_concepts = bool(data.real.samples[0].concepts)
        return None if has_concepts else label_space_mismatch(model, data.real)

    def check_pictures(self, spec: ConsistencySpec, model: "ModelInfo", data: "ConsistencyData") -> None:
        """The network takes both sets."""
        refuse_unfit(model, data.real)
        data.adversarial.refuse_unfit(model)

    def check_network(self, spec: ConsistencySpec, load: "Callable[[], LoadedModel]") -> None:
        """The layers that the spec names are there and give maps or vectors."""
        if spec.layers:
            from assay.tasks.consistency.activations import check_layers

            check_layers(load(), spec.layers)

    def units(self, spec: ConsistencySpec, data: "ConsistencyData") -> list[Unit]:
        """One unit per block of consecutive real images, with the adversarial images made from them."""
        from assay.tasks.consistency.blocks import BLOCK_IMAGES

        count = len(data.real.samples)
        return [
            Unit(f"block-{first // BLOCK_IMAGES:05d}", (first, min(first + BLOCK_IMAGES, count)))
            for first in range(0, count, BLOCK_IMAGES)
        ]

    def shown(self, data: "ConsistencyData", unit: Unit) -> "list[tuple[Dataset, Sample]]":
        """The block's real images; the adversarial ones may have yet to be made."""
        return [(data.real, sample) for sample in data.real.samples[slice(*unit.payload)]]

    def run(
        self,
        spec: ConsistencySpec,
        model: "LoadedModel",
        data: "ConsistencyData",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """See :func:`assay.tasks.consistency.evaluate.evaluate`."""
        from assay.tasks.consistency.evaluate import evaluate

        yield from evaluate(spec, model, data, units, context)

    def on_host(self, spec: ConsistencySpec) -> str:
        """See :class:`assay.tasks.base.Task`."""
        return "each neuron's top images, distances between concepts, and pictures"

    def summarise(self, spec: ConsistencySpec, records: Sequence[Record]) -> Summary:
        """See :func:`assay.tasks.consistency.summary.summarise`."""
        from assay.tasks.consistency.summary import summarise

        return summarise(spec, records)

    def headline_title(self, spec: ConsistencySpec) -> str:
        """See :class:`assay.tasks.base.Task`; without images there are no figures to look at."""
        from assay.tasks.consistency.titles import title_of

        return title_of(str(spec.headline_key))

    def lacks(self, spec: ConsistencySpec, record: Record) -> str | None:
        """See :func:`assay.tasks.consistency.values.lacks`."""
        return lacks(spec, record)

    def plausible(
        self, spec: ConsistencySpec, records: Sequence[Record], expected: ExpectedAccuracy
    ) -> Guard | None:
        """See :class:`assay.tasks.base.Task`; concepts are no labels of the model's."""
        correct = [record.values["real"].get("correct") for record in records]
        if None in correct:
            return None
        return plausible_accuracy([right for block in correct for right in block], expected)

    def paired(
        self, spec: ConsistencySpec, a: Sequence[Record], b: Sequence[Record]
    ) -> Mapping[str, PairedEstimate]:
        """The headline layer's figures; see :func:`assay.tasks.consistency.scores.differences`."""
        from assay.tasks.consistency.scores import Scoring, differences

        one, other = (Scoring.where_possible(spec, records) for records in (a, b))
        return {} if one is None or other is None else differences(one, other)

    def figures(self, spec: ConsistencySpec, records: Sequence[Record]) -> Sequence[Figure]:
        """See :func:`assay.tasks.consistency.pictures.figures`."""
        from assay.tasks.consistency.pictures import figures

        return figures(spec, records)

    def rows(self, spec: ConsistencySpec, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """See :func:`assay.tasks.consistency.summary.rows`."""
        from assay.tasks.consistency.summary import rows

        return rows(spec, records)


TASK = ConsistencyTask()
