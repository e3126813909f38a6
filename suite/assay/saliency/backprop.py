"""Maps at the image: the gradient of the target's logit and what is made of it. All (N, C, H, W)."""

from __future__ import annotations

import warnings

import torch
from captum import attr
from torch import Tensor, nn

from assay.common.randomness import as_seeds, derive, normal
from assay.saliency.settings import IntegratedGradients, SmoothGrad


def gradient(network: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """The gradient of each image's target logit."""
    attribution: Tensor = attr.Saliency(network).attribute(leaf(images), target, abs=False)
    return attribution.detach()


def guided_backprop(network: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Guided backprop.

    Args:
        network: from :func:`assay.saliency.twin.guidable_twin_of`.
        images: (N, C, H, W).
        target: (N,) int64.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")  # on the twin, which is ours
        attribution: Tensor = attr.GuidedBackprop(network).attribute(leaf(images), target)
    return attribution.detach()


def smoothgrad(
    network: nn.Module, images: Tensor, target: Tensor, settings: SmoothGrad, batch_size: int
) -> Tensor:
    """The mean gradient over noisy copies, all images meeting the same noise; ``batch_size`` copies per pass."""
    count, *shape = images.shape
    together = max(1, batch_size // count)
    seeds = derive(
        as_seeds([settings.seed], images.device).expand(settings.samples),
        torch.arange(settings.samples, device=images.device),
    )
    total = torch.zeros_like(images)
    for some in torch.split(seeds, together):
        noise = settings.sigma * normal(some, shape, images.dtype)
        noisy = (images[:, None] + noise).flatten(0, 1)
        slopes = gradient(network, noisy, target.repeat_interleave(len(some)))
        total += slopes.view(count, len(some), *shape).sum(1)
    return total / settings.samples


def integrated_gradients(
    network: nn.Module, images: Tensor, target: Tensor, settings: IntegratedGradients, batch_size: int
) -> Tensor:
    """Integrated gradients by the Gauss-Legendre rule, ``batch_size`` points of the paths per pass."""
    attribution: Tensor = attr.IntegratedGradients(network).attribute(
        images,
        baselines=settings.baseline,
        target=target,
        n_steps=settings.steps,
        internal_batch_size=batch_size,
    )
    return attribution.detach()


def leaf(images: Tensor) -> Tensor:
    """The images as the place where gradients end."""
    return images.detach().clone().requires_grad_()
