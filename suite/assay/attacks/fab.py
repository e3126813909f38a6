"""FAB: the nearest adversarial image, by steps onto the linearised decision boundary (Croce and Hein 2020).

"Minimally distorted adversarial examples with a fast adaptive boundary attack", Algorithm 1. Its iterates leave the
ball: an image has fallen once one that is misclassified lies within.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from assay.attacks.hyperplane import move_onto
from assay.attacks.images import AttackedImages, LiveImages, Memory
from assay.attacks.implementation import implements
from assay.attacks.losses import margin
from assay.attacks.methods import FabAttack, FabTargetedAttack
from assay.attacks.observe import checked_logits, gradient_of, observe
from assay.attacks.settings import AttackSettings, Norm
from assay.common.balls import BALLS, per_image

_MOST_BIAS = 0.1  # alpha_max, the largest weight of the way from the image
_OVERSHOOT = 1.05  # eta
_STEP_BACK = 0.9  # beta
_SHORTEST = 1e-8  # two ways of no length weigh the same
_DUAL: dict[Norm, float] = {"linf": 1, "l2": 2, "l1": torch.inf}  # the order of each norm's dual


def at_image(given: AttackedImages, attack: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at the image itself, with nothing found."""
    del attack
    return _with_nothing_found(given.images.clone())


def near_image(given: AttackedImages, attack: FabAttack) -> tuple[Tensor, Memory]:
    """Start at a uniform random point of the ball of half the radius (section 3.4)."""
    del attack
    return _with_nothing_found(BALLS[given.norm].random_start(given.images, given.eps / 2, given.seeds))


def look_at_target(
    live: LiveImages,
    attack: FabTargetedAttack,
    *,
    gradient: bool,
    needed: Callable[[Tensor], bool] = lambda _: True,
) -> LiveImages:
    """Look at the boundary between label and target: the loss is z_target - z_label."""
    return observe(live, attack, gradient=gradient, needed=needed, loss_of=_lead_of_target)


def look_at_nearest(
    live: LiveImages,
    attack: FabAttack,
    *,
    gradient: bool,
    needed: Callable[[Tensor], bool] = lambda _: True,
) -> LiveImages:
    """Look at the nearest of all linearised boundaries (equation 7): one backward pass per class."""
    if not gradient:
        return observe(live, attack, gradient=False)
    given = live.attacked
    with torch.enable_grad():
        points = live.adversarial.detach().requires_grad_(True)
        logits = checked_logits(given.model, points, given.position)
        leads = logits - logits.gather(1, given.labels[:, None])
    seen = replace(live, logits=logits.detach(), loss=margin(logits.detach(), given.labels), gradient=None)
    if not needed(logits.detach()):
        return seen
    loss, slopes = torch.zeros_like(leads[:, 0].detach()), torch.zeros_like(live.adversarial)
    nearest = torch.full_like(loss, torch.inf)
    for one in range(logits.shape[1]):
        slope = gradient_of(leads[:, one], points, keep_graph=one + 1 < logits.shape[1])
        distance = _distance(leads[:, one].detach(), slope, given.norm)
        nearer = (distance < nearest) & (given.labels != one)
        nearest = torch.where(nearer, distance, nearest)
        loss = torch.where(nearer, leads[:, one].detach(), loss)
        slopes[nearer] = slope[nearer]
    return replace(seen, loss=loss, gradient=slopes)


def step_back(live: LiveImages, wrong: Tensor) -> None:
    """Note the misclassified iterates, then take them a tenth of the way back to their images (section 3.3)."""
    _note_nearest(live, wrong)
    images = live.attacked.images[wrong]
    live.adversarial[wrong] = torch.lerp(images, live.adversarial[wrong], _STEP_BACK)


def bring_back(live: LiveImages, wrong: Tensor) -> None:
    """End at the nearest misclassified point, or the last one; where a radius is asked for, in the ball."""
    _note_nearest(live, wrong)
    found = live.memory["length"].isfinite()
    live.adversarial[found] = live.memory["nearest"][found]
    given = live.attacked
    if given.early_stop:
        BALLS[given.norm].project_(live.adversarial, given.images, given.eps)


@implements(
    FabAttack,
    start=at_image,
    restart=near_image,
    look=look_at_nearest,
    step_back=step_back,
    end=bring_back,
    slope_per_class=True,
)
@implements(FabTargetedAttack, start=at_image, look=look_at_target, step_back=step_back, end=bring_back)
def cross(live: LiveImages, attack: AttackSettings) -> None:
    """Step beyond the linearised boundary, from the iterate and, with less weight, from the image (equation 9)."""
    del attack
    loss, slopes = live.seen()
    _note_nearest(live, loss > 0)
    here, images, norm = live.adversarial, live.attacked.images, live.attacked.norm
    came = (slopes * (here - images)).flatten(1).sum(dim=1)
    from_here = move_onto(here, slopes, -loss, norm)
    from_image = move_onto(images, slopes, came - loss, norm)
    near, far = (BALLS[norm].length(move).clamp_min(_SHORTEST) for move in (from_here, from_image))
    # The nearer of the two ways weighs more; that from the image keeps the iterates from drifting away.
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
    dual: Tensor = torch.linalg.vector_norm(slope.flatten(1), ord=_DUAL[norm], dim=1)
    return lead.abs() / dual.clamp_min(torch.finfo(slope.dtype).tiny)


def _with_nothing_found(start: Tensor) -> tuple[Tensor, Memory]:
    """The memory of the nearest misclassified point, and its distance."""
    never = torch.full((len(start),), torch.inf, dtype=start.dtype, device=start.device)
    return start, {"nearest": start.clone(), "length": never}


def _note_nearest(live: LiveImages, wrong: Tensor) -> None:
    """Keep the iterates that are misclassified and nearer to their images than any before."""
    given = live.attacked
    length = BALLS[given.norm].length(live.adversarial - given.images)
    nearer = wrong & (length < live.memory["length"])
    live.memory["nearest"][nearer] = live.adversarial[nearer]
    live.memory["length"][nearer] = length[nearer]
