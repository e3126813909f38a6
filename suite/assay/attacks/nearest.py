"""Each image's nearest adversarial image, whatever its distance, by an attack that looks for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from assay.attacks.balls import BALLS, per_image
from assay.attacks.losses import in_top
from assay.attacks.methods import METHODS, check_settings, find_method
from assay.attacks.observe import checked_logits
from assay.attacks.pool import Plan, run_pool
from assay.attacks.rows import Inputs
from assay.attacks.run import AttackJob, as_inputs, plan_of, starts
from assay.attacks.settings import AttackResult, AttackSettings
from assay.common.errors import UserError

_HALVINGS = 10


def nearest(job: AttackJob, settings: AttackSettings) -> AttackResult:
    """The nearest adversarial image that any start finds, each taken back to the boundary by halving.

    Args:
        job: The images; the job's method is one that leaves the ball (fab, fab_t).
        settings: The radius only says how far away a random restart begins.

    Returns:
        ``success`` (N,) is whether any was found; their distances are the norms of what ``images`` differ by. An
        image that is misclassified to begin with is its own nearest.

    Raises:
        UserError: As `run_job`, or another method.
    """
    if not find_method(job.method).leaves_ball:
        able = " or ".join(name for name, method in METHODS.items() if method.leaves_ball)
        raise UserError(f"{job.method}: looks for no nearest image, choose {able}")
    check_settings(job.method, settings, targeted=job.targets is not None)
    plan = plan_of(job, replace(settings, early_stop=False))
    inputs = as_inputs(job, settings)
    found: AttackResult | None = None
    for start, rows in starts(plan, inputs):
        again = run_pool(start, rows)
        _take_back(plan, inputs, again)
        found = again if found is None else _nearer(plan, inputs, found, again)
    assert found is not None
    return found


def _nearer(plan: Plan, inputs: Inputs, first: AttackResult, second: AttackResult) -> AttackResult:
    """Row by row the nearer success; steps add up."""
    ball = BALLS[plan.settings.norm]
    lengths = [
        ball.length(one.images - inputs.images).masked_fill(~one.success, torch.inf)
        for one in (first, second)
    ]
    nearer = lengths[1] < lengths[0]
    return AttackResult(
        images=torch.where(nearer.view(-1, 1, 1, 1), second.images, first.images),
        success=first.success | second.success,
        steps_used=first.steps_used + second.steps_used,
        zero_gradient=first.zero_gradient | second.zero_gradient,
    )


@torch.no_grad()
def _take_back(plan: Plan, inputs: Inputs, found: AttackResult) -> None:
    """Halve, in place, the stretch between image and adversarial image in which the answer changes."""
    for rows in torch.split(found.success.nonzero().squeeze(1), plan.batch_size):
        part, outer = inputs.select(rows), found.images[rows]
        low = torch.zeros(len(rows), dtype=outer.dtype, device=outer.device)
        high = torch.ones_like(low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            wrong = _misclassified(plan, part, _between(part.images, outer, middle))
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        found.images[rows] = _between(part.images, outer, high)


def _between(images: Tensor, outer: Tensor, share: Tensor) -> Tensor:
    """The points at a share (n,) of the way from images to outer ones, which are given as they are at 1."""
    return torch.lerp(images, outer, per_image(share, images))


def _misclassified(plan: Plan, inputs: Inputs, images: Tensor) -> Tensor:
    return ~in_top(checked_logits(plan.model, images, inputs.position), inputs.labels)
