"""A network that a model card brings in, as the card's path: ``mine.yaml``."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.card_file import SUFFIXES, CardFile, check_describes, file_of, is_card, read_card_file
from assay.models.info import UNSTATED
from assay.models.places import find_weights, weight_folders
from assay.models.registry import CODE, Family, Registry, ZooEntry, pattern_row

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel


def register(registry: Registry) -> None:
    """Adds the pattern ``CARD.yaml``."""
    family = Family(
        resolve=_resolve, listed=_listed, names=lambda: [], leads_to=CODE,
        claims=lambda name: name.endswith(SUFFIXES),
    )  # fmt: skip
    registry.add_family(family)


def card_path(name: str) -> Path:
    """Where the card called ``name`` lies: at that path, or else in a folder of weights."""
    path = Path(name).expanduser()
    return path if path.is_file() else find_weights(name) or path


def _listed() -> Iterable[ZooEntry]:
    """The pattern, then the cards in the working folder and the folders of weights, by the names that a user types."""
    yield pattern_row("CARD.yaml", "a network that a model card describes", "the user's card")
    seen: set[str] = set()
    for folder in (Path(), *weight_folders()):
        for path in sorted(each for suffix in SUFFIXES for each in folder.glob(f"*{suffix}")):
            if path.name not in seen and is_card(path):
                seen.add(path.name)
                yield entry_of_card(path.name, path)


def _resolve(name: str) -> ZooEntry | None:
    return entry_of_card(name, card_path(name)) if name.endswith(SUFFIXES) else None


def entry_of_card(name: str, path: Path, describes: Path | None = None) -> ZooEntry:
    """The zoo's row for the card at ``path``; a malformed card has one too, and loading it says what is wrong.

    Args:
        name: what the user types.
        path: of the card.
        describes: the network's file that the user named; a card of another network is malformed for it.
    """
    try:
        card = read_card_file(path)
        if describes is not None:
            check_describes(path, card, describes)
    except UserError as error:
        return _malformed(name, error)
    return ZooEntry(
        name=name,
        title=f"{card.name}, as {path.name} describes it",
        source=card.source,
        licence=card.licence,
        label_space=_label_space(card),
        load=partial(_load, path, card),
        missing=partial(_missing, path, card),
    )


def _label_space(card: CardFile) -> str:
    """As the card states it; superclasses are no public one."""
    stated = isinstance(card.label_space, str) and card.superclasses is None
    return str(card.label_space) if stated else UNSTATED


def _malformed(name: str, error: UserError) -> ZooEntry:
    def refuse(weights: Path | None) -> "LoadedModel":
        del weights
        raise error

    return ZooEntry(name, "a malformed card", UNSTATED, UNSTATED, UNSTATED, refuse, lambda: str(error))


def _missing(path: Path, card: CardFile) -> str | None:
    try:
        if card.network.zoo is not None:
            from assay.models.zoo import registry

            return registry().find(card.network.zoo).missing()
        for name in card.file_names.values():
            file_of(path, name)
    except UserError as error:
        return str(error)
    return None


def check_card(path: Path) -> str | None:
    """Check a card: its fields, and its network where that is here and reading it runs no code.

    Returns:
        None, or why the network was not looked at.

    Raises:
        UserError: the card is malformed, or its network is not what it says.
    """
    card = read_card_file(path)
    if card.network.factory is not None:
        return "a factory is called only where its model is used"
    if not card.file_names and card.network.zoo is None:
        return "it has the published weights"
    if missing := _missing(path, card):
        return missing if card.network.zoo else f"{' or '.join(card.file_names.values())} is not here"
    _load(path, card, None)
    return None


def _load(path: Path, card: CardFile, weights: Path | None) -> "LoadedModel":
    from assay.models.from_card import load_card

    if weights is not None:
        raise UserError(f"{path}: a card names its weights itself; write them there and leave out --weights")
    return load_card(path, card)
