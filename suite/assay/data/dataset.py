"""Manifest → verified files → samples with stable ids and their pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from assay.data.files import DataFiles
from assay.data.hashes import HashMemory, is_packed
from assay.data.layouts import Contents, Sample
from assay.data.layouts.base import Mask
from assay.data.manifest import Manifest
from assay.data.pixels import ImageError, Pixels, to_pixels
from assay.data.places import locate
from assay.errors import UserError

__all__ = ["Dataset", "ImageError", "Sample", "is_available", "open_dataset"]


# What is open already, by folder and identity: many tasks on one data set read and hold it once.
_OPEN: "WeakValueDictionary[tuple[Path, str], Contents]" = WeakValueDictionary()


@dataclass(frozen=True)
class Dataset:
    """A verified data set.

    Attributes:
        manifest: what it is.
        folder: where its files lie (no part of its identity).
        sha256: the hash of all that decides its samples, whether the files' hashes were listed or computed.
    """

    manifest: Manifest
    folder: Path
    sha256: str
    _contents: Contents = field(repr=False)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, in the layout's stable order."""
        return self._contents.samples

    def image(self, sample: Sample) -> Pixels:
        """The sample's picture, uint8 (H, W, ``manifest.channels``).

        Raises:
            ImageError: it cannot be decoded, or its colours are refused; names the data set's file or row.
        """
        try:
            return to_pixels(self._contents.picture(sample.reference), self.manifest.colours)
        except ImageError as error:
            raise ImageError(f"{self.folder}, image {sample.unit_id}: {error}") from error

    @property
    def has_masks(self) -> bool:
        """Whether the data set says of any picture where its object is (by boxes or segmentations)."""
        return self._contents.mask is not None

    def mask(self, sample: Sample) -> Mask | None:
        """Where the sample's object is: (H, W) uint8 of the picture's size, 1 inside and 0 outside.

        None for a sample of which the data set does not say so.

        Raises:
            ImageError: the picture or its segmentation cannot be read; names the data set's file or row.
        """
        if self._contents.mask is None:
            return None
        try:
            return self._contents.mask(sample.reference)
        except ImageError as error:
            raise ImageError(f"{self.folder}, image {sample.unit_id}: {error}") from error


def open_dataset(manifest: Manifest, roots: Sequence[Path] = ()) -> Dataset:
    """Finds, verifies and indexes a data set; pictures are decoded only when asked for.

    Args:
        manifest: from :func:`assay.data.manifest.load_manifest`.
        roots: folders to search first (``--data-root``).

    Raises:
        UserError: a file is missing, has another hash or is malformed; a label lies outside the label space;
            an id occurs twice; there is no sample.
    """
    files = locate(manifest, roots)
    hashes = verified_hashes(manifest, files)
    identity = manifest.identity_sha256(hashes)
    contents = _OPEN.get((files.folder, identity))
    if contents is None:
        contents = manifest.layout.open(files)
        _check(manifest, contents, files.folder)
        _OPEN[files.folder, identity] = contents
    return Dataset(manifest, files.folder, identity, contents)


def is_available(manifest: Manifest, roots: Sequence[Path] = ()) -> str | None:
    """None if every file is there (nothing is hashed), else the reason why the data set cannot be opened."""
    try:
        locate(manifest, roots)
    except UserError as error:
        return str(error)
    return None


def verified_hashes(manifest: Manifest, files: DataFiles) -> dict[str, str]:
    """Each file's SHA-256, equal to the listed one where the manifest lists it.

    Raises:
        UserError: a file has another hash, or cannot be read.
    """
    listed = {} if manifest.files == "unlisted" else manifest.files
    memory = HashMemory()
    hashes: dict[str, str] = {}
    for name in files.names:
        path = files.path(name)
        found = hashes[name] = memory.sha256(path, is_packed(path, name))
        expected = listed.get(name, found)
        if found != expected:
            raise UserError(
                f"{path}: is not the file of data set {manifest.name}: its SHA-256 is {found}, "
                f"expected {expected}; to get the right one: {manifest.how_to_get}"
            )
    memory.save()
    return hashes


def _check(manifest: Manifest, contents: Contents, folder: Path) -> None:
    """The laws that every layout's samples keep."""
    if not contents.samples:
        raise UserError(f"{folder}: data set {manifest.name} has no sample; check its files and its layout")
    if contents.classes_found not in (None, manifest.num_classes):
        raise UserError(
            f"{folder}: has {contents.classes_found} class folders where the manifest {manifest.name} says "
            f"{manifest.num_classes}; correct `num_classes`, or give the folders' order as `classes`"
        )
    for sample in contents.samples:
        for kind, value in (("label", sample.label), ("target", sample.target)):
            if value is not None and not 0 <= value < manifest.num_classes:
                raise UserError(
                    f"{folder}: {manifest.layout.where(sample)}: the {kind} {value} lies outside "
                    f"the label space {manifest.label_space} (0..{manifest.num_classes - 1}); correct it"
                )
    unit_id, count = Counter(sample.unit_id for sample in contents.samples).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{folder}: the id {unit_id!r} occurs {count} times in {manifest.name}; remove the duplicates"
        )
