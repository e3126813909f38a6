"""Timm's pretrained networks as ``timm/NAME``, from the Hugging Face cache or a user's weight file."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import UserError
from assay.models.info import IMAGENET, UNSTATED, Card, Preprocessing
from assay.models.places import downloads_allowed
from assay.models.registry import Family, Registry, ZooEntry, entry_of, pattern_row, unknown_name

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_PREFIX = "timm/"
_FILES = ("model.safetensors", "pytorch_model.bin")
_SHA256_LENGTH = 64


def register(registry: Registry) -> None:
    """Adds the pattern ``timm/NAME``."""
    row = pattern_row(
        "timm/NAME", "any of timm's networks", "timm", "needs --weights or Hugging Face's cache"
    )
    registry.add_family(Family(resolve=_resolve, listed=lambda: [row], names=lambda: []))


def _resolve(asked: str) -> ZooEntry | None:
    if not asked.startswith(_PREFIX):
        return None
    import timm

    name = asked.removeprefix(_PREFIX)
    config = timm.models.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    if config is None:
        known = {*timm.list_models(), *timm.list_pretrained()}
        raise unknown_name(asked, [f"{_PREFIX}{one}" for one in known])
    card = Card(
        name=asked,
        source=f"timm, {config.hf_hub_id or config.url or 'no published weights'}",
        licence=config.license or "unstated",
        architecture=asked,
        label_space=IMAGENET if config.num_classes == 1000 else UNSTATED,
        num_classes=config.num_classes,
        preprocessing=timm_preprocessing(asked, config.to_dict()),
    )
    title = f"timm's {name}"
    return entry_of(card, title, partial(_load, card, config.hf_hub_id), partial(_missing, config.hf_hub_id))


def timm_preprocessing(name: str, config: Mapping[str, Any]) -> Preprocessing:
    """Timm's evaluation transform as its ``pretrained_cfg`` describes it.

    Raises:
        UserError: a crop that Assay does not know.
    """
    _, height, width = config["input_size"]
    crop_pct = config.get("crop_pct") or 0.875
    squashed = config.get("crop_mode", "center") == "squash" and crop_pct == 1
    if not squashed and config.get("crop_mode", "center") != "center":
        raise UserError(
            f"{name}: timm's crop mode {config['crop_mode']!r} is not supported; load it by a factory of "
            "your own, which returns (module, preprocessing)"
        )
    return Preprocessing(
        resize="direct" if squashed else math.floor(min(height, width) / crop_pct),
        crop=(height, width),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _cached(repository: str | None) -> Path | None:
    if repository is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in _FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _missing(repository: str | None) -> str | None:
    if _cached(repository) is not None:
        return None
    return (
        f"the weights of {repository} are not in Hugging Face's cache"
        if repository
        else "no published weights"
    )


def _load(card: Card, repository: str | None, weights: Path | None) -> "LoadedModel":
    import timm

    from assay.models.build import assemble
    from assay.models.weights import file_sha256, load_strictly, read_state_dict

    path = weights or _cached(repository) or _fetched(card.name, repository)
    sha256 = file_sha256(path) if path.is_file() else ""
    stored_as = path.resolve().name
    if weights is None and len(stored_as) == _SHA256_LENGTH and stored_as != sha256:
        raise UserError(
            f"{path}: its SHA-256 is not the one under which it is cached; delete it and get it again"
        )
    state = read_state_dict(path)
    net = timm.create_model(card.name.removeprefix(_PREFIX), pretrained=False)
    load_strictly(net, state, str(path))
    return assemble(net, card if weights is None else card.of_user(), sha256)


def _fetched(name: str, repository: str | None) -> Path:
    if repository is None or not downloads_allowed():
        raise UserError(
            f"{name}: {_missing(repository)}; give a checkpoint with --weights FILE (make: WEIGHTS=FILE)"
            + (f", or let {_FILES[0]} be fetched with ASSAY_DOWNLOAD=1" if repository else "")
        )
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, _FILES[0]))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name}: fetching {_FILES[0]} of {repository} failed ({' '.join(str(error).split())}); "
            "give a checkpoint with --weights FILE"
        ) from error
