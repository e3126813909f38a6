"""The live pool: one start of an attack over a data set, spending passes only on images that still stand.

Each pass of the network gives the gradient for the next step and, by the same logits, the verdict on the
iterate it was taken at. Images that fall leave the batch at once and waiting ones take their places, so that
the batch stays full while any are left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assay.attacks.balls import BALLS
from assay.attacks.images import AttackedImages, AttackResult, LiveImages
from assay.attacks.implementation import Implementation, implementation_of
from assay.attacks.losses import in_top
from assay.attacks.settings import AttackSettings


def run_start(attack: AttackSettings, images: AttackedImages, *, first: bool) -> AttackResult:
    """Attack every image once, from one start; the result's rows are those of `images`.

    Methods that start elsewhere after the `first` start do so.
    """
    how = implementation_of(attack)
    result = AttackResult.blank(torch.empty_like(images.images))
    live: LiveImages | None = None
    begun = 0
    while True:
        room = images.batch_size - (0 if live is None else len(live))
        if room and begun < len(images):
            start = how.start if first or how.restart is None else how.restart
            waiting = images.select(slice(begun, begun + room))
            fresh = _with_start(waiting, *start(waiting, attack), begun)
            begun += len(fresh)
            live = fresh if live is None else live.join(fresh)
        if live is None or not len(live):
            return result
        live = _settle_finished(attack, how, live, result)
        if len(live):
            live = _take_step(attack, how, live, result)


def succeeded(attack: AttackSettings, logits: Tensor, images: AttackedImages) -> Tensor:
    """(n,) bool: whether the attack has what it wants at these logits."""
    # A method that aims at runners-up has chosen its targets itself: any misclassification will do.
    if images.targets is not None and not attack.aims_at_runners_up:
        return in_top(logits, images.targets, images.top_k)
    return ~in_top(logits, images.labels, images.top_k)


def _with_start(
    images: AttackedImages, adversarial: Tensor, memory: dict[str, Tensor], first_row: int
) -> LiveImages:
    """Waiting images with their first iterates, as they enter the pool."""
    count = len(images)
    return LiveImages(
        attacked=images,
        row=torch.arange(first_row, first_row + count),
        adversarial=adversarial,
        step=torch.zeros(count, dtype=torch.int64),
        zero_gradient=torch.zeros(count, dtype=torch.bool, device=adversarial.device),
        passes=torch.zeros(count, 2, dtype=torch.int64),
        memory=memory,
    )


def _settle_finished(
    attack: AttackSettings, how: Implementation, live: LiveImages, result: AttackResult
) -> LiveImages:
    """Judge the images whose steps are used up, by a forward pass alone; the others stay."""
    done = live.step >= attack.step_count
    if not done.any():
        return live
    finished = live if done.all() else live.select(_rows(done, live))
    success = _judge(attack, how, finished)
    if how.end is not None:
        how.end(finished, success)
        success = _judge(attack, how, finished)
    _record(finished, success, result)
    return live.select(_rows(~done, live))


def _judge(attack: AttackSettings, how: Implementation, live: LiveImages) -> Tensor:
    """(n,) bool: whether the attack has what it wants at the present iterates."""
    live.passes[:, 0] += attack.draws
    return _wins(attack, how.look(live, attack, gradient=False))


def _take_step(
    attack: AttackSettings, how: Implementation, live: LiveImages, result: AttackResult
) -> LiveImages:
    """One pass: images that have fallen leave, the others take their next step."""
    live.passes[:, 0] += attack.draws
    live = _look(attack, how, live, result, back=how.step_back is not None)
    if len(live) and live.gradient is None and how.step_back is not None:
        wrong = _wins(attack, live)
        how.step_back(live, wrong)
        live.passes[wrong.cpu(), 0] += 1
        live = _look(attack, how, live, result, back=False)
    if len(live):
        if live.gradient is not None:
            assert live.logits is not None
            live.passes[:, 1] += live.logits.shape[1] if how.slope_per_class else attack.draws
            size = torch.linalg.vector_norm(live.gradient.flatten(1), ord=1, dim=1)
            live.zero_gradient.logical_or_(size == 0)
        how.advance(live, attack)
        live.step.add_(1)
    return live.unseen()


def _look(
    attack: AttackSettings, how: Implementation, live: LiveImages, result: AttackResult, *, back: bool
) -> LiveImages:
    """Look at all iterates; images that have fallen leave.

    Where all have fallen at once, as in small batches they often do, the backward pass is saved. So it is where some
    are to step `back` first, for then all are looked at again.
    """
    fallen: Tensor | None = None

    def needed(logits: Tensor) -> bool:
        nonlocal fallen
        fallen = _fallen(attack, logits, live)
        if back and bool((succeeded(attack, logits, live.attacked) & ~fallen).any()):
            return False
        return not bool(fallen.all())

    seen = how.look(live, attack, gradient=attack.uses_gradient, needed=needed)
    if not live.attacked.early_stop:
        return seen
    if fallen is None:
        assert seen.logits is not None
        fallen = _fallen(attack, seen.logits, seen)
    return _drop(seen, fallen, result)


def _wins(attack: AttackSettings, seen: LiveImages) -> Tensor:
    """(n,) bool: `succeeded`, by the logits of the last look."""
    assert seen.logits is not None
    return succeeded(attack, seen.logits, seen.attacked)


def _fallen(attack: AttackSettings, logits: Tensor, live: LiveImages) -> Tensor:
    """(n,) bool: which images may leave the pool, by the logits of their present iterates."""
    given = live.attacked
    wins = succeeded(attack, logits, given)
    if not given.early_stop:
        return torch.zeros_like(wins)
    if attack.leaves_ball:
        wins &= BALLS[given.norm].length(live.adversarial - given.images) <= given.eps
    return wins


def _drop(seen: LiveImages, fallen: Tensor, result: AttackResult) -> LiveImages:
    """Record and remove the images whose present iterate succeeds, (n,) bool."""
    if not fallen.any():
        return seen
    down = seen.unseen().select(fallen.nonzero().squeeze(1))
    _record(down, torch.ones(len(down), dtype=torch.bool, device=fallen.device), result)
    return seen.select((~fallen).nonzero().squeeze(1))


def _record(live: LiveImages, success: Tensor, result: AttackResult) -> None:
    """Write the outcome of rows that are done."""
    rows = live.row.to(success.device)
    result.images[rows] = live.adversarial
    result.success[rows] = success
    result.steps_used[rows] = live.step.to(success.device)
    result.zero_gradient[rows] = live.zero_gradient
    result.passes[rows] = live.passes.to(success.device)


def _rows(mask: Tensor, live: LiveImages) -> Tensor:
    return mask.nonzero().squeeze(1).to(live.adversarial.device)
