"""A job: one model on one task. Its key covers exactly what changes the answer."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.fields import IDENTITY, RUNTIME
from assay.data.draw import Draw
from assay.models.foreign import SHIPPED
from assay.models.foreign import own as trust_of
from assay.results.document import TrainingOverlap
from assay.runner.identity import job_identity, question_identity
from assay.runner.portion import EVERYTHING, Portion
from assay.runner.precision import Positive, Precision, check_dtype, computing
from assay.tasks.base import Task, Unit
from assay.tasks.families import LoadedSpec, family, load_spec
from assay.tasks.shared.images import DataSource
from assay.tasks.shared.own_pictures import OwnFolder, absolute, is_folder, own_folder
from assay.tasks.shared.training_images import training_overlap
from assay.tasks.task_spec import shipped_specs

if TYPE_CHECKING:
    from assay.models.info import ModelInfo, TrainedOn
    from assay.models.loaded import LoadedModel


@dataclass(frozen=True)
class JobRequest:
    """What a user asks for, one model and one task, as plain values that can travel to another process.

    ``limit`` is how many pictures or shapes are asked for, chosen as ``draw`` says. ``switches`` are fields of the spec
    that the command line turns on, such as ``save_adversarial``; ``settings`` are other fields of it, ``KEY=VALUE``
    each. ``data`` are pictures instead of the spec's: a folder with one folder per class, or a data set's name or
    manifest. ``trusted`` are models besides the built-in zoo's that the user lets the spec name. ``name`` is what the
    model's results are filed under, where it is not its own.
    """

    model: str
    task: str
    weights: str | None = None
    limit: Positive | None = None
    precision: Precision = field(default_factory=Precision)
    device: str = "cpu"
    batch_size: Positive | None = None  # None: as the family chooses
    data_roots: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    data: str | None = None
    trusted: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    name: str | None = None
    draw: Draw = Draw.BALANCED

    def filed(self, info: "ModelInfo") -> "ModelInfo":
        """A model's card under the name that its results are filed under."""
        return info if self.name is None else info.model_copy(update={"name": self.name})


# Which fields change the answer, and are in a job's key; a test fails for a field that is on no side.
REQUEST_SIDES: Mapping[str, str] = {
    "model": IDENTITY,  # through its card
    "task": IDENTITY,  # through the spec's identity and the data's hash
    "weights": IDENTITY,  # through their hash
    "limit": IDENTITY,
    "draw": IDENTITY,  # where there is a limit
    "precision": IDENTITY,
    "device": RUNTIME,
    "batch_size": RUNTIME,
    "data_roots": RUNTIME,
    "switches": IDENTITY,  # through the spec's identity
    "data": IDENTITY,  # through the data's hash
    "trusted": RUNTIME,  # the models that it allows are in the spec
    "settings": IDENTITY,  # through the spec's identity
    "name": RUNTIME,  # as the model's own
}


@dataclass(frozen=True)
class JobQuestion:
    """The task's side of a job: its spec, its data, and the units that are asked for."""

    spec: LoadedSpec
    task: Task[Any, Any]
    data: Any
    units: Sequence[Unit]
    all_units: int
    portion: Portion = EVERYTHING
    _overlaps: dict["TrainedOn", TrainingOverlap | None] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def limited(self) -> bool:
        """Whether ``--limit`` left units out."""
        return len(self.units) < self.all_units

    def first(self, count: int) -> frozenset[str]:
        """The ids of the first units; see :class:`assay.tasks.base.RunContext`."""
        return frozenset(unit.id for unit in self.units[:count])

    @property
    def chunk_units(self) -> int:
        """How many units a chunk has."""
        return self.task.chunk_units(self.spec.spec)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The part of a job's identity that all models share."""
        limit = self.portion.identity if self.limited else None
        return question_identity(self.spec.spec, self.task, self.data.sha256, limit)

    def overlap_with(self, trained_on: "TrainedOn", roots: Sequence[Path]) -> TrainingOverlap | None:
        """Which of the units are of these training pictures; None where nothing is known of them.

        Every picture is read for it, so it is found once per network: a job is opened again for each of its chunks.

        Raises:
            UserError: the list of the training pictures cannot be read.
        """
        if trained_on not in self._overlaps:
            shown = ((unit.id, self.task.shown(self.data, unit)) for unit in self.units)
            self._overlaps[trained_on] = training_overlap(trained_on, self.data.manifest.name, shown, roots)
        return self._overlaps[trained_on]

    @cached_property
    def spec_document(self) -> dict[str, Any]:
        """The spec as plain JSON."""
        return self.spec.spec.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class Job:
    """One model on one task, ready to be planned; only the model's card is in memory."""

    request: JobRequest
    question: JobQuestion
    info: "ModelInfo"

    @cached_property
    def names(self) -> tuple[str, str]:
        """Model and task, as results are filed."""
        return self.info.name, self.question.spec.id

    @property
    def title(self) -> str:
        """The job's name for people."""
        return " · ".join(self.names)

    @cached_property
    def not_applicable(self) -> str | None:
        """Why the task has no meaning for this model, or None."""
        return self.question.task.not_applicable(self.question.spec.spec, self.info, self.question.data)

    def check(self) -> None:
        """Find what is wrong before any work starts.

        Raises:
            UserError: the model is at odds with itself, the spec asks for what its network does not have, or the
                network takes no picture of the data.
        """
        if not self.not_applicable:
            task, spec = self.question.task, self.question.spec.spec
            task.check_pictures(spec, self.info, self.question.data)
            task.check_network(spec, lambda: model_of(self.request))

    @property
    def identity(self) -> dict[str, Any]:
        """What changes the answer, as plain JSON; not kept, because a plan holds many thousands of jobs."""
        return self._identity_with(self.training)

    def _identity_with(self, training: TrainingOverlap | None) -> dict[str, Any]:
        card = self.info.model_dump(mode="json")
        precision = self.request.precision.identity()
        return job_identity(self.question.identity, card, precision, self.version, training)

    @property
    def training(self) -> TrainingOverlap | None:
        """Which of the units are of pictures that the network was trained on; None where nothing is known of them.

        Raises:
            UserError: the list of its training pictures cannot be read.
        """
        trained_on = self.info.trained_on
        if trained_on is None or self.not_applicable:
            return None
        return self.question.overlap_with(trained_on, [Path(root) for root in self.request.data_roots])

    @property
    def version(self) -> int | None:
        """The version of the records where it is not the family's ``record_version``."""
        return self.question.task.pooling_version if self.info.max_pooling else None

    @cached_property
    def key(self) -> str:
        """SHA-256 of :attr:`identity`."""
        return canonical_sha256(self.identity)

    @cached_property
    def seed_root(self) -> str:
        """SHA-256 of :attr:`identity` less structure and what guards alone look at: the root of all seeds.

        So a defence around a network's weights meets the random numbers that the network alone met.
        """
        identity = self._identity_with(training=None)
        unseen = ("structure_sha256", "clean_accuracy")
        model = {name: value for name, value in identity["model"].items() if name not in unseen}
        return canonical_sha256({**identity, "model": model})

    @property
    def units(self) -> Sequence[Unit]:
        """The units to compute; none where the task does not apply."""
        return () if self.not_applicable else self.question.units

    @property
    def chunk_count(self) -> int:
        """How many chunks the units make."""
        return -(-len(self.units) // self.question.chunk_units)

    @property
    def host_only(self) -> str | None:
        """Why the job is computed on the host on every device, or None."""
        return self.question.task.host_only(self.question.spec.spec)

    @property
    def on_host(self) -> str | None:
        """The part of the work that is done on the host on every device, in words, or None."""
        return self.host_only or self.question.task.on_host(self.question.spec.spec)

    def chunks_together(self, device: str) -> int:
        """How many chunks fill the passes of a device; a CPU takes them one by one."""
        if device == "cpu" or self.host_only is not None:
            return 1
        task, spec = self.question.task, self.question.spec.spec
        batch_size = self.request.batch_size or task.batch_size(self.info.input_shape, device)
        return max(1, task.units_together(spec, batch_size) // self.question.chunk_units)

    def chunk(self, index: int) -> Sequence[Unit]:
        """The units of one chunk."""
        size = self.question.chunk_units
        return self.units[index * size : (index + 1) * size]


@dataclass(frozen=True)
class OpenJob:
    """A job with its model in memory, ready to run."""

    job: Job
    model: "LoadedModel"


def open_job(request: JobRequest) -> OpenJob:
    """Load everything that a job needs; what was loaded last in this process is not loaded again.

    Raises:
        UserError: unknown model or task, missing weights or data, a bad spec, a model that the probe refuses.
    """
    question = open_question(request)
    model = model_of(request)
    return OpenJob(Job(request, question, request.filed(model.info)), model)


def open_question(request: JobRequest, info: "Callable[[], ModelInfo] | None" = None) -> JobQuestion:
    """The task's side of a request.

    Args:
        request: model and task.
        info: gives the model's card, which tells what a user's own folders mean; asked only for those.

    Raises:
        UserError: as :func:`open_job`, about the task and its data.
    """
    own = None
    if request.data is not None and is_folder(request.data):
        own = own_folder(request.data, info() if info else model_of(request).info)
    question = _question(
        request.task,
        request.switches,
        request.settings,
        request.data_roots,
        Portion(request.limit, request.draw),
        request.data,
        own,
        request.trusted,
    )
    check_dtype(request.precision.dtype, question.task.dtypes, question.spec.id)
    return question


@lru_cache(maxsize=32)
def _question(
    task_name: str,
    switches: tuple[str, ...],
    settings: tuple[str, ...],
    data_roots: tuple[str, ...],
    portion: Portion,
    own_data: str | None,
    own: OwnFolder | None,
    trusted: tuple[str, ...],
) -> JobQuestion:
    spec = load_spec(task_name, switches, settings)
    task = family(spec.spec.family)
    roots = tuple(Path(root) for root in data_roots)
    trust = SHIPPED if task_name in shipped_specs() and not settings else trust_of(trusted)
    if own_data is None:
        data = task.open_data(spec.spec, DataSource(spec.spec.data, spec.folder, roots, trust=trust))
    else:
        if task.no_own_pictures:
            raise UserError(f"--data: {spec.id} takes no pictures: {task.no_own_pictures}, or leave it out")
        data = task.open_data(spec.spec, DataSource(absolute(own_data), spec.folder, roots, own, trust))
        spec = spec.on_other_data(data.manifest.name)
    if task.needs_labels(spec.spec):
        data.manifest.require_labels(task.no_own_answers)
    units = list(task.units(spec.spec, data))
    _check_units(units, spec.id)
    return JobQuestion(spec, task, data, portion.of(units, task, spec.spec, data), len(units), portion)


def model_of(request: JobRequest) -> "LoadedModel":
    """The model of a request on its device, in its precision.

    Raises:
        UserError: unknown name or device, missing or wrong weights.
    """
    return _model(request.model, request.weights, request.device, request.precision)


@lru_cache(maxsize=2)
def _model(name: str, weights: str | None, device: str, precision: Precision) -> "LoadedModel":
    from assay.models.check import probe
    from assay.models.zoo import load_model

    loaded = load_model(name, weights=Path(weights) if weights else None, device=device)
    probe(loaded, device)
    return computing(loaded, precision)


def forget() -> None:
    """Drop what is kept between jobs (weights and data may have changed on disk)."""
    _model.cache_clear()
    _question.cache_clear()


def _check_units(units: Sequence[Unit], task_id: str) -> None:
    twice = next((unit for unit, count in Counter(unit.id for unit in units).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{task_id}: the unit {twice!r} is there twice; ids in a data set must differ")
