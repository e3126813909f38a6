"""One look at a model: its logits, and what the loss says of each image."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks.images import LiveImages, Model
from assay.attacks.losses import LOSSES, Loss
from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError
from assay.models.check import check_type


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


def checked_logits(model: Model, images: Tensor, positions: Tensor) -> Tensor:
    """The model's logits of `images`, refused when they are not finite (N, K) numbers.

    Raises:
        UserError: The output is not one row of at least two logits per image.
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
    if not math.isfinite(logits.detach().sum().item()):
        _refuse_non_finite(logits.detach(), positions)
    return logits


def clean_logits(model: Model, images: Tensor, batch_size: int) -> Tensor:
    """(N, K) logits of the images, without gradients, in passes of `batch_size`.

    Raises:
        UserError: As `checked_logits`.
    """
    positions = torch.arange(len(images))
    with torch.no_grad():
        parts = torch.split(positions, batch_size)
        return torch.cat([checked_logits(model, images[rows], rows) for rows in parts])


def _refuse_non_finite(logits: Tensor, positions: Tensor) -> None:
    """Name the images, if any: a sum can also overflow.

    Raises:
        NonFiniteLogitsError: Some logits are NaN or infinite.
    """
    bad = ~torch.isfinite(logits).all(dim=1).to(positions.device)
    if bad.any():
        raise NonFiniteLogitsError(tuple(positions[bad].tolist()))


def observe(
    live: LiveImages,
    attack: AttackSettings,
    *,
    gradient: bool,
    needed: Callable[[Tensor], bool] = lambda _: True,
    loss_of: Loss | None = None,
) -> LiveImages:
    """The same images with logits and loss of their iterates, and the gradient where asked for and needed.

    Parameters get no gradients. A model whose output does not depend on its input has gradient zero. The loss is the
    attack's own unless `loss_of` is given. `needed` decides by the logits, (n, K), whether the gradient is worth its
    pass. Where several draws are asked for, everything is the mean over that many passes, with the gradient always.

    Raises:
        UserError: The output is not logits, or the loss needs more classes.
        NonFiniteLogitsError: Some logits are NaN or infinite.
    """
    loss_of = loss_of or LOSSES[attack.loss]
    if attack.draws == 1:
        logits, loss, slope = _look(live, gradient, loss_of, needed)
    else:
        logits, loss, slope = _mean_look(live, gradient, loss_of, attack.draws)
    return live.with_answers(logits, loss, slope)


def _look(
    live: LiveImages, gradient: bool, loss_of: Loss, needed: Callable[[Tensor], bool] = lambda _: True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One pass: logits, loss and the loss's gradient."""
    given = live.attacked
    with torch.set_grad_enabled(gradient):
        points = live.adversarial.detach().requires_grad_(gradient)
        logits = checked_logits(given.model, points, given.position)
        loss = loss_of(logits, given.labels, given.targets, given.top_k)
        slope = gradient_of(loss, points) if gradient and needed(logits.detach()) else None
    return logits.detach(), loss.detach(), slope


def _mean_look(
    live: LiveImages, gradient: bool, loss_of: Loss, draws: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The mean of several passes over the same iterates, one at a time in memory."""
    logits, loss, slope = _look(live, gradient, loss_of)
    logits, loss = logits.clone(), loss.clone()
    for _ in range(draws - 1):
        more_logits, more_loss, more_slope = _look(live, gradient, loss_of)
        logits += more_logits
        loss += more_loss
        if slope is not None and more_slope is not None:
            slope = slope + more_slope
    return logits / draws, loss / draws, None if slope is None else slope / draws


def gradient_of(loss: Tensor, points: Tensor, *, keep_graph: bool = False) -> Tensor:
    """(n, C, H, W): the gradient of each row's loss at its own point; the graph is kept for another where asked."""
    if not loss.requires_grad:
        return torch.zeros_like(points)
    (slope,) = torch.autograd.grad(loss.sum(), points, retain_graph=keep_graph, allow_unused=True)
    if slope is None:
        return torch.zeros_like(points)
    # Steps are taken in place, which a gradient that is one number expanded would not allow.
    return slope.clone(memory_format=torch.contiguous_format) if 0 in slope.stride() else slope
