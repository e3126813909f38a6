"""What is asked of one image, and what is calculated once for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from assay.common.errors import UserError
from assay.tasks.verification.attention import Labels, counted_labels, saliency_maps
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.linear import DiagonalMap
from assay.tasks.verification.network import PiecewiseNetwork
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.relative import norm_of


@dataclass(frozen=True)
class ProofQuestion:
    """What is asked of one image.

    Attributes:
        theta: range of the perturbation parameters.
        labels: whose maps count in ai: the predicted label's, all labels' or the five likeliest's.
        deltas: thresholds of AR, each above 0.
        timeout_s: seconds after which to report the bounds proved so far.
        stop_when_violated: stop as soon as AR is known to be violated at every delta asked (a yes/no answer); CR is
            then known as far as the cells listed go.
        seed: of the audit's random points.
    """

    theta: Theta
    labels: Labels = "all"
    deltas: tuple[float, ...] = (3.0,)
    timeout_s: float = math.inf
    stop_when_violated: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.deltas or not all(math.isfinite(delta) and delta > 0 for delta in self.deltas):
            raise UserError(f"delta must be a number above 0, not {self.deltas}")
        if self.labels not in get_args(Labels):
            raise UserError(f"labels must be one of {', '.join(get_args(Labels))}, not {self.labels!r}")
        if not self.timeout_s >= 0:
            raise UserError(f"the time-out must be at least 0 seconds, not {self.timeout_s}")


@dataclass(frozen=True)
class ProofProblem:
    """One image with everything computed once: its label, the labels that count, their maps and the maps' norm."""

    network: PiecewiseNetwork
    layers: tuple[Layer, ...]
    image: Tensor
    question: ProofQuestion
    label: int
    labels: Tensor
    maps: Tensor
    norm: float

    @staticmethod
    def of(network: PiecewiseNetwork, image: Tensor, question: ProofQuestion) -> ProofProblem:
        """Read the image in float64, and answer it once.

        Raises:
            UserError: it has another shape than the network reads, or is not finite.
        """
        image = image.detach().double()
        if tuple(image.shape) != tuple(network.input_shape):
            raise UserError(
                f"the image has the shape {tuple(image.shape)}, the network reads {network.input_shape}"
            )
        if not bool(image.isfinite().all()):
            raise UserError("the image holds NaN or infinite pixels")
        layers = with_clamp(network) if question.theta.clamp else network.layers
        logits = network.logits(image[None])[0]
        label = int(logits.argmax())
        labels = counted_labels(logits, question.labels)
        maps = saliency_maps(network.module, image, labels)
        return ProofProblem(network, layers, image, question, label, labels, maps, norm_of(maps))

    def ai_at(self, theta: Tensor) -> float:
        """Inconsistency at one point by automatic differentiation."""
        actual = saliency_maps(self.network.module, self.question.theta.apply(self.image, theta), self.labels)
        expected = self.question.theta.expected(self.maps, theta)
        return float((actual - expected).flatten(1).norm(dim=1).sum())

    def margin_at(self, theta: Tensor) -> float:
        """f_label - max of the others at one point by a forward pass."""
        logits = self.network.logits(self.question.theta.apply(self.image, theta)[None])[0]
        others = torch.cat([logits[: self.label], logits[self.label + 1 :]])
        return float(logits[self.label] - others.max())


def with_clamp(network: PiecewiseNetwork) -> tuple[Layer, ...]:
    """The network behind min(1, max(0, x)) as two layers of ReLUs: relu(x), then 1 - relu(1 - .)."""
    first, *rest = network.layers
    pixels = math.prod(network.input_shape)
    ones, zeros = torch.ones(pixels, dtype=torch.float64), torch.zeros(pixels, dtype=torch.float64)
    every = torch.ones(pixels, dtype=torch.bool)
    floor = Layer((), zeros, every)
    ceiling = Layer((DiagonalMap(-ones),), ones, every)
    flipped = replace(
        first, maps=(DiagonalMap(-ones), *first.maps), bias=first.bias + first.linear(ones[None])[0]
    )
    return (floor, ceiling, flipped, *rest)
