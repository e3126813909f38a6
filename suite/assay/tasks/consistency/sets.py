"""The two sets that a job compares: real images, and adversarial ones linked to the images they were made from."""

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assay.canonical import canonical_sha256
from assay.data.dataset import Dataset, Sample, open_dataset
from assay.data.files import DataFiles
from assay.data.layouts.table import Table
from assay.data.manifest import Manifest, load_manifest
from assay.errors import UserError

SOURCE_COLUMN = "source"
OUTCOME_PREFIXES = ("member:", "held_out:")


@dataclass(frozen=True)
class AdversarialSet:
    """Targeted adversarial images.

    Attributes:
        dataset: their pictures, true labels and targets.
        sources: for each of them, the index of the real image it was made from.
        outcomes: ``member:NAME`` or ``held_out:NAME`` to whether that model answered the target, image by image.
    """

    dataset: Dataset
    sources: tuple[int, ...]
    outcomes: Mapping[str, tuple[bool, ...]]

    def of_sources(self, first: int, end: int) -> list[int]:
        """Indices of the adversarial images made from the real images ``first .. end - 1``."""
        return [index for index, source in enumerate(self.sources) if first <= source < end]


@dataclass(frozen=True)
class ConsistencyData:
    """What the task works on; the adversarial set is looked for, or made, when it is first asked for.

    Attributes:
        real: the images of the spec's data set.
        hierarchy: the content of the hierarchy file.
        find_adversarial: finds or makes the adversarial set.
    """

    real: Dataset
    hierarchy: bytes
    find_adversarial: Callable[[], AdversarialSet]

    @property
    def manifest(self) -> Manifest:
        """The real images' manifest."""
        return self.real.manifest

    @cached_property
    def adversarial(self) -> AdversarialSet:
        """The adversarial images."""
        return self.find_adversarial()

    @cached_property
    def sha256(self) -> str:
        """Covers both sets of images and the hierarchy."""
        return canonical_sha256(
            {
                "real": self.real.sha256,
                "adversarial": self.adversarial.dataset.sha256,
                "hierarchy": hashlib.sha256(self.hierarchy).hexdigest(),
            }
        )


def concepts_of(sample: Sample) -> tuple[int, ...]:
    """What a picture shows: its concepts where it has several, else its label."""
    return sample.concepts or (sample.label,)


def open_adversarial(
    manifest: str, real: Dataset, relative_to: Path | None = None, roots: Sequence[Path] = ()
) -> AdversarialSet:
    """An adversarial set that is there, by its manifest.

    Raises:
        UserError: it has no ``table`` layout with targets and a column ``source``, a source is not one of the
            real images, or a label is not its source's.
    """
    dataset = open_dataset(load_manifest(manifest, relative_to), roots)
    layout = dataset.manifest.layout
    if not isinstance(layout, Table) or layout.target_column is None:
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
    return AdversarialSet(
        dataset, sources, {name: tuple(row[name] == "true" for row in rows) for name in names}
    )


def _rows(dataset: Dataset, layout: Table) -> list[dict[str, str]]:
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
