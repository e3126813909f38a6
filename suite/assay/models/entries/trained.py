"""A network that `assay train` made, as ``trained:DIR``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import UserError
from assay.models.info import UNSTATED
from assay.models.registry import Family, Registry, ZooEntry, pattern_row
from assay.models.trained import CARD_FILE, PREFIX, WEIGHTS_FILE, read_card

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_SOURCE = "a recipe that you ran"


def register(registry: Registry) -> None:
    """Adds the pattern ``trained:DIR``."""
    row = pattern_row("trained:DIR", "a network that `assay train` made", _SOURCE)
    registry.add_family(Family(resolve=_resolve, listed=lambda: [row], names=lambda: []))


def _resolve(name: str) -> ZooEntry | None:
    if not name.startswith(PREFIX):
        return None
    folder = Path(name.removeprefix(PREFIX))
    return ZooEntry(
        name=name,
        title=f"the trained network in {folder.name}",
        source=_SOURCE,
        licence="unstated",
        label_space=UNSTATED,
        load=partial(_load, folder),
        missing=lambda: None if (folder / CARD_FILE).is_file() else f"there is no {folder / CARD_FILE}",
    )


def _load(folder: Path, weights: Path | None) -> "LoadedModel":
    from assay.models.architectures import build
    from assay.models.build import assemble
    from assay.models.weights import file_sha256, load_strictly, read_state_dict

    if weights is not None:
        raise UserError(f"{PREFIX}{folder}: a trained network has its own weights; leave out --weights")
    card, path = read_card(folder), folder / WEIGHTS_FILE
    state = read_state_dict(path)
    sha256 = file_sha256(path)
    if sha256 != card.weights_sha256:
        raise UserError(
            f"{path}: is not the file that {CARD_FILE} beside it describes (SHA-256 {sha256[:8]}…, expected "
            f"{card.weights_sha256[:8]}…); train it again into an empty folder"
        )
    net = build(card.architecture, card.input_shape, card.num_classes)
    load_strictly(net, state, str(path))
    return assemble(net, card.card(f"{PREFIX}{folder.resolve().name}"), sha256)
