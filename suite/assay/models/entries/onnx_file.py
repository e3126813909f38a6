"""A network in an ONNX file, as ``onnx:FILE``: read as the card ``FILE.yaml`` beside it says, where there is one."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import UserError
from assay.models.card_file import is_card
from assay.models.entries.card_file import entry_of_card
from assay.models.info import UNSTATED, Card, Preprocessing
from assay.models.registry import Family, Registry, ZooEntry, pattern_row

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

PREFIX = "onnx:"


def register(registry: Registry) -> None:
    """Adds the pattern ``onnx:FILE``."""
    row = pattern_row("onnx:FILE", "a network in an ONNX file", "the user's file")
    registry.add_family(Family(resolve=_resolve, listed=lambda: [row], names=lambda: []))


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
    from assay.models.weights import file_sha256

    if weights is not None:
        raise UserError(f"onnx:{path}: an ONNX file has its weights inside; leave out --weights")
    net, shape, num_classes = network(path)
    card = Card(
        name=f"{PREFIX}{path.name}",
        source="the user's file",
        licence="unstated",
        architecture="onnx",
        label_space=UNSTATED,
        num_classes=num_classes,
        preprocessing=Preprocessing(crop=shape[1:], mean=(0.0,) * shape[0], std=(1.0,) * shape[0]),
    )
    return assemble(net, card, file_sha256(path))
