"""What a record of the task holds, written and read; no torch.

A record speaks of a block of consecutive real images and of the adversarial images made from them. Its values say
which they are; its files hold the arrays:

``hierarchy.json``
    the hierarchy file (the same bytes in every record, so stored once per job);
``blocks/00000.npz``
    for each layer the block's top images per neuron, real and adversarial;
``sheets/00000.npz``
    for a few neurons of the last layer, small pictures of the block's top images with the field outlined.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError
from assay.tasks.base import Record
from assay.tasks.consistency.hierarchy import Hierarchy, parse_hierarchy
from assay.tasks.consistency.topk import TopImages, TopK

HIERARCHY_FILE = "hierarchy.json"
KINDS = ("real", "adversarial")
BLOCK_IMAGES = 25  # real images of a unit
Array = npt.NDArray[Any]


def arrays_to_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Named arrays as an npz archive; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def bytes_to_arrays(content: bytes) -> dict[str, Array]:
    """The arrays of :func:`arrays_to_bytes`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def top_to_arrays(kind: str, layer: int, top: TopImages) -> dict[str, Array]:
    """A layer's top images as named arrays."""
    return {f"{kind}-{layer}-activations": top.activations, f"{kind}-{layer}-images": top.images}


def block_file(block: int) -> str:
    """The name of a block's arrays among its record's files."""
    return f"blocks/{block:05d}.npz"


def sheet_file(block: int) -> str:
    """The name of a block's small pictures among its record's files."""
    return f"sheets/{block:05d}.npz"


@dataclass(frozen=True)
class Images:
    """The images that the records cover; top images are counted by position in these.

    Attributes:
        concepts: of each real image.
        sources: for each adversarial image, the position of its real image.
        targets: the class each adversarial image was sent to.
        outcomes: ``member:NAME`` or ``held_out:NAME`` to whether each answered the target.
    """

    concepts: Sequence[Sequence[int]]
    sources: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    outcomes: Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class MergedBlocks:
    """All blocks as one.

    Attributes:
        layers: names, in the spec's order.
        images: what the records cover.
        hierarchy: over the concepts.
        tops: kind (``real``, ``adversarial``) and layer to the top images, by position in ``images``.
    """

    layers: tuple[str, ...]
    images: Images
    hierarchy: Hierarchy
    tops: Mapping[tuple[str, str], TopImages]


def merge(records: Sequence[Record]) -> MergedBlocks:
    """Merge the blocks' top images into those of all images; blocks may be missing.

    Raises:
        UserError: the records are of different layers, which no run gives.
    """
    layers = tuple(records[0].values["layers"])
    if any(tuple(record.values["layers"]) != layers for record in records):
        raise UserError("the records speak of different layers; compute the job again in a new folder")
    running: dict[tuple[str, str], TopK] = {}
    for record in records:
        arrays = bytes_to_arrays(record.files[block_file(record.values["block"])])
        _check_arrays(record, arrays, len(layers))
        for kind in KINDS:
            for index, layer in enumerate(layers):
                part = TopImages(arrays[f"{kind}-{index}-activations"], arrays[f"{kind}-{index}-images"])
                if (kind, layer) not in running:
                    running[kind, layer] = TopK(len(part.images), record.values["kept"][kind])
                running[kind, layer].merge(part)
    # Blocks name images by their numbers in the whole set; scores index the images that are there.
    numbers = {kind: _numbers(records, kind) for kind in KINDS}
    return MergedBlocks(
        layers=layers,
        images=_images(records, numbers),
        hierarchy=parse_hierarchy(records[0].files[HIERARCHY_FILE], HIERARCHY_FILE),
        tops={
            (kind, layer): _by_position(top.result(), numbers[kind]) for (kind, layer), top in running.items()
        },
    )


def _check_arrays(record: Record, arrays: Mapping[str, Array], layers: int) -> None:
    """Refuse a block's arrays that are not this record's own: further ones, or of images of another block.

    Raises:
        UserError: so they are, which no run gives.
    """
    expected = {
        f"{kind}-{index}-{part}"
        for kind in KINDS
        for index in range(layers)
        for part in ("activations", "images")
    }
    odd = sorted(arrays.keys() ^ expected)
    if odd:
        raise UserError(f"{record.unit_id}: its arrays do not fit its layers: {', '.join(odd[:3])}")
    for kind in KINDS:
        own = record.values[kind]["images"]
        for index in range(layers):
            if not np.isin(arrays[f"{kind}-{index}-images"], own).all():
                raise UserError(
                    f"{record.unit_id}: its {kind} top images are not its own, but another block's"
                )


def _numbers(records: Sequence[Record], kind: str) -> npt.NDArray[np.int64]:
    """The data sets' own indices of the covered images, in the records' order."""
    return np.array([number for record in records for number in record.values[kind]["images"]], np.int64)


def _images(records: Sequence[Record], numbers: Mapping[str, npt.NDArray[np.int64]]) -> Images:
    sources = np.array(_column(records, "sources"), np.int64)
    names = records[0].values["adversarial"]["outcomes"]
    return Images(
        concepts=[concepts for record in records for concepts in record.values["real"]["concepts"]],
        sources=positions(sources, numbers["real"]),
        targets=np.array(_column(records, "targets"), np.int64),
        outcomes={
            name: np.array(
                [hit for record in records for hit in record.values["adversarial"]["outcomes"][name]], bool
            )
            for name in names
        },
    )


def _column(records: Sequence[Record], name: str) -> list[Any]:
    return [cell for record in records for cell in record.values["adversarial"][name]]


def positions(wanted: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The place of each wanted number in ``numbers``, which are distinct."""
    order = np.argsort(numbers)
    found: npt.NDArray[np.int64] = order[np.searchsorted(numbers, wanted, sorter=order)]
    return found


def _by_position(top: TopImages, numbers: npt.NDArray[np.int64]) -> TopImages:
    return TopImages(top.activations, positions(top.images, numbers))


@dataclass(frozen=True)
class SmallPictures:
    """One neuron's top images in one block, best first.

    Attributes:
        pixels: (n, side, side, 3) uint8.
        boxes: (n, 4) top, left, bottom, right in these pixels.
        images: (n,) the data set's own indices.
        activations: (n,).
    """

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    activations: npt.NDArray[np.float32]

    def to_arrays(self, prefix: str) -> dict[str, Array]:
        """The pictures as named arrays."""
        return {
            f"{prefix}-pixels": self.pixels,
            f"{prefix}-boxes": self.boxes,
            f"{prefix}-images": self.images,
            f"{prefix}-activations": self.activations,
        }

    @classmethod
    def best(cls, parts: Iterable[SmallPictures], count: int) -> SmallPictures:
        """The most exciting ones of several blocks."""
        listed = list(parts)
        joined = cls(
            *(np.concatenate([getattr(part, name) for part in listed]) for name in cls.__dataclass_fields__)
        )
        order = np.lexsort((joined.images, -joined.activations))[:count]
        return cls(*(getattr(joined, name)[order] for name in cls.__dataclass_fields__))


def read_small_pictures(records: Iterable[Record], count: int) -> dict[tuple[int, str], SmallPictures]:
    """Neuron and kind to the most exciting pictures among the blocks that kept any."""
    parts: dict[tuple[int, str], list[SmallPictures]] = {}
    for record in records:
        name = sheet_file(record.values["block"])
        if name not in record.files:
            continue
        arrays = bytes_to_arrays(record.files[name])
        for neuron in arrays["neurons"].tolist():
            for kind in KINDS:
                fields = (arrays[f"{kind}-{neuron}-{field}"] for field in SmallPictures.__dataclass_fields__)
                parts.setdefault((neuron, kind), []).append(SmallPictures(*fields))
    return {key: SmallPictures.best(found, count) for key, found in parts.items()}
