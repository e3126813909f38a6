"""A network that `assay train` made, as ``trained:DIR``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.info import UNSTATED
from assay.models.registry import FILE, Family, Registry, ZooEntry, pattern_row
from assay.models.trained import CARD_FILE, PREFIX, WEIGHTS_FILE, check_weights, read_card

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_SOURCE = "a recipe that you ran"


def register(registry: Registry) -> None:
    """Adds the pattern ``trained:DIR``."""
    row = pattern_row("trained:DIR", "a network that `assay train` made", _SOURCE)
    family = Family(
        resolve=_resolve, listed=lambda: [row], names=lambda: [], leads_to=FILE, path_after=PREFIX
    )
    registry.add_family(family)


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
        missing=partial(_missing, folder),
    )


def _missing(folder: Path) -> str | None:
    absent = (folder / name for name in (CARD_FILE, WEIGHTS_FILE) if not (folder / name).is_file())
    return next((f"there is no {path}" for path in absent), None)


def _load(folder: Path, weights: Path | None) -> "LoadedModel":
    from assay.models.architectures import build
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    if weights is not None:
        raise UserError(f"{PREFIX}{folder}: a trained network has its own weights; leave out --weights")
    card = read_card(folder)
    path = check_weights(folder, card)
    net = build(card.architecture, card.input_shape, card.num_classes)
    load_weights(net, path)
    return assemble(net, card.card(f"{PREFIX}{folder.resolve().name}", folder), card.weights_sha256)
