"""The weights that a training begins with: fresh ones, or those of a known network except for its last layer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from assay.models.foreign import NamePolicy, load_named
from assay.models.loaded import LoadedModel, Normalised
from assay.models.weights import load_strictly
from assay.training.recipe import Recipe


def start_of(recipe: Recipe, folder: Path, device: torch.device, trust: NamePolicy) -> LoadedModel | None:
    """The network whose weights a recipe begins with; None for fresh ones.

    Args:
        recipe: may name it.
        folder: where a relative path in the name starts.
        device: where the network goes.
        trust: how far the recipe's names are followed.

    Raises:
        UserError: it is unknown or not followed, or its weights are missing.
    """
    if recipe.start_from is None:
        return None
    where = f"{recipe.title}: `start_from`"
    return load_named(recipe.start_from, where, trust, folder=folder, device=str(device), option="--trust")


def begin_with(net: nn.Module, start: LoadedModel) -> None:
    """Put a known network's weights into a fresh one; the last layer stays fresh where it has other classes.

    Args:
        net: without its normalisation, fresh.
        start: of the same architecture. Its normalisation is not taken over: the recipe's ``input`` has its own.

    Raises:
        UserError: it is of another architecture; names the first tensors that differ.
    """
    known = start.module.net if isinstance(start.module, Normalised) else start.module
    weights, fresh = known.state_dict(), net.state_dict()
    last = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)][-1:]
    for name in (f"{layer}.{part}" for layer in last for part in ("weight", "bias")):
        if name in weights and name in fresh and weights[name].shape != fresh[name].shape:
            weights[name] = fresh[name]
    load_strictly(net, weights, start.info.name)
