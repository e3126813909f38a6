"""Timm's networks as ``timm/NAME``, and those in Hugging Face's repositories as ``hf-hub:OWNER/NAME``.

Weights come from Hugging Face's cache or a user's file; the preprocessing from the configuration that comes with the
weights. ``:test`` after the name takes the input size and crop that it states for testing.
"""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.models.hub import WEIGHT_FILES, Repository
from assay.models.info import IMAGENET, UNSTATED, Card
from assay.models.registry import FILE, ZOO, Family, Registry, ZooEntry, entry_of, pattern_row, unknown_name
from assay.models.timm_data import has_test_values, timm_preprocessing

if TYPE_CHECKING:
    from torch import nn

    from assay.models.checkpoints import StateDict
    from assay.models.loaded import LoadedModel

_PREFIX = "timm/"
_HUB_PREFIXES = ("hf-hub:", "timm/hf-hub:")
_AT_TEST = "test"
_CONFIG = "config.json"
_SHA256_LENGTH = 64
_IMAGENET_CLASSES = 1000
_OWN_WEIGHTS = "give a checkpoint with --weights FILE (make: WEIGHTS=FILE)"


def register(registry: Registry) -> None:
    """Adds the patterns ``timm/NAME`` and ``hf-hub:OWNER/NAME``."""
    rows = (
        pattern_row(
            "timm/NAME", "any of timm's networks; NAME:test for its test size", "timm",
            "needs --weights or Hugging Face's cache",
        ),
        pattern_row(
            "hf-hub:OWNER/NAME", "a timm network in a Hugging Face repository", "its owner",
            "needs Hugging Face's cache",
        ),
    )  # fmt: skip
    registry.add_family(
        Family(resolve=_resolve_hub, listed=lambda: [rows[1]], names=lambda: [], leads_to=FILE)
    )
    registry.add_family(Family(resolve=_resolve, listed=lambda: [rows[0]], names=lambda: [], leads_to=ZOO))


def _resolve(asked: str) -> ZooEntry | None:
    if not asked.startswith(_PREFIX):
        return None
    card, repository, name = _described(asked)
    load = partial(_load, card, repository, name)
    return entry_of(card, f"timm's {name}", load, partial(_missing, repository))


def card_of(asked: str) -> Card:
    """The card of timm's network with its published weights, with or without ``timm/`` before its name.

    Raises:
        UserError: no such network; names the nearest ones.
    """
    return _described(_full_name(asked))[0]


def published(asked: str) -> Path:
    """The file of the published weights of the network that :func:`card_of` names.

    Raises:
        UserError: there are none, or they are not on this machine and not to be fetched.
    """
    card, repository, _ = _described(_full_name(asked))
    return _published(card.name, repository)


def build(asked: str, num_classes: int | None = None) -> "nn.Module":
    """The network that :func:`card_of` names with fresh weights.

    Args:
        asked: its name.
        num_classes: of its head; None for that of the published weights.
    """
    return _build(_described(_full_name(asked))[2], num_classes)


def current_names(state: "StateDict") -> "StateDict":
    """The tensors as they are: timm's published files have its names."""
    return state


def _full_name(asked: str) -> str:
    return f"{_PREFIX}{asked.removeprefix(_PREFIX)}"


def _build(timm_name: str, num_classes: int | None = None) -> "nn.Module":
    import timm

    head = {} if num_classes is None else {"num_classes": num_classes}
    net: nn.Module = timm.create_model(timm_name, pretrained=False, **head)
    return net


def _described(asked: str) -> tuple[Card, Repository | None, str]:
    """The card of ``timm/NAME``, where its published weights are, and timm's own name."""
    import timm

    name, at_test = _option(asked, asked.removeprefix(_PREFIX))
    config = timm.models.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    if config is None:
        known = {*timm.list_models(), *timm.list_pretrained()}
        raise unknown_name(asked, [f"{_PREFIX}{one}" for one in known])
    card = _card(
        asked,
        config.to_dict(),
        source=f"timm, {config.hf_hub_id or config.url or 'no published weights'}",
        architecture=asked,
        at_test=at_test,
    )
    return card, Repository(config.hf_hub_id) if config.hf_hub_id else None, name


def _resolve_hub(asked: str) -> ZooEntry | None:
    prefix = next((prefix for prefix in _HUB_PREFIXES if asked.startswith(prefix)), None)
    if prefix is None:
        return None
    name, at_test = _option(asked, asked.removeprefix(prefix))
    owned, _, revision = name.partition("@")
    repository = Repository(owned, revision or None)
    try:
        described = repository.cached(_CONFIG)
    except ValueError as error:  # huggingface_hub's own complaint about the form of a name
        raise UserError(f"{asked}: is no repository of Hugging Face's ({error}); write OWNER/NAME") from error
    return ZooEntry(
        name=asked,
        title=f"{owned} of Hugging Face",
        source=f"Hugging Face, {name}",
        licence="as its owner states",
        label_space=UNSTATED,
        load=partial(_load_hub, asked, repository, at_test),
        missing=lambda: _missing(repository) if described else repository.absent(_CONFIG),
    )


def _option(asked: str, name: str) -> tuple[str, bool]:
    """The name without its option, and whether the option asks for the test size."""
    plain, colon, option = name.partition(":")
    if colon and option != _AT_TEST:
        raise UserError(
            f"unknown model {asked!r}: {option!r} is no option; write {plain}:{_AT_TEST} or {plain}"
        )
    return plain, bool(colon)


def _card(name: str, config: dict[str, Any], *, source: str, architecture: str, at_test: bool) -> Card:
    if at_test and not has_test_values(config):
        raise UserError(f"{name}: timm states no input size or crop for testing; leave out :{_AT_TEST}")
    if at_test and config.get("fixed_input_size") and config.get("test_input_size"):
        raise UserError(f"{name}: the network takes one input size only; leave out :{_AT_TEST}")
    imagenet = config["num_classes"] == _IMAGENET_CLASSES and not config.get("label_names")
    return Card(
        name=name,
        source=source,
        licence=config.get("license") or "unstated",
        architecture=architecture,
        label_space=IMAGENET if imagenet else UNSTATED,
        num_classes=config["num_classes"],
        preprocessing=timm_preprocessing(name, config, at_test=at_test),
    )


def _missing(repository: Repository | None) -> str | None:
    if repository is None:
        return "no published weights"
    return None if repository.cached(*WEIGHT_FILES) else repository.absent(*WEIGHT_FILES)


def _load_hub(asked: str, repository: Repository, at_test: bool, weights: Path | None) -> "LoadedModel":
    from timm.models import is_model
    from timm.models._hub import load_model_config_from_path

    folder = repository.file(asked, f"put its {_CONFIG} there", _CONFIG).parent
    try:
        config, architecture, arguments = load_model_config_from_path(folder)
        known = is_model(architecture)
        config.setdefault("num_classes", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{asked}: its {_CONFIG} is none that timm writes ({type(error).__name__}: {error}); choose a repository "
            "of a timm network"
        ) from error
    if not known or not isinstance(config["num_classes"], int):
        raise UserError(
            f"{asked}: its {_CONFIG} names {architecture!r} with {config['num_classes']} classes, which timm does "
            "not have; choose a repository of a timm network"
        )
    card = _card(
        asked,
        config,
        source=f"Hugging Face, {repository.name}",
        architecture=f"{_PREFIX}{architecture}"
        + (json.dumps(arguments, sort_keys=True) if arguments else ""),
        at_test=at_test,
    )
    return _load(card, repository, f"local-dir:{folder}", weights)


def _load(card: Card, repository: Repository | None, timm_name: str, weights: Path | None) -> "LoadedModel":
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    if card.num_classes == 0:
        raise UserError(
            f"{card.name}: timm's network gives features and has no classes; choose one with a classifier"
        )
    net = _build(timm_name)
    taken = load_weights(net, weights or _published(card.name, repository))
    return assemble(net, (card if weights is None else card.of_user()).noting(*taken.notes), taken.sha256)


def _published(name: str, repository: Repository | None) -> Path:
    """The file of published weights, sound where its name says what it has to be."""
    from assay.models.weights import file_sha256

    if repository is None:
        raise UserError(f"{name}: no published weights; {_OWN_WEIGHTS}")
    path = repository.file(name, _OWN_WEIGHTS, *WEIGHT_FILES)
    stored_as = path.resolve().name
    if len(stored_as) == _SHA256_LENGTH and stored_as != file_sha256(path):
        raise UserError(
            f"{path}: its SHA-256 is not the one under which it is cached; delete it and get it again"
        )
    return path
