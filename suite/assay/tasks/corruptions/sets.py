"""The pictures of each image: made from it, published beside each other, or the image alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from assay.common.errors import UserError
from assay.data.corrupting.names import SEVERITIES
from assay.tasks.base import Unit, image_units
from assay.tasks.corruptions.spec import CorruptionsSpec

if TYPE_CHECKING:
    from assay.data.dataset import Dataset, Sample

Cell = tuple[str, int]


class Image(NamedTuple):
    """What a unit stands for.

    Attributes:
        label: 0-based; of all its pictures.
        clean: its picture as it is; None where only corrupted ones are published.
        published: by corruption and severity, where they are.
    """

    label: int
    clean: "Sample | None"
    published: Mapping[Cell, "Sample"]


def images(spec: CorruptionsSpec, data: "Dataset") -> list[Unit]:
    """One unit per image, in the data set's order.

    Raises:
        UserError: published pictures lack one that the spec names.
    """
    if spec.pictures != "published":
        return [Unit(unit.id, Image(unit.payload.label, unit.payload, {})) for unit in image_units(data)]
    return [
        Unit(image, Image(next(iter(cells.values())).label, None, cells))
        for image, cells in _published(spec, data).items()
    ]


@dataclass(frozen=True)
class _Place:
    corruption: str
    severity: int
    image: str


def _place(sample: "Sample", name: str) -> _Place:
    parts = sample.unit_id.split("/", 2)
    if len(parts) == 3 and parts[1].isdecimal() and int(parts[1]) in SEVERITIES:
        return _Place(parts[0], int(parts[1]), parts[2])
    raise UserError(
        f"data set {name}: the id {sample.unit_id!r} does not begin with CORRUPTION/SEVERITY/; write `pictures: made` "
        "to corrupt its pictures, or `plain` to score them as they are"
    )


def _published(spec: CorruptionsSpec, data: "Dataset") -> dict[str, dict[Cell, "Sample"]]:
    """By image, the pictures of the cells that the spec names."""
    name, wanted = data.manifest.name, set(spec.cells)
    found: dict[str, dict[Cell, Sample]] = {}
    for sample in data.samples:
        place = _place(sample, name)
        if (place.corruption, place.severity) in wanted:
            found.setdefault(place.image, {})[place.corruption, place.severity] = sample
    if not found:
        there = sorted({_place(sample, name).corruption for sample in data.samples})
        raise UserError(f"data set {name}: has none of the spec's corruptions; it has {', '.join(there)}")
    for image, cells in found.items():
        for corruption, severity in sorted(wanted - set(cells)):
            raise UserError(
                f"data set {name}: lacks {corruption}/{severity}/{image}; get it whole, or name in the spec the "
                "corruptions and severities that are there"
            )
    return found


def check_classes(spec: CorruptionsSpec, data: "Dataset") -> None:
    """Refuse a subset of classes that is not the data's.

    Raises:
        UserError: a class outside the label space, or a label outside the subset.
    """
    if not spec.classes or spec.predicted:
        return
    manifest = data.manifest
    if spec.classes[-1] >= manifest.num_classes:
        raise UserError(
            f"classes: {spec.classes[-1]} is not a class of {manifest.label_space} (0..{manifest.num_classes - 1}); "
            "name class indices of the data's label space"
        )
    outside = sorted({sample.label for sample in data.samples} - set(spec.classes))
    if outside:
        raise UserError(
            f"classes: the label {outside[0]} of data set {manifest.name} is not among them; add it, or leave "
            "`classes` out"
        )


def check_size(spec: CorruptionsSpec, shape: Sequence[int], model: str) -> None:
    """Refuse pictures that a corruption cannot be made of.

    Args:
        spec: of the job.
        shape: (channels, height, width) of the network's input.
        model: its name.

    Raises:
        UserError: they are too small, too large for the small frost pictures, or without colours to saturate.
    """
    from assay.data.corrupting.level import unfit

    channels, height, width = shape
    for name in spec.corruptions:
        reason = unfit(name, spec.settings, (height, width, channels), f"{model} takes")
        if reason is not None:
            raise UserError(f"corruptions: {reason}")
