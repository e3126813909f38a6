"""How well a network's gradient aligns with the image (Etmann, Lunz, Maass and Schönlieb 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.common.statistics import bootstrap_interval
from assay.models.loaded import device_of
from assay.saliency.compute import checked_logits
from assay.saliency.twin import twin_of

Score = Literal["logit", "margin"]
SCORES: tuple[Score, ...] = ("logit", "margin")


@dataclass(frozen=True)
class AlignmentSummary:
    """The alignment over a data set's images.

    Attributes:
        mean: over the images that have one, in units of pixels in [0, 1] (an L2 length).
        low: of the mean's 95 % bootstrap interval.
        high: of the same interval.
        median: of the same images.
        n: how many they are.
        undefined: images whose gradient is zero, and which have none.
    """

    mean: float
    low: float
    high: float
    median: float
    n: int
    undefined: int


def alignment(network: nn.Module, images: Tensor, score: Score = "logit", batch_size: int = 32) -> Tensor:
    """The alignment |<x, grad Phi(x)>| / ||grad Phi(x)|| of each image, the length of x along the gradient.

    Phi is the predicted class's logit, as in the paper's alignment of a classifier of many classes. With
    ``score="margin"`` it is that logit minus the highest other one. This is the paper's binarised classifier, except
    that the paper takes the other class with the smallest linearised distance. For a linear network without bias the
    latter is the distance to the decision boundary. x are the pixels, not their normalised values, and the gradient is
    with respect to them.

    Args:
        network: pixels in [0, 1] to logits (N, classes); it is not altered, and asked in eval mode.
        images: (N, C, H, W) of the network's floating-point type.
        score: what Phi is.
        batch_size: images in a pass.

    Returns:
        (N,), not negative, at most ||x||; NaN where the gradient is zero.

    Raises:
        UserError: the network gives no finite logits, or a single class with ``score="margin"``.
    """
    if score not in SCORES:
        raise UserError(f"unknown score {score!r}; choose one of {', '.join(SCORES)}")
    twin = twin_of(network)
    with torch.enable_grad():
        parts = [_of_batch(twin, some, score) for some in torch.split(images, batch_size) if len(some)]
    return torch.cat(parts) if parts else images.new_empty(0)


def _of_batch(twin: nn.Module, images: Tensor, score: Score) -> Tensor:
    points = images.detach().clone().requires_grad_()
    logits = checked_logits(twin, points)
    if score == "margin" and logits.shape[1] < 2:
        raise UserError("a margin needs two classes and the network has one; choose the score logit")
    best = logits.topk(min(2, logits.shape[1]), dim=1).values
    phi = best[:, 0] - best[:, 1] if score == "margin" else best[:, 0]
    (slopes,) = torch.autograd.grad(phi.sum(), points, allow_unused=True, materialize_grads=True)
    product: Tensor = (images * slopes).flatten(1).sum(1)
    length: Tensor = torch.linalg.vector_norm(slopes.flatten(1), dim=1)
    return product.abs() / length


def alignment_of_many(
    network: nn.Module, images: Iterable[Tensor], *, score: Score = "logit", batch_size: int = 32
) -> list[float]:
    """The alignment of each image, in their order; ``batch_size`` of them are held at a time.

    Args:
        network: from pixels in [0, 1] to logits.
        images: (C, H, W) each.
        score: as for :func:`alignment`.
        batch_size: images per pass.

    Raises:
        UserError: as :func:`alignment`.
    """
    device = device_of(network)
    waiting, values = iter(images), list[float]()
    while some := list(islice(waiting, batch_size)):
        values += alignment(network, torch.stack(some).to(device), score, batch_size).tolist()
    return values


def summarise(values: Sequence[float], seed: int = 0) -> AlignmentSummary:
    """Mean with its 95 % bootstrap interval (over images), and median; NaN counts as undefined."""
    defined = sorted(value for value in values if not math.isnan(value))
    low, high = bootstrap_interval(defined, seed)
    half = len(defined) // 2
    return AlignmentSummary(
        mean=math.fsum(defined) / len(defined) if defined else math.nan,
        low=low,
        high=high,
        median=(defined[half] + defined[~half]) / 2 if defined else math.nan,
        n=len(defined),
        undefined=len(values) - len(defined),
    )
