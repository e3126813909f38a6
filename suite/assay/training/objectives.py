"""A recipe's method as one function: a network and a batch to the losses of one step.

Inner maximisations and FGSM look at the network in eval mode (dropout off, batch norm by its running figures). An
attack treats each row alone, and only the training pass itself moves the running figures. The papers do not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.models.layers import hooked, last_convolution
from assay.training import perturbations
from assay.training.methods import (
    FgsmAdversarial,
    FgsmConsistent,
    InnerAttack,
    Method,
    Regular,
    SaliencyGuided,
    Salient,
    TradesClimb,
)

Losses = dict[str, Tensor]
"""Scalars by name; ``loss`` is what the step descends, the others are its parts."""


@dataclass(frozen=True)
class Batch:
    """The images of one step.

    Attributes:
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        chance: on the images' device: all randomness of a method comes from it.
        salient: (N, H, W) or, with one sign per channel, (N, C, H, W) of +1 and -1, for methods that follow a saliency.
        epochs: epochs finished before this step.
        steps: steps taken before this one.
    """

    images: Tensor
    labels: Tensor
    chance: torch.Generator
    salient: Tensor | None
    epochs: int
    steps: int


Objective = Callable[[nn.Module, Batch], Losses]


def objective_of(method: Method) -> Objective:
    """The function that a training step descends."""
    function = _FUNCTIONS[method.name]
    return lambda net, batch: function(method, net, batch)


def regular(method: Regular, net: nn.Module, batch: Batch) -> Losses:
    """CE(f(x), y)."""
    del method
    return {"loss": cross_entropy(net(batch.images), batch.labels)}


def saliency_guided(method: SaliencyGuided, net: nn.Module, batch: Batch) -> Losses:
    """CE(f(x), y) + weight * KL(f(x) || f(x~)); x~ by the gradient of the predicted class's logit (Karkehabadi, eq. 1).

    One forward pass of x gives the prediction, its gradient and both terms of the loss.
    """
    points = batch.images.detach().requires_grad_()
    logits = net(points)
    (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), points, retain_graph=True)
    others = net(perturbations.masked(batch.images, gradient, method.share, batch.chance))
    clean, divergence = cross_entropy(logits, batch.labels), kl_divergence(logits, others).mean()
    return {"loss": clean + method.weight * divergence, "cross_entropy": clean, "divergence": divergence}


def on_perturbed(method: Any, net: nn.Module, batch: Batch) -> Losses:
    """CE(f(x'), y), x' the start itself: uniform noise, or SAT's clip(x + eps * delta)."""
    return {"loss": cross_entropy(net(started(method, batch)), batch.labels)}


def on_climbed(method: Any, net: nn.Module, batch: Batch) -> Losses:
    """CE(f(x'), y), x' climbing the cross-entropy from the method's start."""

    def height(points: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(points), batch.labels, reduction="none")

    with looked_at(net):
        adversarial = _climbed(method, batch, height)
    return {"loss": cross_entropy(net(adversarial), batch.labels)}


def trades(method: TradesClimb, net: nn.Module, batch: Batch) -> Losses:
    """CE(f(x), y) + weight * KL(f(x) || f(x')), x' climbing the divergence (Zhang et al. 2019, equation 5)."""
    with looked_at(net):
        with torch.no_grad():
            fixed = net(batch.images)
        adversarial = _climbed(method, batch, lambda points: kl_divergence(fixed, net(points)))
    logits = net(batch.images)
    clean, divergence = cross_entropy(logits, batch.labels), kl_divergence(logits, net(adversarial)).mean()
    return {"loss": clean + method.weight * divergence, "cross_entropy": clean, "divergence": divergence}


def fgsm_adversarial(method: FgsmAdversarial, net: nn.Module, batch: Batch) -> Losses:
    """clean_weight * CE(f(x), y) + (1 - clean_weight) * CE(f(x*), y), x* = FGSM."""
    clean = cross_entropy(net(batch.images), batch.labels)
    adversarial = cross_entropy(net(_fgsm(method.eps, net, batch)), batch.labels)
    weight = method.clean_weight
    return {
        "loss": weight * clean + (1 - weight) * adversarial,
        "cross_entropy": clean,
        "adversarial": adversarial,
    }


def fgsm_consistent(method: FgsmConsistent, net: nn.Module, batch: Batch) -> Losses:
    """Dong's loss: alpha CE(x) + (1 - alpha) CE(x*) + beta ||phi(x) - phi(x*)||_2, phi the last convolution."""
    attacked = _fgsm(method.eps, net, batch)
    with features_kept(net, batch.images) as kept:
        clean = cross_entropy(net(batch.images), batch.labels)
        adversarial = cross_entropy(net(attacked), batch.labels)
    distance = feature_distance(*kept).mean()
    weight = method.clean_weight
    return {
        "loss": weight * clean + (1 - weight) * adversarial + method.consistency_weight * distance,
        "cross_entropy": clean,
        "adversarial": adversarial,
        "distance": distance,
    }


_FUNCTIONS: dict[str, Callable[[Any, nn.Module, Batch], Losses]] = {
    "regular": regular,
    "saliency_guided": saliency_guided,
    "noise": on_perturbed,
    "sat": on_perturbed,
    "pgd": on_climbed,
    "pgd_noise": on_climbed,
    "pgd_sat": on_climbed,
    "trades": trades,
    "trades_noise": trades,
    "trades_sat": trades,
    "fgsm_adversarial": fgsm_adversarial,
    "fgsm_consistent": fgsm_consistent,
}


def started(method: Any, batch: Batch) -> Tensor:
    """(N, C, H, W): where the method begins in the ball around each image."""
    eps = float(method.eps)
    if method.start == "image":
        return batch.images
    if method.start == "uniform":
        return perturbations.uniform_noise(batch.images, eps, batch.chance)
    if method.start == "nudged":
        return perturbations.nudged(batch.images, eps, batch.chance)
    assert batch.salient is not None
    share = noise_share(method, batch)
    delta = perturbations.salient_perturbation(batch.images, batch.salient, share, batch.chance)
    return perturbations.perturbed(batch.images, delta, eps)


def noise_share(method: Salient, batch: Batch) -> float:
    """alpha^t: 1 at the first step, and falling."""
    return float(method.alpha ** (batch.steps if method.t_counts == "steps" else batch.epochs))


def _climbed(method: InnerAttack, batch: Batch, height: Callable[[Tensor], Tensor]) -> Tensor:
    step_size = method.step_size.at(method.eps)
    return perturbations.climb(
        height, started(method, batch), batch.images, float(method.eps), step_size, method.steps
    )


def _fgsm(eps: Fraction, net: nn.Module, batch: Batch) -> Tensor:
    """One step of length eps up the cross-entropy of the labels, from the images."""

    def height(points: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(points), batch.labels, reduction="none")

    with looked_at(net):
        return perturbations.climb(height, batch.images, batch.images, float(eps), float(eps), 1)


@contextmanager
def looked_at(net: nn.Module) -> Iterator[None]:
    """The network in eval mode within the block, then as it was."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


@contextmanager
def features_kept(net: nn.Module, images: Tensor) -> Iterator[list[Tensor]]:
    """What the last convolution returns for each pass within the block, with its graph.

    It is the layer that the consistency task looks at by default.

    Raises:
        UserError: the network has no convolution.
    """
    with looked_at(net):
        layer = last_convolution(net, images)
    kept: list[Tensor] = []
    with hooked(net, [layer], lambda _name, output: kept.append(output)):
        yield kept


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (N, K).
        labels: (N,) int64.
    """
    return functional.cross_entropy(logits, labels)


def kl_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """(N,) KL(softmax(logits) || softmax(other)) = sum_k p_k (log p_k - log q_k), in nats.

    Gradients flow through both: Karkehabadi's equation 1 and TRADES (Zhang et al. 2019, equation 5) hold neither fixed.
    """
    log_p, log_q = functional.log_softmax(logits, dim=1), functional.log_softmax(other, dim=1)
    return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)


def feature_distance(features: Tensor, other: Tensor) -> Tensor:
    """(N,) ||phi(x) - phi(x*)||_2 over all channels and places (Dong et al.; the norm, not its square).

    Its gradient where the two are equal is 0.

    Args:
        features: (N, ...).
        other: of the same shape.
    """
    distance: Tensor = torch.linalg.vector_norm((features - other).flatten(1), dim=1)
    return distance
