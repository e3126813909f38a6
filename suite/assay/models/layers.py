"""A network's layers by name: watched while they run, and the one that sees the image last."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from assay.errors import UserError


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


def last_convolution(model: nn.Module, images: Tensor) -> str:
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
            "the network has no convolution over a spatial map, and so no default layer; "
            "name a layer, or choose a convolutional network"
        )
    return candidates[-1]
