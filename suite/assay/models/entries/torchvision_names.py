"""Torchvision's ImageNet classifiers, as ``NAME`` or ``torchvision/NAME``, with their default weights."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.models.info import IMAGENET, Card, Preprocessing
from assay.models.registry import ZOO, Family, Registry, ZooEntry, entry_of, unknown_name

if TYPE_CHECKING:
    from torch import nn

    from assay.models.checkpoints import StateDict
    from assay.models.loaded import LoadedModel

_PREFIX = "torchvision/"
_AS_TRAINED: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
}
"""Arguments that torchvision itself sets when it loads these models' weights."""

_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def register(registry: Registry) -> None:
    """Adds every classifier of torchvision."""
    registry.add_family(Family(resolve=_resolve, listed=_listed, names=_names, leads_to=ZOO))


def _names() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def _listed() -> Iterable[ZooEntry]:
    return [_entry(name) for name in _names()]


def _resolve(asked: str) -> ZooEntry | None:
    name = asked.removeprefix(_PREFIX)
    if not name.isidentifier():
        return None
    if name in _names():
        return _entry(name)
    if asked.startswith(_PREFIX):
        raise unknown_name(asked, [f"{_PREFIX}{known}" for known in _names()])
    return None


def _default_weights(name: str) -> Any:
    from torchvision import models

    return models.get_model_weights(name).DEFAULT


def _entry(name: str) -> ZooEntry:
    card = card_of(name)
    title = f"torchvision's {name}, ImageNet, {card.preprocessing.crop[0]} x {card.preprocessing.crop[1]}"
    url = _default_weights(name).url
    return entry_of(card, title, partial(_load, card), partial(_missing, url))


def card_of(asked: str) -> Card:
    """The card of torchvision's network, with or without ``torchvision/`` before its name, with its default weights.

    Raises:
        UserError: no such network; names the nearest ones.
    """
    name = asked.removeprefix(_PREFIX)
    if name not in _names():
        raise unknown_name(asked, _names())
    published = _default_weights(name)
    transform = published.transforms()
    return Card(
        name=name,
        source=f"torchvision, {published}",
        licence="BSD-3-Clause",
        architecture=f"torchvision/{name}",
        label_space=IMAGENET,
        num_classes=len(published.meta["categories"]),
        preprocessing=Preprocessing(
            resize=transform.resize_size[0],
            crop=(transform.crop_size[0], transform.crop_size[0]),
            interpolation=transform.interpolation.value,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        ),
    )


def _missing(url: str) -> str | None:
    from assay.models.download import hub_folder, not_here
    from assay.models.places import find_weights

    file = url.rsplit("/", 1)[-1]
    return None if find_weights(file, hub_folder()) else not_here(file)


def _load(card: Card, weights: Path | None) -> "LoadedModel":
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    net = build(card.name)
    taken = load_weights(net, weights or published(card.name), renamed=current_names)
    return assemble(net, (card if weights is None else card.of_user()).noting(*taken.notes), taken.sha256)


def build(name: str, num_classes: int | None = None) -> "nn.Module":
    """The network ``name`` with fresh weights.

    Args:
        name: as torchvision calls it.
        num_classes: of its head; None for that of the published weights.
    """
    from torchvision import models

    head = {} if num_classes is None else {"num_classes": num_classes}
    net: nn.Module = models.get_model(name, weights=None, **_AS_TRAINED.get(name, {}), **head)
    return net


def published(name: str) -> Path:
    """The file of the published weights.

    Raises:
        UserError: it is not on this machine, and not to be fetched.
    """
    from assay.models.download import published_checkpoint

    return published_checkpoint(name, _default_weights(name).url)


def current_names(state: "StateDict") -> "StateDict":
    """The published DenseNets write ``norm.1`` where today's network has ``norm1``; others are kept."""
    if not any(_OLD_DENSENET_KEY.search(key) for key in state):
        return state
    return {_OLD_DENSENET_KEY.sub(r"\1\2", key): tensor for key, tensor in state.items()}
