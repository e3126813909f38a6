"""What the neurons of a layer answer to an image.

A neuron is a channel; its activation for an image is the channel's spatial maximum (or mean). Channels may come first
or last, or be the width of tokens; class and other prefix tokens do not count (see :mod:`assay.models.layer_maps`).
Layers are read by forward hooks, so any module of any network can be asked, and several in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.layer_maps import reading
from assay.models.layers import full_name, hooked
from assay.models.loaded import LoadedModel, device_of

Pool = Literal["max", "mean"]


def pooled_activations(
    model: nn.Module, images: Tensor, layers: Sequence[str], pool: Pool = "max"
) -> dict[str, Tensor]:
    """One forward pass; every named layer's activations.

    Args:
        model: in evaluation mode, pixels in [0, 1] to logits.
        images: (N, C, H, W) float32 in [0, 1].
        layers: module names as in `model.named_modules()`, or as in the network inside; where a module runs several
            times in a pass its last output counts.
        pool: the spatial maximum (Dong et al.) or mean.

    Returns:
        layer to (N, neurons) float32 on the model's device.

    Raises:
        UserError: a layer does not exist, did not run, or gives no map, no tokens and no vector.
    """
    pooled: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        pooled[name] = pool_map(_channels_first(model, name, output, images), pool)

    with torch.no_grad(), hooked(model, layers, keep):
        model(images)
    silent = [name for name in layers if name not in pooled]
    if silent:
        raise UserError(f"layer '{silent[0]}' does not run in a forward pass; name another layer")
    return pooled


def check_layers(model: LoadedModel, layers: Sequence[str]) -> None:
    """Ask the layers for one grey image.

    Raises:
        UserError: as :func:`pooled_activations`, before any work; the model's name is given.
    """
    device = device_of(model.module)
    try:
        pooled_activations(model.module, torch.full((1, *model.info.input_shape), 0.5, device=device), layers)
    except UserError as error:
        raise UserError(f"`layers` of the task, model {model.info.name}: {error}") from error


def feature_map(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The layer's map for the images, (N, C, h, w), differentiable with respect to them.

    Raises:
        UserError: the layer does not exist, did not run, or its output has no spatial extent.
    """
    maps: dict[str, Tensor] = {}
    with hooked(model, [layer], lambda name, output: maps.update({name: output})):
        model(images)
    found = _channels_first(model, layer, maps[layer], images) if layer in maps else None
    if found is None or found.ndim != 4:
        raise UserError(f"layer '{layer}' gives no map in a forward pass; name a convolution or a block")
    return found


def pool_map(output: Tensor, pool: Pool) -> Tensor:
    """(N, C, H, W) to (N, C); what has no spatial extent is kept."""
    if output.ndim == 2:
        return output.float()
    return (output.amax((2, 3)) if pool == "max" else output.mean((2, 3))).float()


def _channels_first(model: nn.Module, name: str, output: Any, images: Tensor) -> Tensor:
    return reading(model, full_name(model, name), output, tuple(images.shape)).channels_first(output)
