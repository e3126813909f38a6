"""Occlusion: what covering a square takes from the logit."""

from __future__ import annotations

import torch
from captum import attr
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.saliency.settings import Occlusion


def occlusion(
    network: nn.Module, images: Tensor, target: Tensor, settings: Occlusion, batch_size: int
) -> Tensor:
    """The logit's fall when a square is covered, for each pixel the mean over the squares that cover it.

    Args:
        network: pixels to logits.
        images: (N, C, H, W); a square covers all channels.
        target: (N,) int64.
        settings: the square.
        batch_size: covered copies in a pass.

    Returns:
        (N, H, W).

    Raises:
        UserError: the square is larger than the image, or the stride than the square.
    """
    channels, height, width = images.shape[1:]
    side = settings.window or max(1, min(height, width) // 8)
    stride = settings.stride or max(1, side // 2)
    if side > min(height, width):
        raise UserError(
            f"occlusion: a window of {side} pixels does not fit images of {height} x {width}; give a smaller one"
        )
    if stride > side:
        raise UserError(
            f"occlusion: a stride of {stride} pixels leaves gaps between windows of {side}; give at most {side}"
        )
    method = attr.Occlusion(network)
    # One image at a time: Captum covers the same square in all images of a pass, and so bounds no memory.
    falls = [
        method.attribute(
            image,
            sliding_window_shapes=(channels, side, side),
            strides=(channels, stride, stride),
            baselines=settings.baseline,
            target=label,
            perturbations_per_eval=batch_size,
        )
        for image, label in zip(torch.split(images, 1), torch.split(target, 1), strict=True)
    ]
    return torch.cat(falls)[:, 0].detach().to(images.dtype)  # Captum adds up in float32
