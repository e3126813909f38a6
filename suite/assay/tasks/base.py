"""The task protocol: what a family implements, and all that the runner, the tables and the page know of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args

from pydantic import JsonValue, TypeAdapter

from assay.common.errors import UserError
from assay.common.resampling import PairedEstimate
from assay.data.draw import Drawable
from assay.data.layouts.base import UNLABELLED
from assay.results.document import Guard, Metric, ModelCard, TrainingOverlap
from assay.results.evidence import Evidence
from assay.tasks.shared.curves import ModelCurves
from assay.tasks.shared.images import DataSource, Labelled, label_space_mismatch, open_images, refuse_unfit
from assay.tasks.shared.loading import LoadedPicture
from assay.tasks.shared.plausible import ExpectedAccuracy
from assay.tasks.shared.records import (
    Figure,
    NotApplicableError,
    Record,
    RunContext,
    Summary,
    Unit,
    clean_records,
    image_units,
)
from assay.tasks.shared.training_images import not_trained_on
from assay.tasks.task_spec import TaskSpec
from assay.tasks.witness import SpecT, Witness

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.data.layouts import Sample
    from assay.data.manifest import DataManifest
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel

__all__ = [
    "DataSets",
    "Figure",
    "NotApplicableError",
    "Record",
    "RunContext",
    "SpecT",
    "Summary",
    "Task",
    "Unit",
    "clean_records",
    "image_units",
    "summary_of",
]  # a family takes all that it needs from here

DataT = TypeVar("DataT")


class DataSets(ABC):
    """Data sets of a family's own kind, beside those of labelled pictures.

    Attributes:
        kind: what a manifest of this kind says in its field ``kind``.
    """

    kind: str

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Those that are shipped."""

    @abstractmethod
    def load(self, name_or_path: str) -> "DataManifest":
        """A manifest, validated.

        Raises:
            UserError: unknown name, or no valid manifest.
        """

    @abstractmethod
    def available(self, manifest: Any, roots: Sequence[Path]) -> str | None:
        """Why the data are not here, or None."""


class Task(ABC, Generic[SpecT, DataT]):
    """One family. It must define what is abstract here, and redefines the rest only where it differs.

    Attributes:
        spec_type: the model of its YAML files; its field ``family`` gives the family's name.
        record_version: raised whenever today's records would differ from older ones.
        pooling_version: raised where only records of networks with max pooling differ; None: they never did.
        dtypes: the precisions that leave its figures their meaning.
        record_columns: the columns of its CSV that come first.
        record_values: the strict model of a record's values; records from strangers are checked against it.
        scored_files: patterns (as in a shell) of the records' files that :meth:`summarise` reads; they travel with the
            records.
        switches: fields of the spec that an option of ``assay run`` may turn on; what is measured stays the same.
        no_own_pictures: why it cannot score a user's own pictures, or None.
        no_own_answers: why `labels: predicted` has no meaning in it, or None.
        meaning: one plain sentence about its headline, for readers of a run's card.
        witness: how files that a run saved bear out a submission's records, or None.
        data_sets: its own kind of data sets, or None where it takes labelled pictures.
        curves: which of its figures make a curve per model, for a chart of several models, or None.
        attackers: the field of its specs that names networks which attack (``outer.inner``), or None.
        attacked: whether its figures are of pictures under attack, which trainings are made for.
        trained_for: words in the titles of other trainings that are made for its figures.
    """

    spec_type: type[SpecT]
    record_version: int = 1
    pooling_version: int | None = None
    dtypes: tuple[str, ...] = ("float32",)
    record_columns: tuple[str, ...] = ("unit_id",)
    record_values: TypeAdapter[Any] = TypeAdapter(dict[str, JsonValue])
    scored_files: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    no_own_pictures: str | None = None
    no_own_answers: str | None = None
    meaning: str = ""
    witness: Witness[SpecT] | None = None
    data_sets: DataSets | None = None
    curves: ModelCurves | None = None
    attackers: str | None = None
    attacked: bool = False
    trained_for: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The family's name, as its specs state it."""
        (name,) = get_args(self.spec_type.model_fields["family"].annotation)
        return str(name)

    def open_data(self, spec: SpecT, source: DataSource) -> DataT:
        """The data that the spec names, with hashes verified; a data set of labelled pictures."""
        data: Any = open_images(source)
        return cast(DataT, data)

    def not_applicable(self, spec: SpecT, model: "ModelInfo", data: DataT) -> str | None:
        """Why the task has no meaning for this model (label space, input, layers), or None."""
        return label_space_mismatch(model, cast(Labelled, data))

    def check_pictures(self, spec: SpecT, model: "ModelInfo", data: DataT) -> None:
        """Refuse, before any work, a network that takes none of the data's pictures; it is not loaded.

        Raises:
            UserError: what the network says of a picture.
        """
        refuse_unfit(model, data)

    def check_network(self, spec: SpecT, load: "Callable[[], LoadedModel]") -> None:
        """Refuse, before any work, what only the network itself shows to be wrong. By default nothing is refused.

        ``load`` gives the network; it is called only where the spec needs such a look.

        Raises:
            UserError: the spec asks for something that the network does not have.
        """

    def chunk_units(self, spec: SpecT) -> int:
        """Units that are computed and stored together; in a job's key."""
        return 1

    def batch_size(self, input_shape: tuple[int, int, int], device: str) -> int:
        """Images in one pass where the user names no number; no part of the answer."""
        return 16

    def units_together(self, spec: SpecT, batch_size: int) -> int:
        """Units that fill passes of ``batch_size`` images where the device is no CPU; whole chunks are made of them.

        By default a chunk's own, for families that fill a pass with what one unit asks for.
        """
        return self.chunk_units(spec)

    def host_only(self, spec: SpecT) -> str | None:
        """Why all of the work is done on the host on every device, or None; such a job is given no GPU."""
        return None

    def on_host(self, spec: SpecT) -> str | None:
        """What is computed on the host beside the device, in words for the provenance, or None."""
        return None

    @abstractmethod
    def units(self, spec: SpecT, data: DataT) -> Sequence[Unit]:
        """All units, in a stable order; :func:`image_units` where a unit is an image."""

    def needs_labels(self, spec: SpecT) -> bool:
        """Whether pictures must have labels; not where a spec asks if the network's own answer stays."""
        return True

    def shown(self, data: DataT, unit: Unit) -> "Sequence[tuple[Dataset, Sample]]":
        """The pictures of a data set that the unit is about: its payload, where that is one."""
        if not isinstance(getattr(unit.payload, "label", None), int):
            return ()
        return [(cast("Dataset", data), unit.payload)]

    def drawn_as(self, data: DataT, unit: Unit) -> Drawable:
        """What ``--limit`` counts, with its class: the first picture that the unit is about, else the unit itself.

        Units of one such thing are taken or left together.
        """
        for _, sample in self.shown(data, unit):
            return Drawable(sample.unit_id, None if sample.label == UNLABELLED else sample.label)
        return Drawable(unit.id)

    def pictures(self, spec: SpecT, model: "LoadedModel", data: DataT, unit: Unit) -> Sequence[LoadedPicture]:
        """The pictures that :meth:`run` takes from its loader for the unit, in that order, to be loaded ahead."""
        return [LoadedPicture(model, images, sample) for images, sample in self.shown(data, unit)]

    @abstractmethod
    def run(
        self, spec: SpecT, model: "LoadedModel", data: DataT, units: Sequence[Unit], context: RunContext
    ) -> Iterator[Record]:
        """One record per unit, in the order of ``units``."""

    @abstractmethod
    def summarise(self, spec: SpecT, records: Sequence[Record]) -> Summary:
        """Metrics and guards; pure, and without torch."""

    def metrics(self, spec: SpecT, records: Sequence[Record]) -> Iterator[Metric]:
        """The metrics of :meth:`summarise`, one after another; who wants only the first pays for these alone."""
        yield from self.summarise(spec, records).metrics

    def lacks(self, spec: SpecT, record: Record) -> str | None:
        """What a record lacks of what the spec asks, in words, or None; its values are of :attr:`record_values`."""
        return None

    def headline_title(self, spec: SpecT) -> str:
        """What people call the figure that ranks, before anything is computed; "" where none does."""
        key = spec.headline_key or ""
        return next(
            (metric.heading for metric in self.summarise(spec, ()).metrics if metric.name == key), key
        )

    def plausible(self, spec: SpecT, records: Sequence[Record], expected: ExpectedAccuracy) -> Guard | None:
        """Whether the clean answers can be what the model's maker meant; None where no label is scored."""
        return None

    def evidence(self, metric: str) -> Evidence:
        """What a figure rests on, by its name: a proof, or what an attack or a search found; else it is measured."""
        return ""

    def casts_doubt(self, guard: str, metric: str) -> bool:
        """Whether a guard's failure speaks against a metric of the same result, both by name."""
        return True

    def means(self, headline: str, figures: Iterable[str]) -> str:
        """The sentence on a result's headline; :attr:`meaning`, where all specs of the family mean one thing.

        Args:
            headline: the name of the metric that ranks.
            figures: the names of all of the result's metrics.
        """
        return self.meaning

    def averaged(self, spec: SpecT, records: Sequence[Record]) -> Mapping[str, Mapping[str, float]]:
        """For each metric that is a mean over something else than units (shapes): the figures that it averages.

        By the metric's name, then by what they are averaged over. Two networks are compared pair by pair with them.
        """
        return {}

    def paired(self, spec: SpecT, a: Sequence[Record], b: Sequence[Record]) -> Mapping[str, PairedEstimate]:
        """Differences of figures that units and :meth:`averaged` do not give, by the metric's name.

        Args:
            spec: of both.
            a: records without an error.
            b: the same units' of another network, in the same order.
        """
        return {}

    def archive(self, path: Path) -> Mapping[str, Mapping[str, float]]:
        """Figures from the authors' own results, by ``network:quantity:method``, then by what they average over.

        Raises:
            UserError: the family reads no archive, or the file is of another form.
        """
        raise UserError(f"{path}: the family {self.family} reads no archive of its authors; leave it out")

    def figures(self, spec: SpecT, records: Sequence[Record]) -> Sequence[Figure]:
        """The pictures that a reader would want."""
        return ()

    def rows(self, spec: SpecT, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """The records as CSV rows, :attr:`record_columns` first; one per record."""
        return [{"unit_id": record.unit_id, **record.values, "error": record.error} for record in records]


def summary_of(
    task: Task[Any, Any],
    spec: TaskSpec,
    records: Sequence[Record],
    model: ModelCard,
    data: str,
    training: TrainingOverlap | None = None,
) -> Summary:
    """The family's summary, and the guards that all families share: on labels, and on pictures seen in training.

    Args:
        task: the family.
        spec: of the job.
        records: those without an error.
        model: as the job's document has it.
        data: the name of the job's data set.
        training: the units of pictures that the network was trained on; None where nothing is known of them.
    """
    summary = task.summarise(spec, records)
    guards = [*summary.guards]
    plausible = task.plausible(spec, records, ExpectedAccuracy.of(model, data))
    if plausible is not None:
        guards.append(plausible)
    if training is not None:
        ids = [record.unit_id for record in records]
        guards.append(not_trained_on(training, ids, lambda: _unseen(task, spec, records, training)))
    return Summary(summary.metrics, tuple(guards))


def _unseen(
    task: Task[Any, Any], spec: TaskSpec, records: Sequence[Record], training: TrainingOverlap
) -> Metric | None:
    """The headline of the units that are of no training picture."""
    seen = frozenset(training.units)
    rest = task.summarise(spec, [record for record in records if record.unit_id not in seen])
    return next((metric for metric in rest.metrics if metric.name == spec.headline_key), None)
