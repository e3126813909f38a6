"""APGD in L1: sparse steps, as sparse as what they lead to, in balls that shrink (Croce and Hein 2021, "Mind the box").

The gradient's largest values are changed, all by as much. How many: two thirds of the values where the best point so
far differs from the image. Where that number has fallen, the step is long again and begins at the best point; elsewhere
it gets shorter. The first third of the moves is made in a ball of three radii, the second in one of two, and only the
last within the radius itself. Each third begins at the best point of the one before, projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, LiveImages, Memory, copy_rows_, note_best_
from assay.attacks.methods import ApgdAttack, ApgdTargetedAttack
from assay.common import randomness
from assay.common.l1_ball import L1Ball, sparse_step_

_BALL = L1Ball()
_SHRINKS = 0.95  # of the values that differed at the last check: fewer now mean that the point gets sparser
_SHORTER = 1.5
_SHORTEST = 0.1  # of the first step's length
_CHECKS = 0.04  # of the moves lie between two checks


def at_random_point(given: AttackedImages, attack: ApgdAttack | ApgdTargetedAttack) -> tuple[Tensor, Memory]:
    """Start at normal noise, projected into the first ball."""
    noise = randomness.normal(given.seeds, given.images.shape[1:], given.images.dtype)
    first = given.eps * _course(attack.moves_in_l1).radii[0]
    start = _BALL.project_(noise.add_(given.images), given.images, first)
    lowest = torch.full((len(given),), -torch.inf, dtype=start.dtype, device=start.device)
    differ = _differing(start, given.images)
    return start, {
        "best": start.clone(),
        "best_gradient": torch.zeros_like(start),
        "best_loss": lowest,
        "differ": differ,
        "change": _to_change(differ),
        "step_size": first.to(start.dtype),
    }


def ascend(live: LiveImages, attack: ApgdAttack | ApgdTargetedAttack) -> None:
    """Note the best point; then go on to the next ball, or check the step where that is due and move."""
    loss, gradient = live.seen()
    memory, given, course = live.memory, live.attacked, _course(attack.moves_in_l1)
    note_best_(memory, live.adversarial, loss, gradient)
    radius = given.eps * course.radius_after[live.step].to(given.eps.device)
    checked = course.checked[live.step].to(radius.device)
    if checked.any():
        _check(live, gradient, checked, radius)
    ends = course.ends[live.step].to(radius.device)
    step = sparse_step_(gradient, memory["change"]).mul_(
        (memory["step_size"] * ~ends).view(-1, *(1,) * (gradient.dim() - 1))
    )
    copy_rows_(live.adversarial, memory["best"], ends.nonzero().squeeze(1))
    _BALL.project_(live.adversarial.add_(step), given.images, radius)
    if ends.any():
        _begin_again(live, ends, radius)


def _check(live: LiveImages, gradient: Tensor, checked: Tensor, radius: Tensor) -> None:
    """Where the best point got sparser, go back to it with a long step; elsewhere shorten the step."""
    memory = live.memory
    differ = _differing(memory["best"], live.attacked.images)
    sparser = checked & (differ < _SHRINKS * memory["differ"])
    longest = radius.to(gradient.dtype)
    shorter = torch.maximum(memory["step_size"] / _SHORTER, _SHORTEST * longest)
    size = torch.where(sparser, longest, shorter)
    memory["step_size"].copy_(torch.where(checked, size, memory["step_size"]))
    memory["change"].copy_(torch.where(checked, _to_change(differ), memory["change"]))
    memory["differ"].copy_(torch.where(checked, differ, memory["differ"]))
    rows = sparser.nonzero().squeeze(1)
    copy_rows_(live.adversarial, memory["best"], rows)
    copy_rows_(gradient, memory["best_gradient"], rows)


def _begin_again(live: LiveImages, ends: Tensor, radius: Tensor) -> None:
    """In the next ball nothing is known yet."""
    memory = live.memory
    differ = _differing(live.adversarial, live.attacked.images)
    memory["best_loss"].masked_fill_(ends, -torch.inf)
    memory["differ"].copy_(torch.where(ends, differ, memory["differ"]))
    memory["change"].copy_(torch.where(ends, _to_change(differ), memory["change"]))
    memory["step_size"].copy_(torch.where(ends, radius.to(live.adversarial.dtype), memory["step_size"]))


def _differing(points: Tensor, images: Tensor) -> Tensor:
    """(n,) int64: in how many values points differ from images."""
    return (points != images).flatten(1).sum(dim=1)


def _to_change(differ: Tensor) -> Tensor:
    """(n,) int64: two thirds, rounded up."""
    return (2 * differ + 2).div(3, rounding_mode="floor").clamp_min_(1)


@dataclass(frozen=True)
class _Course:
    """What is done at each step, 0 to the last; tensors on the CPU, to be looked up by step.

    Attributes:
        radii: of the balls, in units of the radius that is asked for.
        radius_after: (steps,) float64: the radius of the ball that the step ends in, in the same units.
        checked: (steps,) bool: the step's length is checked before it.
        ends: (steps,) bool: the last point of a ball is projected into the next one.
    """

    radii: tuple[float, ...]
    radius_after: Tensor
    checked: Tensor
    ends: Tensor


@lru_cache(maxsize=16)
def _course(moves: tuple[int, ...]) -> _Course:
    """The course for so many moves in each of the balls; between two balls lies a projection."""
    radii = tuple(float(len(moves) - ball) for ball in range(len(moves)))
    after: list[float] = []
    checked: list[bool] = []
    ends: list[bool] = []
    for ball, count in enumerate(moves):
        between = max(int(_CHECKS * count), 1)
        after += [radii[ball]] * count
        checked += [move > 0 and move % between == 0 for move in range(count)]
        ends += [False] * count
        if ball + 1 < len(moves):
            after.append(radii[ball + 1])
            checked.append(False)
            ends.append(True)
    return _Course(radii, torch.tensor(after, dtype=torch.float64), torch.tensor(checked), torch.tensor(ends))
