"""APGD: projected gradient ascent with momentum that sets its own step size (Croce and Hein 2020).

In L1 its authors' form for that norm takes its place (`assay.attacks.apgd_l1`).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from assay.attacks import apgd_l1
from assay.attacks.images import AttackedImages, LiveImages, Memory, copy_rows_, note_best_
from assay.attacks.implementation import implements
from assay.attacks.methods import ApgdAttack, ApgdTargetedAttack
from assay.common.balls import BALLS, per_image

_MOMENTUM = 0.75
_ENOUGH_RISES = 0.75


def at_random_point(given: AttackedImages, attack: ApgdAttack | ApgdTargetedAttack) -> tuple[Tensor, Memory]:
    """Start at a uniform random point of the ball, with a step of twice the radius."""
    if given.norm == "l1":
        return apgd_l1.at_random_point(given, attack)
    start = BALLS[given.norm].random_start(given.images, given.eps, given.seeds)
    lowest = torch.full((len(given),), -torch.inf, dtype=start.dtype, device=start.device)
    return start, {
        "previous": start.clone(),
        "best": start.clone(),
        "best_gradient": torch.zeros_like(start),
        "best_loss": lowest,
        "last_loss": lowest.clone(),
        "checkpoint_loss": lowest.clone(),
        "rises": torch.zeros(len(given), dtype=torch.int64, device=start.device),
        "step_size": 2 * given.eps.to(start.dtype),
        "just_halved": torch.ones(len(given), dtype=torch.bool, device=start.device),
    }


@implements(ApgdAttack, start=at_random_point)
@implements(ApgdTargetedAttack, start=at_random_point)
def ascend(live: LiveImages, attack: ApgdAttack | ApgdTargetedAttack) -> None:
    """One iteration of Algorithm 1: note the best point, halve the step where it stalls, then move."""
    if live.attacked.norm == "l1":
        apgd_l1.ascend(live, attack)
        return
    loss, gradient = live.seen()
    _note_best(live.memory, live.adversarial, gradient, loss)
    halved = _halve_where_stalled(live, attack.step_count)
    if halved is not None:
        copy_rows_(live.adversarial, live.memory["best"], halved)
        copy_rows_(gradient, live.memory["best_gradient"], halved)
    _move(live, gradient)


def _note_best(memory: Memory, points: Tensor, gradient: Tensor, loss: Tensor) -> None:
    """Keep the highest loss so far, where it was, and how often the loss rose since the last checkpoint."""
    note_best_(memory, points, loss, gradient)
    # The first loss is no rise: the last one is then minus infinity.
    memory["rises"].add_((loss > memory["last_loss"]) & (memory["last_loss"] > -torch.inf))
    memory["last_loss"].copy_(loss)


def _halve_where_stalled(live: LiveImages, steps: int) -> Tensor | None:
    """Rows at a checkpoint that meet condition 1 or 2 of section 3.2; their step is halved. None: no checkpoint."""
    memory = live.memory
    interval = _intervals(steps)[live.step]
    if not interval.any():
        return None
    interval = interval.to(live.adversarial.device)
    checked = interval > 0
    seldom = memory["rises"] < _ENOUGH_RISES * interval
    stuck = ~memory["just_halved"] & (memory["best_loss"] <= memory["checkpoint_loss"])
    halved = checked & (seldom | stuck)
    memory["step_size"].mul_(torch.where(halved, 0.5, 1.0))
    memory["just_halved"].copy_(torch.where(checked, halved, memory["just_halved"]))
    memory["checkpoint_loss"].copy_(torch.where(checked, memory["best_loss"], memory["checkpoint_loss"]))
    memory["rises"].masked_fill_(checked, 0)
    return halved.nonzero().squeeze(1)


def _move(live: LiveImages, gradient: Tensor) -> None:
    """Equation 4: a projected step, averaged with the last displacement, projected again."""
    given = live.attacked
    here = live.adversarial.clone()
    step = BALLS[given.norm].direction_(gradient).mul_(per_image(live.memory["step_size"], gradient))
    ahead = given.project_(step.add_(here))
    weight = _weights(live)
    drift = (here - live.memory["previous"]).mul_(1 - weight)
    live.adversarial.add_(ahead.sub_(here).mul_(weight)).add_(drift)
    given.project_(live.adversarial)
    live.memory["previous"] = here


def _weights(live: LiveImages) -> Tensor | float:
    """What the step weighs beside the last displacement; one number where all images have moved before."""
    if int(live.step.min()) > 0:
        return _MOMENTUM
    return per_image(torch.where(live.step > 0, _MOMENTUM, 1.0).to(live.adversarial.device), live.adversarial)


@lru_cache(maxsize=16)
def checkpoint_intervals(steps: int) -> tuple[int, ...]:
    """For each iteration 0..steps: the length of the interval that a checkpoint there ends, 0 elsewhere.

    Section 3.2: p0 = 0, p1 = 0.22, then p grows by its last growth less 0.03, by 0.06 at least.
    """
    intervals = [0] * (steps + 1)
    before, here, last = 0, 22, 0  # in hundredths, so that rounding up is exact
    while here <= 100:
        at = -(-here * steps // 100)
        if at > last:
            intervals[at] = at - last
        before, here, last = here, here + max(here - before - 3, 6), at
    return tuple(intervals)


@lru_cache(maxsize=16)
def _intervals(steps: int) -> Tensor:
    """(steps + 1,) int64 on the CPU: :func:`checkpoint_intervals`, to be looked up by step."""
    return torch.tensor(checkpoint_intervals(steps))
