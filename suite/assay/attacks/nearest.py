"""Each image's nearest adversarial image, at any distance, by an attack that looks for it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.losses import in_top
from assay.attacks.methods import METHODS
from assay.attacks.observe import checked_logits
from assay.attacks.pool import run_each_start
from assay.attacks.run import checked, starts
from assay.attacks.settings import AttackSettings
from assay.common.balls import BALLS, per_image
from assay.common.errors import UserError

_HALVINGS = 10


def nearest(attack: AttackSettings, images: AttackedImages, eps: Fraction | float) -> AttackResult:
    """The nearest adversarial image that any start finds, each taken back to the boundary by halving.

    Args:
        attack: One that leaves the ball (fab, fab_t).
        images: What is attacked.
        eps: Only says how far away a random restart begins.

    Returns:
        ``success`` (N,) is whether any was found; their distances are the norms of what ``images`` differ by. An
        image that is misclassified to begin with is its own nearest.

    Raises:
        UserError: As `run_attack`, or another method.
    """
    if not attack.leaves_ball:
        able = " or ".join(name for name, method in METHODS.items() if method.leaves_ball)
        raise UserError(f"{attack.method}: looks for no nearest image, choose {able}")
    # Every step is taken: after a misclassified iterate in the ball a nearer one may follow.
    images = replace(checked(attack, images, eps), early_stop=False)
    found: AttackResult | None = None
    for again in run_each_start(attack, list(starts(attack, images))):
        _take_back(images, again)
        found = again if found is None else _nearer(images, found, again)
    assert found is not None
    return found


def _nearer(images: AttackedImages, first: AttackResult, second: AttackResult) -> AttackResult:
    """Row by row the nearer success; steps add up."""
    ball = BALLS[images.norm]
    lengths = [
        ball.length(one.images - images.images).masked_fill(~one.success, torch.inf)
        for one in (first, second)
    ]
    nearer = lengths[1] < lengths[0]
    return AttackResult(
        images=torch.where(nearer.view(-1, 1, 1, 1), second.images, first.images),
        success=first.success | second.success,
        steps_used=first.steps_used + second.steps_used,
        zero_gradient=first.zero_gradient | second.zero_gradient,
        retried=first.retried,
        passes=first.passes + second.passes,
    )


@torch.no_grad()
def _take_back(images: AttackedImages, found: AttackResult) -> None:
    """Halve, in place, the stretch between image and adversarial image where the answer changes."""
    for rows in torch.split(found.success.nonzero().squeeze(1), images.batch_size):
        part, outer = images.select(rows), found.images[rows]
        # Shares of the way out: at `low` the answer is right, at `high` it is wrong.
        low = torch.zeros(len(rows), dtype=outer.dtype, device=outer.device)
        high = torch.ones_like(low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            wrong = _misclassified(part, _between(part.images, outer, middle))
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        found.images[rows] = _between(part.images, outer, high)
        found.passes[rows, 0] += _HALVINGS


def _between(images: Tensor, outer: Tensor, share: Tensor) -> Tensor:
    """The points at a share (n,) of the way from images to outer ones, which are given as they are at 1."""
    return torch.lerp(images, outer, per_image(share, images))


def _misclassified(part: AttackedImages, points: Tensor) -> Tensor:
    return ~in_top(checked_logits(part.model, points, part.position), part.labels)
