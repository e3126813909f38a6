"""What a linear model does under the worst perturbation, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.attacks.affine_layers import through_affine
from assay.attacks.relu_graph import ReluGraph
from assay.attacks.settings import Norm


@torch.no_grad()
def linear_part(chain: ReluGraph, images: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (K, C * H * W) and bias (K,) of an affine chain as one linear layer, in the images' type."""
    classes = chain.shapes[-1][0]
    slopes = torch.eye(classes, dtype=images.dtype, device=images.device)[None]
    bias = slopes.new_zeros(classes)
    for layer, shape in zip(reversed(chain.layers), reversed(chain.shapes[:-1]), strict=True):
        slopes, extra = through_affine(slopes, layer, shape)
        bias = bias + extra[0]
    return slopes[0].flatten(1), bias


def linear_worst_margin(
    weight: Tensor, bias: Tensor, images: Tensor, labels: Tensor, eps: float, norm: Norm
) -> Tensor:
    """The smallest margin of the label over any other class within the ball, of logits = W x + b.

    margin - eps * ||w_y - w_j||_* for the smallest over j, with the dual norm (L1 for L-infinity, L2 for
    L2). For L-infinity and L1 the ball is intersected with the box [0, 1] exactly. For L2 the box is left out: the
    value is then a lower bound, tight where the ball lies inside the box.

    Args:
        weight: (K, D).
        bias: (K,).
        images: (N, C, H, W) in [0, 1] with C * H * W = D.
        labels: (N,) int64.
        eps: Radius.
        norm: The ball's norm.

    Returns:
        (N,): the label is the only highest logit in the whole ball exactly where this is positive.
    """
    pixels = images.flatten(1)
    logits = pixels @ weight.T + bias
    margins = logits.gather(1, labels[:, None]) - logits
    slopes = weight[labels][:, None, :] - weight[None, :, :]
    if norm == "linf":
        down = (pixels - (pixels - eps).clamp_min(0))[:, None, :]
        up = ((pixels + eps).clamp_max(1) - pixels)[:, None, :]
        loss = (slopes.clamp_min(0) * down - slopes.clamp_max(0) * up).sum(dim=2)
    elif norm == "l1":
        # The pixels of the steepest slopes are moved first, each as far as the box lets it, until eps is used up.
        steepness, order = slopes.abs().sort(dim=2, descending=True)
        room = torch.where(slopes > 0, pixels[:, None, :], 1 - pixels[:, None, :]).gather(2, order)
        used_before = room.cumsum(dim=2) - room
        loss = (steepness * torch.minimum((eps - used_before).clamp_min(0), room)).sum(dim=2)
    else:
        loss = eps * slopes.square().sum(dim=2).sqrt()
    return (margins - loss).scatter(1, labels[:, None], torch.inf).amin(dim=1)
