"""The two sets that a job compares: real images, and adversarial ones linked to the images they were made from."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.data.dataset import DataFacts, Dataset, Sample, open_dataset
from assay.data.files import DataFiles
from assay.data.layouts.table import TableLayout
from assay.data.manifest import DataManifest, load_manifest
from assay.data.pixels import Pixels
from assay.models.info import ModelInfo, Resize
from assay.tasks.base import RunContext
from assay.tasks.shared.images import refuse_unfit

SOURCE_COLUMN = "source"
OUTCOME_PREFIXES = ("member:", "held_out:")
STORED_RESIZE: Resize = "direct"
"""How stored adversarial images are read: they were cropped when they were made, and another crop would cut part of the
perturbation away."""


@dataclass(frozen=True)
class AdversarialBlock:
    """The adversarial images made from a block of consecutive real images.

    Attributes:
        numbers: their indices in the whole set.
        sources: for each of them, the index of the real image it was made from.
        targets: for each of them, the class it was sent to.
        outcomes: ``member:NAME`` or ``held_out:NAME`` to whether that model answered the target, image by image.
        pixels: an index of ``numbers`` to its picture, uint8 (H, W, C).
    """

    numbers: Sequence[int]
    sources: Sequence[int]
    targets: Sequence[int | None]
    outcomes: Mapping[str, Sequence[bool]]
    pixels: Callable[[int], Pixels]


class AdversarialSet(Protocol):
    """Targeted adversarial images of a data set: there already, or made block by block as they are needed."""

    @property
    def count(self) -> int:
        """How many images it has when it is whole."""
        ...

    @property
    def sha256(self) -> str:
        """What decides its images."""
        ...

    def refuse_unfit(self, model: ModelInfo) -> None:
        """Refuse a network that does not take its pictures; none is made for that.

        Raises:
            UserError: what the network says of them.
        """
        ...

    def passes_to_make(self, first: int, end: int) -> int:
        """About how many forward passes of an image making ``block`` would cost; 0 for what is there."""
        ...

    def block(self, first: int, end: int, context: RunContext) -> AdversarialBlock:
        """The images made from the real images ``first .. end - 1``; what is missing of them is made first.

        Progress counts forward passes, :meth:`passes_to_make` in all.

        Raises:
            UserError: an image cannot be read or written, or was altered.
        """
        ...


@dataclass(frozen=True)
class ConsistencyData:
    """What the task works on.

    Attributes:
        real: the images of the spec's data set.
        hierarchy: the content of the hierarchy file.
        adversarial: the adversarial images.
    """

    real: Dataset
    hierarchy: bytes
    adversarial: AdversarialSet

    @property
    def manifest(self) -> DataManifest:
        """The real images' manifest."""
        return self.real.manifest

    @property
    def facts(self) -> DataFacts:
        """What was left out and converted of the real images."""
        return self.real.facts

    @cached_property
    def sha256(self) -> str:
        """Covers both sets of images and the hierarchy."""
        return canonical_sha256(
            {
                "real": self.real.sha256,
                "adversarial": self.adversarial.sha256,
                "hierarchy": hashlib.sha256(self.hierarchy).hexdigest(),
            }
        )


def concepts_of(sample: Sample) -> tuple[int, ...]:
    """What a picture shows: its concepts where it has several, else its label."""
    return sample.concepts or (sample.label,)


@contextmanager
def naming_the_set() -> Iterator[None]:
    """Say of a picture that a network refuses that it is one of the adversarial set's."""
    try:
        yield
    except UserError as error:
        raise UserError(f"adversarial images: {error}") from error


@dataclass(frozen=True)
class StoredSet:
    """An adversarial set that is there, as an ordinary data set.

    Attributes:
        dataset: its pictures, true labels and targets.
        sources: for each of them, the index of the real image it was made from.
        outcomes: as in :class:`AdversarialBlock`, of all images.
    """

    dataset: Dataset
    sources: tuple[int, ...]
    outcomes: Mapping[str, tuple[bool, ...]]

    @property
    def count(self) -> int:
        """See :class:`AdversarialSet`."""
        return len(self.sources)

    @property
    def sha256(self) -> str:
        """Of its content."""
        return self.dataset.sha256

    def refuse_unfit(self, model: ModelInfo) -> None:
        """See :class:`AdversarialSet`."""
        with naming_the_set():
            refuse_unfit(model.with_resize(STORED_RESIZE), self.dataset)

    def passes_to_make(self, first: int, end: int) -> int:
        """None: everything is there."""
        return 0

    def block(self, first: int, end: int, context: RunContext) -> AdversarialBlock:
        """See :class:`AdversarialSet`."""
        numbers = [index for index, source in enumerate(self.sources) if first <= source < end]
        samples = self.dataset.samples
        return AdversarialBlock(
            numbers=numbers,
            sources=[self.sources[number] for number in numbers],
            targets=[samples[number].target for number in numbers],
            outcomes={name: [hits[number] for number in numbers] for name, hits in self.outcomes.items()},
            pixels=lambda number: self.dataset.image(samples[number]),
        )


def open_adversarial(
    manifest: str, real: Dataset, relative_to: Path | None = None, roots: Sequence[Path] = ()
) -> StoredSet:
    """An adversarial set that is there, by its manifest.

    Raises:
        UserError: it has no ``table`` layout with targets and a column ``source``, a source is not one of the
            real images, or a label is not its source's.
    """
    dataset = open_dataset(load_manifest(manifest, relative_to), roots)
    layout = dataset.manifest.layout
    if not isinstance(layout, TableLayout) or layout.target_column is None:
        raise UserError(
            f"adversarial set {dataset.manifest.name}: needs the layout `table` with a `target_column`; "
            "give the manifest of a set that Assay made, or make one of that form"
        )
    rows = _rows(dataset, layout)
    order = {sample.unit_id: index for index, sample in enumerate(real.samples)}
    strays = [row[SOURCE_COLUMN] for row in rows if row[SOURCE_COLUMN] not in order]
    if strays:
        raise UserError(
            f"adversarial set {dataset.manifest.name}: {len(strays)} images stem from sources that data set "
            f"{real.manifest.name} does not have (first: {strays[0]!r}); name the data set it was made from"
        )
    sources = tuple(order[row[SOURCE_COLUMN]] for row in rows)
    _check_fits(dataset, real, sources)
    names = [name for name in rows[0] if name.startswith(OUTCOME_PREFIXES)]
    return StoredSet(dataset, sources, {name: tuple(row[name] == "true" for row in rows) for name in names})


def _rows(dataset: Dataset, layout: TableLayout) -> list[dict[str, str]]:
    text = DataFiles(dataset.folder, (layout.table,)).read_text(layout.table)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if SOURCE_COLUMN not in (reader.fieldnames or ()):
        raise UserError(
            f"{dataset.folder / layout.table}: has no column {SOURCE_COLUMN!r} with the id of the image that each "
            "adversarial image was made from; add it"
        )
    return list(reader)


def _check_fits(dataset: Dataset, real: Dataset, sources: Sequence[int]) -> None:
    name = dataset.manifest.name
    lacking = sorted(set(range(len(real.samples))) - set(sources))
    if lacking:
        raise UserError(
            f"adversarial set {name}: {len(lacking)} images of data set {real.manifest.name} have no adversarial image "
            f"in it (first: {real.samples[lacking[0]].unit_id}); name the data set it was made from"
        )
    for sample, source in zip(dataset.samples, sources, strict=True):
        origin = real.samples[source]
        if sample.label != origin.label:
            raise UserError(
                f"adversarial set {name}: {sample.unit_id} has the label {sample.label}, its source {origin.unit_id} "
                f"has {origin.label}; the label is the class of the content: correct the table"
            )
