"""One look at a model: its logits, and what the loss says of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks.losses import LOSSES, Loss
from assay.attacks.rows import Inputs
from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError
from assay.models.check import check_type

Model = Callable[[Tensor], Tensor]
"""Pixels (N, C, H, W) in [0, 1] to logits (N, K)."""


class NonFiniteLogitsError(UserError):
    """The model returned NaN or infinite logits, which must not count as a misclassification.

    Attributes:
        positions: Which images, as indices into the images given to the attack.
    """

    def __init__(self, positions: tuple[int, ...]) -> None:
        self.positions = positions
        shown = ", ".join(map(str, positions[:8])) + (", ..." if len(positions) > 8 else "")
        super().__init__(
            f"the model returned NaN or infinite logits for {len(positions)} image(s), at position {shown}: "
            "check its weights and preprocessing"
        )


@dataclass(frozen=True)
class Observation:
    """What was seen at some iterates.

    Attributes:
        logits: (n, K), detached.
        loss: (n,), detached; what the attacker wants high.
        gradient: (n, C, H, W) of the loss, or None when it was not asked for.
    """

    logits: Tensor
    loss: Tensor
    gradient: Tensor | None = None

    def select(self, rows: Tensor) -> Observation:
        """The observation of some rows."""
        gradient = None if self.gradient is None else self.gradient[rows]
        return Observation(self.logits[rows], self.loss[rows], gradient)


def checked_logits(model: Model, images: Tensor, positions: Tensor) -> Tensor:
    """The model's logits of `images`, refused when they are not finite (N, K) numbers.

    Raises:
        UserError: The output is not one row of at least two logits an image.
        NonFiniteLogitsError: Some logits are NaN or infinite.
    """
    logits = model(images)
    check_type(logits)
    if logits.dim() != 2 or logits.shape[0] != images.shape[0] or logits.shape[1] < 2:
        raise UserError(
            f"the model returned shape {tuple(logits.shape)} for {len(images)} images: "
            "expected logits (N, classes)"
        )
    # A sum is cheap to test, and is finite only where all its terms are.
    if not torch.isfinite(logits.detach().sum()):
        _refuse_non_finite(logits.detach(), positions)
    return logits


def _refuse_non_finite(logits: Tensor, positions: Tensor) -> None:
    """Name the images, if any: a sum can also overflow.

    Raises:
        NonFiniteLogitsError: Some logits are NaN or infinite.
    """
    bad = ~torch.isfinite(logits).all(dim=1).to(positions.device)
    if bad.any():
        raise NonFiniteLogitsError(tuple(positions[bad].tolist()))


def observe(
    model: Model,
    adversarial: Tensor,
    inputs: Inputs,
    settings: AttackSettings,
    *,
    gradient: bool,
    needed: Callable[[Tensor], bool] = lambda _: True,
    loss_of: Loss | None = None,
) -> Observation:
    """Logits and loss at `adversarial`, with the loss's gradient where asked for and, by its logits, needed.

    Parameters get no gradients. A model whose output does not depend on its input has gradient zero. The loss is that
    of the settings unless `loss_of` is given. Where several draws are asked for, all is the mean over so many passes,
    and the gradient is always taken.

    Raises:
        UserError: The output is not logits, or the loss needs more classes.
        NonFiniteLogitsError: Some logits are NaN or infinite.
    """
    loss_of = loss_of or LOSSES[settings.loss]
    if settings.draws == 1:
        return _look(model, adversarial, inputs, settings, gradient, loss_of, needed)
    looks = (_look(model, adversarial, inputs, settings, gradient, loss_of) for _ in range(settings.draws))
    return _mean(next(looks), looks, settings.draws)


def _look(
    model: Model,
    adversarial: Tensor,
    inputs: Inputs,
    settings: AttackSettings,
    gradient: bool,
    loss_of: Loss,
    needed: Callable[[Tensor], bool] = lambda _: True,
) -> Observation:
    """One pass."""
    with torch.set_grad_enabled(gradient):
        points = adversarial.detach().requires_grad_(gradient)
        logits = checked_logits(model, points, inputs.position)
        loss = loss_of(logits, inputs.labels, inputs.targets, settings.top_k)
        slope = gradient_of(loss, points) if gradient and needed(logits.detach()) else None
    return Observation(logits.detach(), loss.detach(), slope)


def _mean(first: Observation, others: Iterable[Observation], count: int) -> Observation:
    """The mean of several passes over the same iterates, one at a time in memory."""
    logits, loss, gradient = first.logits.clone(), first.loss.clone(), first.gradient
    for one in others:
        logits += one.logits
        loss += one.loss
        if gradient is not None and one.gradient is not None:
            gradient = gradient + one.gradient
    return Observation(logits / count, loss / count, None if gradient is None else gradient / count)


def gradient_of(loss: Tensor, points: Tensor, *, keep_graph: bool = False) -> Tensor:
    """(n, C, H, W): the gradient of each row's loss at its own point; the graph is kept for another where asked."""
    if not loss.requires_grad:
        return torch.zeros_like(points)
    (slope,) = torch.autograd.grad(loss.sum(), points, retain_graph=keep_graph, allow_unused=True)
    if slope is None:
        return torch.zeros_like(points)
    # Steps are taken in place, which a gradient that is one number expanded would not allow.
    return slope.clone(memory_format=torch.contiguous_format) if 0 in slope.stride() else slope
