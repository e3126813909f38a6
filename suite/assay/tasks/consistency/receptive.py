"""Where in an image a neuron looks: two maps of its sensitivity, by gradient and by occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from assay.errors import UserError
from assay.tasks.consistency.activations import feature_map, pooled_activations
from assay.tasks.consistency.outline import Map


@dataclass(frozen=True)
class Occlusion:
    """How the discrepancy map is taken.

    Attributes:
        patch: side of the square that hides a part of the image, pixels.
        stride: pixels between neighbouring positions, at most the patch.
        fill: the value the patch paints, a mid grey.
        batch: occluded images a forward pass.
    """

    patch: int = 32
    stride: int = 16
    fill: float = 0.5
    batch: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.patch:
            raise UserError(
                f"the occlusion stride must be in 1 .. {self.patch} (the patch) so that no pixel is missed, "
                f"got {self.stride}"
            )


def argmax_field(model: nn.Module, image: Tensor, layer: str, neuron: int) -> Map:
    """How strongly each pixel moves the neuron at the place where it fires most.

    The absolute gradient of the channel's largest value, summed over colours; zero outside the receptive
    field of that position.

    Args:
        model: in evaluation mode.
        image: (C, H, W) float32 in [0, 1].
        layer: a layer with a spatial map.
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


def discrepancy_map(
    model: nn.Module, image: Tensor, layer: str, neuron: int, occlusion: Occlusion = Occlusion()
) -> Map:
    """How much the neuron's maximum changes when a patch is hidden (Zhou et al. 2015, as Dong et al. use it).

    Every pixel gets the mean change over the patches that hide it; patches keep to the image, the last of a
    row or column set flush with its edge.

    Args:
        model: in evaluation mode.
        image: (C, H, W) float32 in [0, 1].
        layer: a layer with channels.
        neuron: channel index.
        occlusion: patch, stride and fill.

    Returns:
        (H, W), at least 0.
    """
    height, width = image.shape[1:]
    corners = [(y, x) for y in _starts(height, occlusion) for x in _starts(width, occlusion)]
    whole = pooled_activations(model, image[None], [layer])[layer][0, neuron]
    total, seen = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for start in range(0, len(corners), occlusion.batch):
        part = corners[start : start + occlusion.batch]
        hidden = image.repeat(len(part), 1, 1, 1)
        for row, (y, x) in enumerate(part):
            hidden[row, :, y : y + occlusion.patch, x : x + occlusion.patch] = occlusion.fill
        answers = pooled_activations(model, hidden, [layer])[layer][:, neuron]
        for (y, x), change in zip(part, (answers - whole).abs().tolist(), strict=True):
            total[y : y + occlusion.patch, x : x + occlusion.patch] += change
            seen[y : y + occlusion.patch, x : x + occlusion.patch] += 1
    mean: Map = total / seen
    return mean


def _starts(size: int, occlusion: Occlusion) -> list[int]:
    last = max(size - occlusion.patch, 0)
    return sorted({*range(0, last + 1, occlusion.stride), last})
