"""The live pool: one start of an attack over a data set, spending passes only on images that still stand.

Each pass of the network gives the gradient for the next step and, by the same logits, the verdict on the
iterate it was taken at. Images that fall leave the batch at once and waiting ones take their places, so that
the batch stays full while any are left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks.balls import BALLS
from assay.attacks.implementation import Implementation, implementation_of
from assay.attacks.losses import in_top
from assay.attacks.methods import Method
from assay.attacks.observe import Model, Observation
from assay.attacks.rows import Inputs, Live
from assay.attacks.settings import AttackResult, AttackSettings


@dataclass(frozen=True)
class Plan:
    """What a pool runs.

    Attributes:
        model: The model under attack.
        method: The attack.
        settings: Its settings; radius and step size are taken from the inputs' rows.
        hit_targets: Success is the target entering the top k, not the label leaving it.
        batch_size: Most images in one pass.
        first: Whether this is the first start.
    """

    model: Model
    method: Method
    settings: AttackSettings
    hit_targets: bool
    batch_size: int
    first: bool = True


def run_pool(plan: Plan, inputs: Inputs) -> AttackResult:
    """Attack every row of `inputs` once, from one start; the result's rows are those of `inputs`."""
    how = implementation_of(plan.method)
    result = _blank(inputs)
    live: Live | None = None
    begun = 0
    while True:
        room = plan.batch_size - (0 if live is None else len(live))
        if room and begun < len(inputs):
            fresh = _begin(plan, how, inputs.select(slice(begun, begun + room)), begun)
            begun += len(fresh)
            live = fresh if live is None else live.join(fresh)
        if live is None or not len(live):
            return result
        live = _settle_finished(plan, how, live, result)
        if len(live):
            live = _take_step(plan, how, live, result)


def succeeded(plan: Plan, logits: Tensor, inputs: Inputs) -> Tensor:
    """(n,) bool: whether the attack has what it wants at these logits."""
    if plan.hit_targets and inputs.targets is not None:
        return in_top(logits, inputs.targets, plan.settings.top_k)
    return ~in_top(logits, inputs.labels, plan.settings.top_k)


def _settle_finished(plan: Plan, how: Implementation, live: Live, result: AttackResult) -> Live:
    """Judge the images whose steps are used up, by a forward pass alone; the others stay."""
    done = live.step >= plan.settings.steps
    if not done.any():
        return live
    finished = live if done.all() else live.select(_rows(done, live))
    success = _judge(plan, how, finished)
    if how.end is not None:
        how.end(finished, success, plan.settings)
        success = _judge(plan, how, finished)
    _record(finished, success, result)
    return live.select(_rows(~done, live))


def _judge(plan: Plan, how: Implementation, live: Live) -> Tensor:
    """(n,) bool: whether the attack has what it wants at the present iterates."""
    seen = how.look(plan.model, live.adversarial, live.inputs, plan.settings, gradient=False)
    return succeeded(plan, seen.logits, live.inputs)


def _take_step(plan: Plan, how: Implementation, live: Live, result: AttackResult) -> Live:
    """One pass: images that have fallen leave, the others take their next step."""
    live, seen = _look(plan, how, live, result, back=how.step_back is not None)
    if len(live) and seen.gradient is None and how.step_back is not None:
        how.step_back(live, succeeded(plan, seen.logits, live.inputs), plan.settings)
        live, seen = _look(plan, how, live, result, back=False)
    if len(live):
        if seen.gradient is not None:
            live.zero_gradient.logical_or_(seen.gradient.flatten(1).abs().amax(dim=1) == 0)
        how.advance(live, seen, plan.settings)
        live.step.add_(1)
    return live


def _look(
    plan: Plan, how: Implementation, live: Live, result: AttackResult, *, back: bool
) -> tuple[Live, Observation]:
    """Look at all iterates; images that have fallen leave.

    Where all have fallen at once, as in small batches they often do, the backward pass is saved. So it is where some
    are to step `back` first, for then all are looked at again.
    """

    def needed(logits: Tensor) -> bool:
        fallen = _fallen(plan, logits, live)
        if back and bool((succeeded(plan, logits, live.inputs) & ~fallen).any()):
            return False
        return not bool(fallen.all())

    uses_gradient = plan.method.uses_gradient
    seen = how.look(
        plan.model, live.adversarial, live.inputs, plan.settings, gradient=uses_gradient, needed=needed
    )
    return _drop_fallen(plan, live, seen, result) if plan.settings.early_stop else (live, seen)


def _fallen(plan: Plan, logits: Tensor, live: Live) -> Tensor:
    """(n,) bool: which images may leave the pool, by the logits of their present iterates."""
    wins = succeeded(plan, logits, live.inputs)
    if not plan.settings.early_stop:
        return torch.zeros_like(wins)
    if plan.method.leaves_ball:
        wins &= BALLS[plan.settings.norm].length(live.adversarial - live.inputs.images) <= live.inputs.eps
    return wins


def _drop_fallen(plan: Plan, live: Live, seen: Observation, result: AttackResult) -> tuple[Live, Observation]:
    """Record and remove the images whose present iterate succeeds."""
    fallen = _fallen(plan, seen.logits, live)
    if not fallen.any():
        return live, seen
    down = live.select(fallen.nonzero().squeeze(1))
    _record(down, torch.ones(len(down), dtype=torch.bool, device=fallen.device), result)
    standing = (~fallen).nonzero().squeeze(1)
    return live.select(standing), seen.select(standing)


def _begin(plan: Plan, how: Implementation, inputs: Inputs, first_row: int) -> Live:
    """Put waiting rows into the pool."""
    start = how.start if plan.first or how.restart is None else how.restart
    adversarial, memory = start(inputs, plan.settings)
    count = len(inputs)
    return Live(
        inputs=inputs,
        row=torch.arange(first_row, first_row + count),
        adversarial=adversarial,
        step=torch.zeros(count, dtype=torch.int64),
        zero_gradient=torch.zeros(count, dtype=torch.bool, device=adversarial.device),
        memory=memory,
    )


def _record(live: Live, success: Tensor, result: AttackResult) -> None:
    """Write the outcome of rows that are done."""
    rows = live.row.to(success.device)
    result.images[rows] = live.adversarial
    result.success[rows] = success
    result.steps_used[rows] = live.step.to(success.device)
    result.zero_gradient[rows] = live.zero_gradient


def _blank(inputs: Inputs) -> AttackResult:
    count, device = len(inputs), inputs.images.device
    return AttackResult(
        images=torch.empty_like(inputs.images),
        success=torch.zeros(count, dtype=torch.bool, device=device),
        steps_used=torch.zeros(count, dtype=torch.int64, device=device),
        zero_gradient=torch.zeros(count, dtype=torch.bool, device=device),
    )


def _rows(mask: Tensor, live: Live) -> Tensor:
    return mask.nonzero().squeeze(1).to(live.adversarial.device)
