"""Where in an image a neuron looks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assay.tasks.consistency.activations import feature_map
from assay.tasks.consistency.outline import Map


def argmax_field(model: nn.Module, image: Tensor, layer: str, neuron: int) -> Map:
    """How strongly each pixel moves the neuron at the place where it fires most.

    The absolute gradient of the channel's largest value, summed over colours; zero outside the receptive
    field of that position.

    Args:
        model: in evaluation mode.
        image: (C, H, W) float32 in [0, 1].
        layer: a layer with a spatial map, or of tokens.
        neuron: channel index.

    Returns:
        (H, W), at least 0.
    """
    with torch.enable_grad():
        pixels = image.detach()[None].requires_grad_(True)
        peak = feature_map(model, pixels, layer)[0, neuron].amax()
        (gradient,) = torch.autograd.grad(peak, pixels)
    field: Map = gradient[0].abs().sum(0).cpu().numpy()
    return field
