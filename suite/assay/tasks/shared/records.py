"""What a family and the runner hand each other: units, records, summaries, pictures, and what a run tells a task."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from assay.common.savepoints import NONE, Savepoints
from assay.results.document import Guard, Metric
from assay.tasks.shared.loading import Loader

if TYPE_CHECKING:
    from assay.data.dataset import Dataset


class NotApplicableError(Exception):
    """Raised by ``run`` when only the network itself shows that the task has no meaning for it."""


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
    first: Callable[[int], frozenset[str]] = lambda _count: frozenset()
    """The ids of the first so many units of the whole job; a family may draw pictures of them."""
    chunk_units: int | None = None
    """Units of a chunk: what a record says of its chunk must not depend on how many chunks are run together."""
    work: Counter[str] = field(default_factory=Counter)
    """Passes that :meth:`worked` was told of, kept beside the times."""
    savepoints: Savepoints = NONE
    """Where long work is kept as it goes on, so that a stop loses seconds; the answer stays the same."""

    def worked(self, name: str, forward: int, backward: int) -> None:
        """Tell of forward and backward passes of one unit each, made for ``name``."""
        self.work[f"forward:{name}"] += forward
        self.work[f"backward:{name}"] += backward

    def seed(self, unit_id: str, stream: str = "") -> int:
        """A 63-bit seed that depends on the job, the unit and the stream's name alone."""
        digest = hashlib.sha256(f"{self.seed_root}\0{unit_id}\0{stream}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


def image_units(data: "Dataset") -> list[Unit]:
    """One unit per image, in the data set's order."""
    return [Unit(sample.unit_id, sample) for sample in data.samples]


def clean_records(records: Sequence[Record]) -> list[Record]:
    """The records without an error."""
    return [record for record in records if record.error is None]
