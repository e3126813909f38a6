"""FGSM, BIM, PGD and MIM: steps of fixed length along the loss gradient, projected to the ball after each."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.attacks.balls import BALLS, per_image, unit_
from assay.attacks.implementation import implements
from assay.attacks.observe import Observation
from assay.attacks.rows import Inputs, Live, Memory
from assay.attacks.settings import AttackSettings


def at_image(inputs: Inputs, settings: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at the image itself."""
    del settings
    return inputs.images.clone(), {}


def at_random_point(inputs: Inputs, settings: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at a uniform random point of the ball."""
    return BALLS[settings.norm].random_start(inputs.images, inputs.eps, inputs.seeds), {}


def at_rest(inputs: Inputs, settings: AttackSettings) -> tuple[Tensor, Memory]:
    """Start at the image itself with no velocity."""
    del settings
    return inputs.images.clone(), {"velocity": torch.zeros_like(inputs.images)}


@implements("fgsm", start=at_image)
@implements("bim", start=at_image)
@implements("pgd", start=at_random_point)
def ascend(live: Live, seen: Observation, settings: AttackSettings) -> None:
    """Step x <- P(x + step_size * direction(gradient)) (Madry et al. 2018, section 2.1)."""
    assert seen.gradient is not None
    _step(live, seen.gradient, settings)


@implements("mim", start=at_rest)
def ascend_with_momentum(live: Live, seen: Observation, settings: AttackSettings) -> None:
    """Step g <- mu * g + gradient / ||gradient||, x <- P(x + step_size * direction(g)).

    Dong et al. 2018, equations 6 and 7.
    """
    assert seen.gradient is not None
    velocity = live.memory["velocity"]
    order = 1 if settings.momentum_norm == "l1" else 2
    velocity.mul_(settings.momentum).add_(unit_(seen.gradient, order))
    _step(live, velocity.clone(), settings)


def _step(live: Live, slope: Tensor, settings: AttackSettings) -> None:
    """One step along `slope`, which is used up."""
    ball = BALLS[settings.norm]
    length = per_image(live.inputs.step_size, slope)
    live.adversarial.add_(ball.direction_(slope).mul_(length))
    ball.project_(live.adversarial, live.inputs.images, live.inputs.eps)
