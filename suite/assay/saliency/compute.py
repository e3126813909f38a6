"""From a network and images to saliency maps, whatever the method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from assay.errors import UserError
from assay.saliency import backprop
from assay.saliency.settings import GuidedBackprop, Settings
from assay.saliency.twin import guidable_twin_of, twin_of

Explain = Callable[[Tensor, Tensor], Tensor]
"""Images (n, C, H, W) and their targets (n,) to maps (n, H, W)."""


def maps(
    network: nn.Module, images: Tensor, target: Tensor, settings: Settings, batch_size: int = 32
) -> Tensor:
    """One saliency map an image.

    The channels of methods that answer a number a channel are summed. The network is not altered: its mode,
    hooks and gradients stay as they are, and what is asked is its eval mode. The same arguments give the
    same maps, and an image's map does not depend on the images beside it.

    Args:
        network: pixels in [0, 1] to logits (N, classes).
        images: (N, C, H, W) of the network's floating-point type and device, in [0, 1].
        target: (N,) int64, the class that each map is about.
        settings: the method, from :func:`assay.saliency.settings.settings_of`.
        batch_size: images (or altered copies of them) in one pass, which bounds the memory.

    Returns:
        (N, H, W), detached, of the images' type and device. Positive where the pixel speaks for the class.

    Raises:
        UserError: images or targets of another shape, a target outside the classes, logits that are not
            finite; a network that the method cannot explain (see each method).
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; give at least 1")
    _check_images(images, target)
    if not len(images):
        return images.new_empty((0, *images.shape[2:]))
    with torch.enable_grad():
        network, explain = _explainer(network, images[:1], settings)
        parts = []
        for some, classes in zip(
            torch.split(images, batch_size), torch.split(target, batch_size), strict=True
        ):
            _check_logits(network, some, classes)
            parts.append(explain(some, classes))
    return torch.cat(parts)


def _explainer(network: nn.Module, image: Tensor, settings: Settings) -> tuple[nn.Module, Explain]:
    """The network's twin and the method on it."""
    if isinstance(settings, GuidedBackprop):
        guided = guidable_twin_of(network, image)
        return guided, lambda images, target: backprop.guided_backprop(guided, images, target).sum(1)
    twin = twin_of(network)
    return twin, lambda images, target: backprop.gradient(twin, images, target).sum(1)


def _check_images(images: Tensor, target: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise UserError(
            f"images are {images.dtype} {tuple(images.shape)}; give floating-point (N, C, H, W) in [0, 1]"
        )
    if target.shape != images.shape[:1] or target.dtype != torch.int64:
        raise UserError(
            f"targets are {target.dtype} {tuple(target.shape)}; give {len(images)} classes as int64 (N,)"
        )


def _check_logits(network: nn.Module, images: Tensor, target: Tensor) -> None:
    with torch.no_grad():
        logits = network(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        raise UserError("the network does not answer with logits (N, classes); saliency needs a classifier")
    if not torch.isfinite(logits).all():
        raise UserError(
            "the network answers with NaN or infinite logits; check its weights and preprocessing"
        )
    outside = target[(target < 0) | (target >= logits.shape[1])]
    if len(outside):
        raise UserError(
            f"target {int(outside[0])} lies outside the network's {logits.shape[1]} classes "
            f"(0..{logits.shape[1] - 1})"
        )
