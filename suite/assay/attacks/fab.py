"""FAB: the nearest adversarial image, by steps onto the linearised decision boundary (Croce and Hein 2020).

"Minimally distorted adversarial examples with a fast adaptive boundary attack", Algorithm 1. Its iterates leave the
ball: an image has fallen once one that is misclassified lies within.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks.balls import BALLS, per_image
from assay.attacks.hyperplane import move_onto
from assay.attacks.implementation import implements
from assay.attacks.losses import margin
from assay.attacks.observe import Model, Observation, checked_logits, gradient_of, observe
from assay.attacks.rows import Inputs, Live, Memory
from assay.attacks.settings import AttackSettings, Norm

_MOST_BIAS = 0.1  # alpha_max, the largest weight of the way from the image
_OVERSHOOT = 1.05  # eta
_STEP_BACK = 0.9  # beta
_SHORTEST = 1e-8  # two ways of no length weigh the same


def at_image(inputs: Inputs, settings: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at the image itself, with nothing found."""
    del settings
    return _with_nothing_found(inputs.images.clone())


def near_image(inputs: Inputs, settings: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at a uniform random point of the ball of half the radius (section 3.4)."""
    return _with_nothing_found(BALLS[settings.norm].random_start(inputs.images, inputs.eps / 2, inputs.seeds))


def look_at_target(
    model: Model,
    adversarial: Tensor,
    inputs: Inputs,
    settings: AttackSettings,
    *,
    gradient: bool,
    needed: Callable[[Tensor], bool] = lambda _: True,
) -> Observation:
    """Look at the boundary between label and target: the loss is z_target - z_label."""
    return observe(
        model, adversarial, inputs, settings, gradient=gradient, needed=needed, loss_of=_lead_of_target
    )


def look_at_nearest(
    model: Model,
    adversarial: Tensor,
    inputs: Inputs,
    settings: AttackSettings,
    *,
    gradient: bool,
    needed: Callable[[Tensor], bool] = lambda _: True,
) -> Observation:
    """Look at the nearest of all linearised boundaries (equation 7): one backward pass a class."""
    if not gradient:
        return observe(model, adversarial, inputs, settings, gradient=False)
    with torch.enable_grad():
        points = adversarial.detach().requires_grad_(True)
        logits = checked_logits(model, points, inputs.position)
        leads = logits - logits.gather(1, inputs.labels[:, None])
    seen = Observation(logits.detach(), margin(logits.detach(), inputs.labels))
    if not needed(seen.logits):
        return seen
    loss, slopes = torch.zeros_like(seen.loss), torch.zeros_like(adversarial)
    nearest = torch.full_like(loss, torch.inf)
    for one in range(logits.shape[1]):
        slope = gradient_of(leads[:, one], points, keep_graph=one + 1 < logits.shape[1])
        distance = _distance(leads[:, one].detach(), slope, settings.norm)
        nearer = (distance < nearest) & (inputs.labels != one)
        nearest = torch.where(nearer, distance, nearest)
        loss = torch.where(nearer, leads[:, one].detach(), loss)
        slopes[nearer] = slope[nearer]
    return Observation(seen.logits, loss, slopes)


def step_back(live: Live, wrong: Tensor, settings: AttackSettings) -> None:
    """Note the misclassified iterates, then take them a tenth of the way back to their images (section 3.3)."""
    _note_nearest(live, wrong, settings.norm)
    images = live.inputs.images[wrong]
    live.adversarial[wrong] = torch.lerp(images, live.adversarial[wrong], _STEP_BACK)


def bring_back(live: Live, wrong: Tensor, settings: AttackSettings) -> None:
    """End at the nearest misclassified point, or the last one; where a radius is asked for, in the ball."""
    _note_nearest(live, wrong, settings.norm)
    found = live.memory["length"].isfinite()
    live.adversarial[found] = live.memory["nearest"][found]
    if settings.early_stop:
        BALLS[settings.norm].project_(live.adversarial, live.inputs.images, live.inputs.eps)


@implements(
    "fab", start=at_image, restart=near_image, look=look_at_nearest, step_back=step_back, end=bring_back
)
@implements("fab_t", start=at_image, look=look_at_target, step_back=step_back, end=bring_back)
def cross(live: Live, seen: Observation, settings: AttackSettings) -> None:
    """Step beyond the linearised boundary, from the iterate and, with less weight, from the image (equation 9)."""
    assert seen.gradient is not None
    _note_nearest(live, seen.loss > 0, settings.norm)
    here, images, slopes, norm = live.adversarial, live.inputs.images, seen.gradient, settings.norm
    came = (slopes * (here - images)).flatten(1).sum(dim=1)
    from_here = move_onto(here, slopes, -seen.loss, norm)
    from_image = move_onto(images, slopes, came - seen.loss, norm)
    near, far = (BALLS[norm].length(move).clamp_min(_SHORTEST) for move in (from_here, from_image))
    bias = per_image((near / (near + far)).clamp_max(_MOST_BIAS), here)
    ahead = torch.lerp(here + _OVERSHOOT * from_here, images + _OVERSHOOT * from_image, bias)
    here.copy_(ahead.clamp_(0, 1))


def _lead_of_target(logits: Tensor, labels: Tensor, targets: Tensor | None, top_k: int) -> Tensor:
    """(n,) z_target - z_label: the difference whose zero is the boundary between the two."""
    del top_k
    assert targets is not None
    pair = logits.gather(1, torch.stack([targets, labels], dim=1))
    return pair[:, 0] - pair[:, 1]


def _distance(lead: Tensor, slope: Tensor, norm: Norm) -> Tensor:
    """(n,) the boundary's distance if it were a plane and there were no box: |lead| over the dual norm."""
    dual: Tensor = torch.linalg.vector_norm(slope.flatten(1), ord=1 if norm == "linf" else 2, dim=1)
    return lead.abs() / dual.clamp_min(torch.finfo(slope.dtype).tiny)


def _with_nothing_found(start: Tensor) -> tuple[Tensor, Memory]:
    """The memory of the nearest misclassified point, and its distance."""
    never = torch.full((len(start),), torch.inf, dtype=start.dtype, device=start.device)
    return start, {"nearest": start.clone(), "length": never}


def _note_nearest(live: Live, wrong: Tensor, norm: Norm) -> None:
    """Keep the iterates that are misclassified and nearer to their images than any before."""
    length = BALLS[norm].length(live.adversarial - live.inputs.images)
    nearer = wrong & (length < live.memory["length"])
    live.memory["nearest"][nearer] = live.adversarial[nearer]
    live.memory["length"][nearer] = length[nearer]
