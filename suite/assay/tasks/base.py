"""The task protocol: what a family implements, and all that the runner, the tables and the page know of it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import TypeAdapter

from assay.models.foreign import NOBODY, Trust
from assay.results.document import Guard, Metric
from assay.specs import TaskSpec
from assay.tasks.loading import Loader, Picture

if TYPE_CHECKING:
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel
    from assay.tasks.own_pictures import OwnFolder
    from assay.tasks.plausible import Expected

SpecT = TypeVar("SpecT", bound=TaskSpec)
DataT = TypeVar("DataT")


class NotApplicableError(Exception):
    """Raised by ``run`` when only a look at the network itself shows that the task has no meaning for it."""


class Unit(NamedTuple):
    """The smallest piece of work that can be resumed; ``payload`` is the family's own (a sample, a shape, …)."""

    id: str
    payload: Any = None


@dataclass(frozen=True)
class Record:
    """What one unit gave: plain JSON values, or an error, and files (name to bytes) that are stored beside it.

    A record never depends on which worker made it, on the batch around it beyond float noise, or on interruptions.
    """

    unit_id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """The figures that follow from the records, and what the guards found."""

    metrics: tuple[Metric, ...]
    guards: tuple[Guard, ...]


@dataclass(frozen=True)
class Figure:
    """A picture for the page: Plotly JSON text, or PNG bytes; ``caption`` says what is seen, with its numbers."""

    name: str
    title: str
    caption: str
    kind: Literal["plotly", "png"]
    content: str | bytes


@dataclass(frozen=True)
class RunContext:
    """What a task may know of its run. Nothing here is part of the answer but ``seed_root``."""

    seed_root: str
    device: str = "cpu"
    batch_size: int = 32
    advance: Callable[[float], None] = lambda _units: None  # progress, in units (fractions allowed)
    loader: Loader = field(default_factory=Loader)

    def seed(self, unit_id: str, stream: str = "") -> int:
        """A 63-bit seed that depends on the job, the unit and the stream's name alone."""
        digest = hashlib.sha256(f"{self.seed_root}\0{unit_id}\0{stream}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


class Task(Protocol, Generic[SpecT, DataT]):
    """One family.

    ``record_version`` changes whenever records of before would not be what they would be today, ``pooling_version``
    where only those of networks with max pooling would not (None: they never differed); ``dtypes`` are the
    precisions in which its figures keep their meaning, such as ``("float32", "bfloat16")``; ``scored_files`` are the
    patterns (as in a shell) of the records' files that :meth:`summarise` reads, which travel wherever records do;
    ``no_own_pictures`` says why it cannot score a user's own pictures, or is None.
    ``meaning`` is one plain sentence on its headline, for whoever reads the card of a run.
    ``record_values`` is what a record's values are, strictly, for those that strangers wrote.
    """

    family: str
    record_version: int
    pooling_version: int | None
    dtypes: tuple[str, ...]
    spec_type: type[SpecT]
    record_columns: tuple[str, ...]
    scored_files: tuple[str, ...]
    no_own_pictures: str | None
    record_values: TypeAdapter[Any]
    meaning: str

    def open_data(self, spec: SpecT, source: "DataSource") -> DataT:
        """The data that the spec names, with hashes verified."""
        ...

    def not_applicable(self, spec: SpecT, model: "ModelInfo", data: DataT) -> str | None:
        """Why the task has no meaning for this model (label space, input, layers), or None."""
        ...

    def check_network(self, spec: SpecT, load: "Callable[[], LoadedModel]") -> None:
        """Refuse before any work what only a look at the network itself shows to be wrong.

        ``load`` gives the network; it is called only where the spec needs such a look.

        Raises:
            UserError: the spec asks for something that the network does not have.
        """
        ...

    def chunk_units(self, spec: SpecT) -> int:
        """Units that are computed and stored together; in a job's key."""
        ...

    def batch_size(self, input_shape: tuple[int, int, int], device: str) -> int:
        """Images in one pass where the user names no number; no part of the answer."""
        ...

    def units(self, spec: SpecT, data: DataT) -> Sequence[Unit]:
        """All units, in a stable order."""
        ...

    def pictures(self, spec: SpecT, model: "LoadedModel", data: DataT, unit: Unit) -> Sequence[Picture]:
        """The pictures that :meth:`run` takes from its loader for the unit, in that order, to be loaded ahead."""
        ...

    def run(
        self, spec: SpecT, model: "LoadedModel", data: DataT, units: Sequence[Unit], context: RunContext
    ) -> Iterator[Record]:
        """One record a unit, in the order of ``units``."""
        ...

    def summarise(self, spec: SpecT, records: Sequence[Record]) -> Summary:
        """Metrics and guards; pure, and without torch."""
        ...

    def plausible(self, spec: SpecT, records: Sequence[Record], expected: "Expected") -> Guard | None:
        """Whether the clean answers can be what the model's maker meant; None where no label is scored."""
        ...

    def figures(self, spec: SpecT, records: Sequence[Record]) -> Sequence[Figure]:
        """The pictures that a reader would want."""
        ...

    def rows(self, spec: SpecT, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """The records as CSV rows in ``record_columns``; a row may have more, which come after these."""
        ...


@dataclass(frozen=True)
class DataSource:
    """Where a spec's data are looked for.

    Attributes:
        manifest: its name or path.
        relative_to: the spec's own folder.
        roots: the data roots.
        own: the user's own folder of pictures instead of a manifest.
        trust: how far the names of models in the spec are followed.
    """

    manifest: str
    relative_to: Any
    roots: tuple[Any, ...]
    own: "OwnFolder | None" = None
    trust: Trust = NOBODY


def clean_records(records: Sequence[Record]) -> list[Record]:
    """The records without an error."""
    return [record for record in records if record.error is None]
