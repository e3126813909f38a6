"""FGSM, BIM, PGD and MIM: steps of fixed length along the loss gradient, projected to the ball after each."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, LiveImages, Memory
from assay.attacks.implementation import implements
from assay.attacks.methods import BimAttack, FgsmAttack, MimAttack, PgdAttack
from assay.attacks.settings import AttackSettings
from assay.common.balls import BALLS, per_image, unit_
from assay.common.l1_ball import drop_way_out_


def at_image(given: AttackedImages, attack: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at the image itself."""
    del attack
    return given.images.clone(), {}


def at_random_point(given: AttackedImages, attack: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at a uniform random point of the ball."""
    del attack
    return BALLS[given.norm].random_start(given.images, given.eps, given.seeds), {}


def at_rest(given: AttackedImages, attack: MimAttack) -> tuple[Tensor, Memory]:
    """Start at the image itself with no velocity."""
    del attack
    return given.images.clone(), {"velocity": torch.zeros_like(given.images)}


@implements(FgsmAttack, start=at_image)
@implements(BimAttack, start=at_image)
@implements(PgdAttack, start=at_random_point)
def ascend(live: LiveImages, attack: AttackSettings) -> None:
    """Step x <- P(x + step_size * direction(gradient)) (Madry et al. 2018, section 2.1)."""
    del attack
    _, gradient = live.seen()
    _step(live, gradient)


@implements(MimAttack, start=at_rest)
def ascend_with_momentum(live: LiveImages, attack: MimAttack) -> None:
    """Step g <- mu * g + gradient / ||gradient||, x <- P(x + step_size * direction(g)).

    Dong et al. 2018, equations 6 and 7.
    """
    _, gradient = live.seen()
    velocity = live.memory["velocity"]
    velocity.mul_(attack.decay).add_(unit_(gradient, attack.gradient_order))
    _step(live, velocity.clone())


def _step(live: LiveImages, slope: Tensor) -> None:
    """One step along `slope`, which is used up."""
    ball = BALLS[live.attacked.norm]
    if live.attacked.norm == "l1":
        # A step of few values is lost where these are at the edge of the box already.
        drop_way_out_(slope, live.adversarial)
    length = per_image(live.attacked.step_size, slope)
    live.adversarial.add_(ball.direction_(slope).mul_(length))
    live.attacked.project_(live.adversarial)
