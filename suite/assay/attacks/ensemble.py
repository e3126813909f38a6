"""The ensemble-optimisation attack (Dong et al., section 2): targeted, by Adam, against several networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from assay.common.errors import UserError
from assay.common.savepoints import Loop

Classifier = Callable[[Tensor], Tensor]
BETA_MEAN, BETA_SQUARE, ADAM_EPS = 0.9, 0.999, 1e-8


def at_size(model: Classifier, height: int, width: int) -> Classifier:
    """The model behind a differentiable bilinear resize: members of several sizes can share images."""

    def resized(images: Tensor) -> Tensor:
        if images.shape[2:] == (height, width):
            return model(images)
        return model(F.interpolate(images, (height, width), mode="bilinear", align_corners=False))

    return resized


@dataclass(frozen=True)
class EnsembleAttack:
    """How to attack.

    Attributes:
        steps: Adam iterations (the paper: 10 to 20).
        step_size: Adam's step in pixel units of [0, 1] (the paper: 5 of 255).
        stop_confidence: an image every member gives its target at least this probability is left as it
            is; None runs all steps.
    """

    steps: int = 10
    step_size: float = 5 / 255
    stop_confidence: float | None = None


@dataclass
class _Running:
    """The images still under attack; rows of all tensors stand for the same images."""

    index: Tensor
    images: Tensor
    targets: Tensor
    mean: Tensor
    square: Tensor

    def keep(self, rows: Tensor) -> _Running:
        return _Running(
            self.index[rows], self.images[rows], self.targets[rows], self.mean[rows], self.square[rows]
        )


def ensemble_attack(
    models: Sequence[Classifier],
    images: Tensor,
    targets: Tensor,
    attack: EnsembleAttack = EnsembleAttack(),
    loop: Loop | None = None,
) -> Tensor:
    """Move images towards target classes of all members: Adam on the members' mean cross-entropy.

    The loss is summed over images and Adam works pixel by pixel, so an image's result does not depend on
    its batch (up to float noise).

    Args:
        models: members, each (N, C, H, W) in [0, 1] to (N, classes) logits, in evaluation mode.
        images: (N, C, H, W) float32 in [0, 1]; not changed.
        targets: (N,) int64 class indices.
        attack: steps, step size and early stop.
        loop: says where to go on, and is offered the state after each step.

    Returns:
        (N, C, H, W) float32 in [0, 1]; the last iterate, clipped after every step.

    Raises:
        UserError: no members, members of different label spaces, a target outside them, or logits that
            are not finite.
    """
    result = images.clone()
    running = _Running(
        index=torch.arange(len(images), device=images.device),
        images=images.detach(),
        targets=targets,
        mean=torch.zeros_like(images),
        square=torch.zeros_like(images),
    )
    done, loop = 0, loop or Loop()
    if loop.state is not None:
        done, result, running = loop.state["step"], loop.state["result"], _Running(**loop.state["running"])
    for step in range(done + 1, attack.steps + 1):
        gradient, confidence = _mean_loss_gradient(models, running.images, running.targets)
        if attack.stop_confidence is not None:
            standing = confidence < attack.stop_confidence
            result[running.index[~standing]] = running.images[~standing]
            running, gradient = running.keep(standing), gradient[standing]
            if not len(running.index):
                return result
        _adam_step(running, gradient, step, attack.step_size)
        loop.offer(partial(_state, step, result, running))
    result[running.index] = running.images
    return result


def _state(step: int, result: Tensor, running: _Running) -> dict[str, Any]:
    return {"step": step, "result": result, "running": vars(running)}


def _adam_step(running: _Running, gradient: Tensor, step: int, step_size: float) -> None:
    """One step of Adam (Kingma and Ba, algorithm 1), then the clip to pixel values."""
    running.mean = torch.lerp(gradient, running.mean, BETA_MEAN)
    running.square = torch.lerp(gradient.square(), running.square, BETA_SQUARE)
    mean = running.mean / (1 - BETA_MEAN**step)
    square = running.square / (1 - BETA_SQUARE**step)
    running.images = (running.images - step_size * mean / (square.sqrt() + ADAM_EPS)).clamp(0, 1)


def _mean_loss_gradient(
    models: Sequence[Classifier], images: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of the mean cross-entropy over members, and each image's least target confidence."""
    inputs = images.detach().requires_grad_(True)
    gradient = torch.zeros_like(images)
    confidence = torch.ones(len(images), device=images.device)
    for member, logits in enumerate(_member_logits(models, inputs)):  # one graph at a time in memory
        if not ((targets >= 0) & (targets < logits.shape[1])).all():
            raise UserError(f"a target class lies outside the {logits.shape[1]} classes of member {member}")
        losses = F.cross_entropy(logits, targets, reduction="none")
        gradient += torch.autograd.grad(losses.sum(), inputs)[0]
        confidence = torch.minimum(confidence, (-losses.detach()).exp())
    return gradient / len(models), confidence


def _member_logits(models: Sequence[Classifier], images: Tensor) -> Iterator[Tensor]:
    """Each member's logits in turn, checked to be finite and over the first member's label space."""
    if not models:
        raise UserError("an ensemble needs at least one member")
    n_classes = None
    for member, model in enumerate(models):
        logits = model(images)
        n_classes = n_classes or logits.shape[1]
        if logits.shape[1] != n_classes:
            raise UserError(
                f"ensemble members have different label spaces: member 0 has {n_classes} classes, "
                f"member {member} has {logits.shape[1]}; choose members of one label space"
            )
        if not torch.isfinite(logits).all():
            raise UserError(f"ensemble member {member} gives logits that are not finite; check its weights")
        yield logits


@torch.no_grad()
def least_likely_targets(models: Sequence[Classifier], images: Tensor, k: int = 10) -> Tensor:
    """The k classes of least mean probability over the members, least likely first.

    Args:
        models: members, as for `ensemble_attack`.
        images: (N, C, H, W) float32 in [0, 1].
        k: targets per image.

    Returns:
        (N, k) int64; classes of equal probability stand by ascending index.

    Raises:
        UserError: members of different label spaces, or k not in 1 .. classes - 1.
    """
    probabilities = torch.stack([logits.softmax(1) for logits in _member_logits(models, images)]).mean(0)
    n_classes = probabilities.shape[1]
    if not 1 <= k < n_classes:
        raise UserError(f"the number of targets must be in 1 .. {n_classes - 1}, got {k}")
    return probabilities.argsort(dim=1, stable=True)[:, :k]


def to_uint8(images: Tensor) -> Tensor:
    """Pixels in [0, 1] rounded to the nearest of 0 .. 255, as an image file holds them."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
