"""What the neurons of a layer answer to an image.

A neuron is a channel; its activation for an image is the channel's spatial maximum (or mean). Layers are
read by forward hooks, so any module of any network can be asked, and several in one pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.errors import UserError

Pool = Literal["max", "mean"]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def pooled_activations(
    model: nn.Module, images: Tensor, layers: Sequence[str], pool: Pool = "max"
) -> dict[str, Tensor]:
    """One forward pass; every named layer's activations.

    Args:
        model: in evaluation mode, pixels in [0, 1] to logits.
        images: (N, C, H, W) float32 in [0, 1].
        layers: module names as in `model.named_modules()`; where a module runs several times in a pass its
            last output counts.
        pool: the spatial maximum (Dong et al.) or mean.

    Returns:
        layer to (N, neurons) float32 on the model's device.

    Raises:
        UserError: a layer does not exist, did not run, or gives something else than (N, C, H, W) or (N, C).
    """
    pooled: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        pooled[name] = pool_map(_checked_map(name, output), pool)

    with torch.no_grad(), hooked(model, layers, keep):
        model(images)
    silent = [name for name in layers if name not in pooled]
    if silent:
        raise UserError(f"layer '{silent[0]}' does not run in a forward pass; name another layer")
    return pooled


def feature_map(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The layer's output for the images, (N, C, H, W), differentiable with respect to them.

    Raises:
        UserError: the layer does not exist, did not run, or its output has no spatial extent.
    """
    maps: dict[str, Tensor] = {}
    with hooked(model, [layer], lambda name, output: maps.update({name: output})):
        model(images)
    if layer not in maps or _checked_map(layer, maps[layer]).ndim != 4:
        raise UserError(f"layer '{layer}' gives no (N, C, H, W) map in a forward pass; name a convolution")
    return maps[layer]


def pool_map(output: Tensor, pool: Pool) -> Tensor:
    """(N, C, H, W) to (N, C); what has no spatial extent is kept."""
    if output.ndim == 2:
        return output.float()
    return (output.amax((2, 3)) if pool == "max" else output.mean((2, 3))).float()


@contextmanager
def hooked(model: nn.Module, layers: Sequence[str], see: Callable[[str, Any], None]) -> Iterator[None]:
    """Within the block, `see(name, output)` is called whenever one of the layers has run.

    Raises:
        UserError: a layer does not exist; the nearest names are given.
    """
    modules = dict(model.named_modules())
    for name in layers:
        if name not in modules:
            near = difflib.get_close_matches(name, modules, n=3, cutoff=0.3)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise UserError(f"the model has no layer '{name}'{hint}")

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _inputs, output: see(name, output)

    handles = [modules[name].register_forward_hook(hook_of(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def default_layer(model: nn.Module, images: Tensor) -> str:
    """The last convolution to run on a map wider than one pixel, the classifier's own excepted.

    The order is that of a forward pass, since auxiliary heads are often registered last. Convolutions on a
    pooled 1 x 1 map (squeeze-and-excitation gates, convolutional heads) hold no place in the image, and a
    convolution that computes the logits (SqueezeNet) is the classifier.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W), any images of the right size.

    Raises:
        UserError: the network has no such convolution.
    """
    weighted = [
        name for name, module in model.named_modules() if next(module.parameters(False), None) is not None
    ]
    ran: dict[str, Any] = {}

    def note(name: str, output: Any) -> None:
        ran.pop(name, None)  # so that the order of `ran` is that of the last runs
        ran[name] = output.shape

    with torch.no_grad(), hooked(model, weighted, note):
        model(images[:1])
    modules = dict(model.named_modules())
    convolutions = [
        name for name, shape in ran.items() if isinstance(modules[name], nn.Conv2d) and max(shape[2:]) > 1
    ]
    classifier = next(reversed(ran), None)
    candidates = [name for name in convolutions if name != classifier] or convolutions
    if not candidates:
        raise UserError(
            "the network has no convolution over a spatial map, so it has no default layer of neurons; "
            "name a layer, or leave the consistency task out for it"
        )
    return candidates[-1]


def _checked_map(name: str, output: Any) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim not in (2, 4):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"layer '{name}' gives {shape}, not (images, channels, height, width) or (images, channels); "
            "name another layer"
        )
    return output
