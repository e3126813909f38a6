"""Maps at the image: the gradient of the target's logit and what is made of it. All (N, C, H, W)."""

from __future__ import annotations

import warnings

from captum import attr
from torch import Tensor, nn


def gradient(network: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """The gradient of each image's target logit."""
    attribution: Tensor = attr.Saliency(network).attribute(_leaf(images), target, abs=False)
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
        attribution: Tensor = attr.GuidedBackprop(network).attribute(_leaf(images), target)
    return attribution.detach()


def _leaf(images: Tensor) -> Tensor:
    return images.detach().clone().requires_grad_()
