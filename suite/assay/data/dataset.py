"""Manifest → verified files → samples with stable ids and their pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.data.corrupting.corruption import VERSION, Corruption
from assay.data.draw import Draw, Drawable, balanced_draw
from assay.data.files import UNREADABLE, DataFiles
from assay.data.hashes import HashMemory, is_packed
from assay.data.inspection import Inspection, inspect
from assay.data.layouts import Contents, Sample
from assay.data.layouts.base import Mask
from assay.data.manifest import DataManifest
from assay.data.pixels import ImageError, Pixels, to_pixels
from assay.data.places import locate, located

__all__ = ["DataFacts", "Dataset", "ImageError", "Sample", "is_available", "open_dataset", "open_files"]


@dataclass(frozen=True)
class DataFacts:
    """What a reader must know of how a data set was read; nothing here decides an answer by itself.

    Attributes:
        left_out: how many files were left out, by reason.
        converted: how many files are read otherwise than they are stored, by how.
        classes: how a user's own folders were understood: folder to class index.
    """

    left_out: Mapping[str, int] = field(default_factory=dict)
    converted: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, dict[str, int]]:
        """The facts as plain JSON; {} for none."""
        return {name: dict(value) for name, value in vars(self).items() if value}


@dataclass(frozen=True, eq=False)
class _Opened:
    """What is read from a data set's files once: the readable samples, and what the pictures are like."""

    contents: Contents
    inspection: Inspection
    left_out: Mapping[str, int]


# Open data sets by folder and identity, so that many tasks on one data set read and hold it once.
_OPEN: "WeakValueDictionary[tuple[Path, bool, str], _Opened]" = WeakValueDictionary()


@dataclass(frozen=True)
class Dataset:
    """A verified data set.

    Attributes:
        manifest: what it is.
        folder: where its files lie (no part of its identity).
        sha256: the hash of all that decides its samples, whether the files' hashes were listed or computed.
        facts: what was left out and converted.
        corruption: what is done to every picture when it is read, with its settings; None for pictures as stored.
    """

    manifest: DataManifest
    folder: Path
    sha256: str
    facts: DataFacts
    _opened: _Opened = field(repr=False)
    corruption: Corruption | None = None

    @property
    def _contents(self) -> Contents:
        return self._opened.contents

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, in the layout's stable order."""
        return self._contents.samples

    def part(self, limit: int | None, draw: Draw = Draw.BALANCED) -> tuple[Sample, ...]:
        """``limit`` samples in their order, drawn (:func:`balanced_draw`, seed 0) or the first; all for None."""
        if limit is None or draw is Draw.FIRST:
            return self.samples[:limit]
        items = [Drawable(sample.unit_id, sample.label if self.labelled else None) for sample in self.samples]
        return tuple(self.samples[position] for position in balanced_draw(items, limit, seed=0))

    def image(self, sample: Sample) -> Pixels:
        """The sample's picture, uint8 (H, W, ``manifest.channels``); corrupted, where the data set is.

        Raises:
            ImageError: it cannot be decoded, its colours are refused, or it is too small for the corruption; names the
                data set's file or row.
        """
        picture = self.image_as_stored(sample)
        if self.corruption is None:
            return picture
        from assay.data.corrupting.pictures import corrupted_picture

        return corrupted_picture(
            picture, self.corruption, sample.unit_id, f"{self.folder}, image {sample.unit_id}"
        )

    def image_as_stored(self, sample: Sample) -> Pixels:
        """:meth:`image` before any corruption: what tells whether two data sets hold the same picture.

        Raises:
            ImageError: it cannot be decoded, or its colours are refused; names the data set's file or row.
        """
        try:
            return to_pixels(self._contents.picture(sample.reference), self.manifest.colours)
        except ImageError as error:
            raise ImageError(f"{self.folder}, image {sample.unit_id}: {error}") from error

    @property
    def labelled(self) -> bool:
        """Whether its pictures have labels."""
        return self.manifest.labelled

    @property
    def has_masks(self) -> bool:
        """Whether the data set says where the object is, for at least one picture (by boxes or segmentations)."""
        return self._contents.mask is not None

    def mask(self, sample: Sample) -> Mask | None:
        """Where the sample's object is: (H, W) uint8 of the picture's size, 1 inside and 0 outside.

        None for a sample without such a statement.

        Raises:
            ImageError: the picture or its segmentation cannot be read; names the data set's file or row.
        """
        if self._contents.mask is None:
            return None
        try:
            mask = self._contents.mask(sample.reference)
        except ImageError as error:
            raise ImageError(f"{self.folder}, image {sample.unit_id}: {error}") from error
        if mask is None or self.corruption is None:
            return mask
        from assay.data.corrupting.pictures import mask_of_corrupted

        return mask_of_corrupted(mask, self.corruption)

    def corrupted(self, corruption: Corruption) -> "Dataset":
        """The same data set with its pictures corrupted; its hash says so.

        Raises:
            UserError: they are too small or too large for it, or grey where it changes colours alone.
        """
        from assay.data.corrupting.pictures import settled

        known = settled(corruption, self._first_middle_last(), self.manifest.name)
        document = {"data": self.sha256, "corruption": known.model_dump(mode="json"), "version": VERSION}
        return replace(self, sha256=canonical_sha256(document), corruption=known)

    def _first_middle_last(self) -> list[Pixels]:
        """Three pictures as stored, without those that cannot be read: one that cannot is its unit's own error."""
        found = []
        for place in sorted({0, len(self.samples) // 2, len(self.samples) - 1}):
            with suppress(ImageError):
                found.append(self.image_as_stored(self.samples[place]))
        return found


def open_dataset(manifest: DataManifest, roots: Sequence[Path] = (), unlabelled: bool = False) -> Dataset:
    """Finds, verifies and indexes a data set; pictures are decoded only when asked for.

    Args:
        manifest: from :func:`assay.data.manifest.load_manifest`.
        roots: folders to search first (``--data-root``).
        unlabelled: whether pictures without labels will do.

    Raises:
        UserError: a file is missing, malformed or has another hash; a label lies outside the label space; an id occurs
            twice; there are no samples, or no labels though they are needed.
    """
    if not unlabelled:
        manifest.require_labels()
    return open_files(manifest, _files(manifest, roots))


def _files(manifest: DataManifest, roots: Sequence[Path]) -> DataFiles:
    """The first place whose files have the manifest's hashes; if none has, the first, and opening it then complains.

    Data sets share file names (those of MNIST and Fashion-MNIST are the same), so a root with another data set must
    hide none.
    """
    if manifest.files == "unlisted":
        return locate(manifest, roots)
    first, *others = located(manifest, roots)
    if not others:
        return first
    return next((files for files in (first, *others) if _fits(manifest, files)), first)


def _fits(manifest: DataManifest, files: DataFiles) -> bool:
    try:
        _hashes(manifest, files)
    except UserError:
        return False
    return True


def open_files(manifest: DataManifest, files: DataFiles) -> Dataset:
    """:func:`open_dataset` of files that are found already."""
    hashes, silent = _hashes(manifest, files)
    known = manifest.identity_sha256(hashes | dict.fromkeys(silent, UNREADABLE))
    place = (files.folder, manifest.files == "unlisted", known)
    opened = _OPEN.get(place)
    if opened is None:
        opened = _OPEN[place] = _open(manifest, files, hashes)
    converted = opened.inspection.conversions(manifest.colours)
    unreadable = {*silent, *opened.inspection.unreadable}
    left_out = Counter(opened.left_out) + Counter({UNREADABLE: len(unreadable)})
    facts = DataFacts(
        left_out=dict(sorted(left_out.items())),
        converted={conversion.words: count for conversion, count in converted.items()},
    )
    good = {name: sha256 for name, sha256 in hashes.items() if name not in unreadable}
    sha256 = manifest.identity_sha256(good, list(converted))
    data = Dataset(manifest, files.folder, sha256, facts, opened)
    return data if manifest.corruption is None else data.corrupted(manifest.corruption)


def _open(manifest: DataManifest, files: DataFiles, hashes: Mapping[str, str]) -> _Opened:
    contents = manifest.layout.open(files)
    _check(manifest, contents, files.folder)
    unlisted = manifest.files == "unlisted"
    left_out = manifest.layout.left_out(files, contents.samples) if unlisted else {}
    if contents.file is None:
        return _Opened(contents, Inspection({}), left_out)
    names = {contents.file(sample.reference): sample for sample in contents.samples}
    # Listed files are as their publisher made them, so one that cannot be decoded is its unit's error. Any other
    # folder may hold anything.
    inspection = inspect(files, {name: hashes[name] for name in names if name in hashes})
    if not unlisted:
        return _Opened(contents, replace(inspection, unreadable=()), left_out)
    lost = {name for name in names if name not in hashes or name in inspection.unreadable}
    good = tuple(sample for name, sample in names.items() if name not in lost)
    if not good:
        raise UserError(
            f"{files.folder}: none of the {len(names)} pictures of data set {manifest.name} can be read "
            f"(first: {min(names)}); replace them"
        )
    return _Opened(replace(contents, samples=good), inspection, left_out)


def is_available(manifest: DataManifest, roots: Sequence[Path] = ()) -> str | None:
    """None if every file is there (nothing is hashed), else the reason why the data set cannot be opened."""
    try:
        locate(manifest, roots)
    except UserError as error:
        return str(error)
    return None


def verified_hashes(manifest: DataManifest, files: DataFiles) -> dict[str, str]:
    """Each file's SHA-256, equal to the listed one where the manifest lists it.

    Raises:
        UserError: a file has another hash, or cannot be read.
    """
    hashes, unreadable = _hashes(manifest, files)
    for error in unreadable.values():
        raise error
    return hashes


def _hashes(manifest: DataManifest, files: DataFiles) -> tuple[dict[str, str], dict[str, UserError]]:
    """:func:`verified_hashes`, and the unlisted files that cannot be read, with the reason."""
    listed = {} if manifest.files == "unlisted" else manifest.files
    needed = {*listed, *manifest.layout.required()}
    memory = HashMemory()
    hashes: dict[str, str] = {}
    unreadable: dict[str, UserError] = {}
    for name in files.names:
        path = files.path(name)
        try:
            found = memory.sha256(path, is_packed(path, name))
        except UserError as error:
            if name in needed:
                raise
            unreadable[name] = error
            continue
        hashes[name] = found
        expected = listed.get(name, found)
        if found != expected:
            raise UserError(
                f"{path}: is not the file of data set {manifest.name}: its SHA-256 is {found}, "
                f"expected {expected}; to get the right one: {manifest.how_to_get}"
            )
    memory.save()
    return hashes, unreadable


def _check(manifest: DataManifest, contents: Contents, folder: Path) -> None:
    """Check what must hold for the samples of every layout."""
    if not contents.samples:
        raise UserError(f"{folder}: data set {manifest.name} has no sample; check its files and its layout")
    if contents.classes_found not in (None, manifest.num_classes):
        raise UserError(
            f"{folder}: has {contents.classes_found} class folders where the manifest {manifest.name} says "
            f"{manifest.num_classes}; correct `num_classes`, or give the folders' order as `classes`"
        )
    for sample in contents.samples:
        for kind, value in (("label", sample.label), ("target", sample.target)):
            has_none = kind == "label" and not manifest.layout.labelled
            if value is not None and not has_none and not 0 <= value < manifest.num_classes:
                raise UserError(
                    f"{folder}: {manifest.layout.where(sample)}: the {kind} {value} lies outside "
                    f"the label space {manifest.label_space} (0..{manifest.num_classes - 1}); correct it"
                )
    unit_id, count = Counter(sample.unit_id for sample in contents.samples).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{folder}: the id {unit_id!r} occurs {count} times in {manifest.name}; remove the duplicates"
        )
