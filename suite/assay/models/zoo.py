"""Names to models: the one door to a network (no torch at import)."""

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from assay.models import card_file, entries
from assay.models.info import UNSTATED
from assay.models.registry import Registry, ZooEntry

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

__all__ = ["ZooEntry", "list_models", "load_model", "named_in"]


@cache
def registry() -> Registry:
    """The registry, filled by the ``register(registry)`` of every module in ``assay.models.entries``."""
    filled = Registry()
    for module in pkgutil.iter_modules(entries.__path__, prefix=f"{entries.__name__}."):
        importlib.import_module(module.name).register(filled)
    return filled


def list_models() -> list[ZooEntry]:
    """Every model that has a name of its own, then the patterns of names."""
    return registry().listed()


def named_in(folder: Path, name: str) -> str:
    """What a name in a file of ``folder`` means: a relative path in it starts there."""
    if name.endswith(card_file.SUFFIXES):
        return str(folder / name) if (folder / name).is_file() else name
    prefix = registry().path_prefix(name)
    return f"{prefix}{folder / name.removeprefix(prefix)}" if prefix else name


def load_model(name: str, *, weights: Path | None = None, device: str = "cpu") -> "LoadedModel":
    """The model called ``name``, ready to classify pixels.

    Args:
        name: as listed by :func:`list_models`, or of one of the patterns listed there.
        weights: a state dict (``.safetensors`` or ``.pth``) to use instead of the published weights.
        device: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: unknown name or device, missing or wrong weights.
    """
    entry = registry().find(name)
    from assay.models.loaded import torch_device

    target = torch_device(device)
    return entry.load(weights).to(target)


def label_space_of(name: str, weights: Path | None = None) -> str:
    """The label space of the model called ``name``; where its name does not say it, the network is loaded.

    Raises:
        UserError: as :func:`load_model`.
    """
    stated = registry().find(name).label_space
    return load_model(name, weights=weights).info.label_space if stated == UNSTATED else stated
