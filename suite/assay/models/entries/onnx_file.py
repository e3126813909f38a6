"""A network in an ONNX file, as ``onnx:FILE``: read as the card ``FILE.yaml`` beside it says, where there is one.

Without a card the pixels go in as they are, in [0, 1], and pictures of another size are resized whole to the input.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.card_file import is_card
from assay.models.entries.card_file import entry_of_card
from assay.models.info import UNSTATED, Card, Preprocessing
from assay.models.registry import FILE, Family, Registry, ZooEntry, pattern_row

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

PREFIX = "onnx:"


def register(registry: Registry) -> None:
    """Adds the pattern ``onnx:FILE``."""
    row = pattern_row("onnx:FILE", "a network in an ONNX file", "the user's file")
    family = Family(
        resolve=_resolve, listed=lambda: [row], names=lambda: [], leads_to=FILE, path_after=PREFIX
    )
    registry.add_family(family)


def _resolve(name: str) -> ZooEntry | None:
    if not name.startswith(PREFIX):
        return None
    path = Path(name.removeprefix(PREFIX))
    card = path.with_suffix(".yaml")
    if is_card(card):
        return entry_of_card(name, card, describes=path)
    return ZooEntry(
        name=name,
        title=f"the ONNX file {path.name}",
        source="the user's file",
        licence="unstated",
        label_space=UNSTATED,
        load=partial(_load, path),
        missing=lambda: None if path.is_file() else f"there is no file {path}",
    )


def _load(path: Path, weights: Path | None) -> "LoadedModel":
    from assay.models.build import assemble
    from assay.models.onnx_graph import network
    from assay.models.weights import files_sha256

    if weights is not None:
        raise UserError(f"onnx:{path}: an ONNX file has its weights inside; leave out --weights")
    found = network(path)
    channels, *size = found.shape
    card = Card(
        name=f"{PREFIX}{path.name}",
        source="the user's file",
        licence="unstated",
        architecture="onnx",
        label_space=UNSTATED,
        num_classes=found.num_classes,
        preprocessing=Preprocessing(
            resize="direct",
            crop=(size[0], size[1]),
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
            layout=found.layout,
        ),
        notes=(
            *found.notes,
            f"no card says how pictures are prepared: pixels in [0, 1], resized whole to {size[0]} x {size[1]}",
        ),
    )
    return assemble(found.module, card, files_sha256(found.files))
