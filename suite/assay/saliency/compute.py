"""From a network and images to saliency maps, for every method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.check import check_type
from assay.saliency import backprop, cam
from assay.saliency.occlusion import occlusion
from assay.saliency.settings import (
    GradCam,
    GradCamPlusPlus,
    Gradient,
    GuidedBackprop,
    GuidedGradCam,
    GuidedGradCamPlusPlus,
    IntegratedGradients,
    Occlusion,
    Settings,
    SmoothGrad,
)
from assay.saliency.twin import guidable_twin_of, twin_of

Explain = Callable[[Tensor, Tensor], Tensor]
"""Images (n, C, H, W) and their targets (n,) to maps: (n, C, H, W) if the method is `per_channel`, else (n, H, W)."""


def maps(
    network: nn.Module, images: Tensor, target: Tensor, settings: Settings, batch_size: int = 32
) -> Tensor:
    """One saliency map per image: :func:`channel_maps` with the channels summed.

    Returns:
        (N, H, W), detached, of the images' type and device. Positive where the pixel speaks for the class.

    Raises:
        UserError: as :func:`channel_maps`.
    """
    found = channel_maps(network, images, target, settings, batch_size)
    return found.sum(1) if settings.per_channel else found


def channel_maps(
    network: nn.Module, images: Tensor, target: Tensor, settings: Settings, batch_size: int = 32
) -> Tensor:
    """The saliency of every component of every image, as the method answers it.

    The network is not altered: its mode, hooks and gradients stay as they are, and what is asked is its eval
    mode. The same arguments give the same maps. Up to rounding, an image's map does not depend on the images beside it.

    Args:
        network: pixels in [0, 1] to logits (N, classes).
        images: (N, C, H, W) of the network's floating-point type and device, in [0, 1].
        target: (N,) int64, the class that each map is about.
        settings: the method, from :func:`assay.saliency.settings.settings_of`.
        batch_size: images (or altered copies of them) in one pass, which bounds the memory.

    Returns:
        (N, C, H, W) where the method gives one number per channel (``settings.per_channel``), else (N, H, W);
        detached, of the images' type and device. Positive where the component speaks for the class.

    Raises:
        UserError: images or targets of another shape, a target outside the classes, logits that are not
            finite; a network that the method cannot explain (see each method).
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; give at least 1")
    _check_images(network, images, target)
    if not len(images):
        return images.new_empty(images.shape if settings.per_channel else (0, *images.shape[2:]))
    with torch.enable_grad():
        probe = twin_of(network)
        _check_target(probe, images[:1], target[:1])
        explain = _explainer(network, images[:1], settings, batch_size)
        parts = []
        for some, classes in zip(
            torch.split(images, batch_size), torch.split(target, batch_size), strict=True
        ):
            _check_target(probe, some, classes)
            parts.append(explain(some, classes))
    return torch.cat(parts)


_ALONE: dict[type[Settings], Callable[..., Tensor]] = {
    Gradient: backprop.gradient,
    GuidedBackprop: backprop.guided_backprop,
}
_BY_SETTINGS: dict[type[Settings], Callable[..., Tensor]] = {
    SmoothGrad: backprop.smoothgrad,
    IntegratedGradients: backprop.integrated_gradients,
    Occlusion: occlusion,
}
_BY_LAYER: dict[type[Settings], Callable[..., Tensor]] = {
    GradCam: cam.grad_cam,
    GradCamPlusPlus: cam.grad_cam_pp,
    GuidedGradCam: cam.guided_grad_cam,
    GuidedGradCamPlusPlus: cam.guided_grad_cam_pp,
}
_GUIDED = (GuidedBackprop, GuidedGradCam, GuidedGradCamPlusPlus)


def _explainer(network: nn.Module, image: Tensor, settings: Any, batch_size: int) -> Explain:
    """The method, prepared once for all images; ``image`` is one of them."""
    method = type(settings)
    twin = guidable_twin_of(network, image) if method in _GUIDED else twin_of(network)
    if method in _BY_LAYER:
        return partial(_BY_LAYER[method], twin, cam.tapped(twin, settings.layer, image))
    if method in _BY_SETTINGS:
        explain = _BY_SETTINGS[method]
        return lambda images, target: explain(twin, images, target, settings, batch_size)
    return partial(_ALONE[method], twin)


def _check_images(network: nn.Module, images: Tensor, target: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise UserError(
            f"images are {images.dtype} {tuple(images.shape)}; give floating-point (N, C, H, W) in [0, 1]"
        )
    computes_in = next((weight.dtype for weight in network.parameters()), images.dtype)
    if images.dtype != computes_in:
        raise UserError(
            f"images are {images.dtype} and the network computes in {computes_in}; convert one of them"
        )
    if target.shape != images.shape[:1] or target.dtype != torch.int64:
        raise UserError(
            f"targets are {target.dtype} {tuple(target.shape)}; give {len(images)} classes as int64 (N,)"
        )


def checked_logits(network: nn.Module, images: Tensor) -> Tensor:
    """The network's logits.

    Raises:
        UserError: they are not finite (N, classes).
    """
    logits: Tensor = network(images)
    check_type(logits)
    if logits.ndim != 2 or len(logits) != len(images):
        raise UserError(
            f"the network answers {len(images)} images with {tuple(logits.shape)}, not with logits (N, classes); "
            "saliency needs a classifier"
        )
    if not torch.isfinite(logits).all():
        raise UserError(
            "the network answers with NaN or infinite logits; check its weights and preprocessing"
        )
    return logits


def _check_target(network: nn.Module, images: Tensor, target: Tensor) -> None:
    with torch.no_grad():
        classes = checked_logits(network, images).shape[1]
    outside = target[(target < 0) | (target >= classes)]
    if len(outside):
        raise UserError(
            f"target {int(outside[0])} lies outside the network's {classes} classes (0..{classes - 1})"
        )
