"""A network's layers by name: watched while they run, and the one that sees the image last."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.layer_maps import LayerReading, reading

_CONTAINERS = (nn.Sequential, nn.ModuleList)


def full_name(model: nn.Module, layer: str) -> str:
    """The full name, in ``model.named_modules()``, of the layer ``layer`` of the model or of the network inside it.

    A model wraps its network (in a normalisation, say), so that ``blocks.11`` of the network is ``net.blocks.11``: a
    wrapper is a module with one child that has weights.

    Raises:
        UserError: there is none; the nearest names are given.
    """
    prefix, inside = "", model
    while layer not in dict(inside.named_modules()):
        weighted = [
            (name, child)
            for name, child in inside.named_children()
            if next(child.parameters(), None) is not None
        ]
        if len(weighted) != 1:
            near = difflib.get_close_matches(layer, dict(model.named_modules()), n=3, cutoff=0.3)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise UserError(f"the model has no layer '{layer}'{hint}")
        name, inside = weighted[0]
        prefix += f"{name}."
    return prefix + layer


@contextmanager
def hooked(model: nn.Module, layers: Sequence[str], see: Callable[[str, Any], None]) -> Iterator[None]:
    """Within the block, `see(name, output)` is called whenever one of the layers has run.

    Raises:
        UserError: a layer does not exist; the nearest names are given.
    """
    modules = dict(model.named_modules())
    known = {layer: layer if layer in modules else full_name(model, layer) for layer in layers}

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _inputs, output: see(name, output)

    handles = [modules[full].register_forward_hook(hook_of(layer)) for layer, full in known.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def default_layer(model: nn.Module, images: Tensor) -> str:
    """The layer that sees the whole image last: the last convolution, or a transformer's last block.

    The last block is chosen where it gives tokens or a map with its channels last, and mixes places by attention or
    without any convolution (ViT, Swin, Mixer). It is also chosen where attention follows the last convolution (MaxViT).

    Args:
        model: in evaluation mode.
        images: (N, C, H, W), any images of the right size.

    Raises:
        UserError: the network has neither.
    """
    runs = _Runs.of(model, images[:1])
    block = runs.last_block()
    try:
        convolution = last_convolution(model, images)
    except UserError:
        if block is None:
            raise
        return block
    if block is None or runs.order[convolution] > runs.order[block]:
        return convolution
    attends = [name for name in runs.order if _within(name, block) and _is_attention(runs.modules[name])]
    if runs.blocks[block].kind == "nchw":
        return block if any(runs.order[name] > runs.order[convolution] for name in attends) else convolution
    return block if attends or not _within(convolution, block) else convolution


@dataclass(frozen=True)
class _Runs:
    """One forward pass.

    Attributes:
        modules: by name.
        order: the place of each module's last run in the order of those, by name.
        maps: what each block gave that is a map of more than one place, channels first.
        blocks: how each was read.
    """

    modules: dict[str, nn.Module]
    order: dict[str, int]
    maps: dict[str, Tensor]
    blocks: dict[str, LayerReading]

    @classmethod
    def of(cls, model: nn.Module, image: Tensor) -> _Runs:
        modules = dict(model.named_modules())
        ran: list[str] = []
        maps: dict[str, Tensor] = {}
        blocks: dict[str, LayerReading] = {}

        def note(name: str, output: Any) -> None:
            ran.append(name)
            if not _is_block(modules, name):
                return
            try:
                read = reading(model, name, output, tuple(image.shape))
            except UserError:  # neither a map nor tokens
                return
            if max(read.size) > 1:
                maps[name], blocks[name] = read.channels_first(output), read

        with torch.no_grad(), hooked(model, list(modules), note):
            model(image)
        return cls(modules, {name: place for place, name in enumerate(ran)}, maps, blocks)

    def last_block(self) -> str | None:
        """The block that ran last. If a block inside it gives the same output, that one is named."""
        found: str | None = None
        inside = list(self.blocks)
        while inside:
            last = max(inside, key=self.order.__getitem__)
            if found is not None and not torch.equal(self.maps[last], self.maps[found]):
                break
            found = last
            inside = [name for name in self.blocks if name != found and _within(name, found)]
        return found


def _is_block(modules: dict[str, nn.Module], name: str) -> bool:
    """Whether the module is part of a sequence and holds further modules with weights."""
    parent, _, _ = name.rpartition(".")
    in_sequence = bool(name) and isinstance(modules[parent], _CONTAINERS)
    module = modules[name]
    composite = any(next(child.parameters(), None) is not None for child in module.children())
    return in_sequence and composite and type(module) not in _CONTAINERS


def _is_attention(module: nn.Module) -> bool:
    heads = (getattr(module, attribute, None) for attribute in ("num_heads", "n_heads"))
    return any(isinstance(number, int) for number in heads)


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def last_convolution(model: nn.Module, images: Tensor) -> str:
    """The last convolution to run on a map wider than one pixel, the classifier's own excepted.

    The order is a forward pass's, since auxiliary heads are often registered last. Convolutions on a pooled 1 x 1 map
    (squeeze-and-excitation gates, convolutional heads) hold no place in the image, and a convolution that computes the
    logits (SqueezeNet) is the classifier.

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
        ran.pop(name, None)  # so that `ran` is in the order of the last runs
        if isinstance(output, Tensor):
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
            "name a layer, or choose a convolutional network or a transformer"
        )
    return candidates[-1]
