"""A network that a user in Python has in memory, under a name for as long as a block runs."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from assay.common.errors import UserError
from assay.models.entries.user_factory import load_product
from assay.models.info import UNSTATED, Preprocessing
from assay.models.loaded import LoadedModel
from assay.models.registry import ZooEntry
from assay.models.zoo import load_model, registry

Said = Mapping[str, Any] | Preprocessing | None
"""A user's description of a module: fields of a model card or of :class:`Preprocessing`, or nothing."""


def loaded(net: nn.Module, said: Said = None, name: str | None = None) -> LoadedModel:
    """A copy of ``net`` as a model: the user's own keeps its mode, its device and its gradients.

    Args:
        net: normalised input (N, C, H, W) to logits; what ``said`` gives as mean and std is put before it.
        said: what a factory returns beside its module; by default, pixels in [0, 1] of the only common shape that the
            module accepts.
        name: for messages and results; the module's class where it is left out.

    Raises:
        UserError: the module cannot be copied or run, or does not match its description.
    """
    try:
        copied = copy.deepcopy(net)
    except Exception as error:  # a user's module may refuse in any way
        raise UserError(f"the module cannot be copied ({error}); give a factory's name instead") from error
    if not isinstance(said, Preprocessing | Mapping | None):
        raise UserError(
            f'preprocessing: expected a dictionary such as {{"crop": (32, 32), "mean": …, "std": …}} (got {said!r})'
        )
    described = said if isinstance(said, Preprocessing | None) else dict(said)
    return load_product(name or name_of(net), (copied, described))


def name_of(net: nn.Module) -> str:
    """The name of a module that got none: its class."""
    return type(net).__name__


@contextmanager
def known_as(name: str, net: nn.Module, said: Said) -> Iterator[None]:
    """Let ``net`` be loaded by ``name`` in this process while the block runs.

    Raises:
        UserError: the name is that of another model.
    """
    entries = registry().entries
    if name in entries or ":" in name or name.endswith((".yaml", ".yml")):
        raise UserError(f"name={name!r}: another model has this name; choose a different one, such as 'mine'")

    def load(weights: Path | None) -> LoadedModel:
        if weights is not None:
            raise UserError(f"{name}: a module in memory has its weights; load them into it")
        return loaded(net, said, name)

    source = "a module in memory"
    entries[name] = ZooEntry(name, source, source, "unstated", UNSTATED, load, lambda: None)
    try:
        yield
    finally:
        del entries[name]


def no_model(given: Any) -> UserError:
    """What to say of an argument that names no model and is none."""
    return UserError(
        f"model: expected a torch.nn.Module, a name of `assay list models` or a card's path (got {given!r})"
    )


def as_model(
    model: str | Path | nn.Module | LoadedModel, said: Said = None, device: str = "cpu"
) -> LoadedModel:
    """A model by name or card, or a module in memory, on a device.

    Raises:
        UserError: no such model or device, or as :func:`loaded`.
    """
    from assay.models.loaded import torch_device

    if isinstance(model, LoadedModel):
        return model
    if isinstance(model, nn.Module):
        return loaded(model, said).to(torch_device(device))
    if not isinstance(model, str | Path):
        raise no_model(model)
    if said is not None:
        raise UserError(f"preprocessing: belongs to a module in memory; {model} brings its own")
    return load_model(str(model), device=device)
