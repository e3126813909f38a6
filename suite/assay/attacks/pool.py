"""The live pool: the starts of an attack over a data set, spending passes only on images that still stand.

Each pass of the network gives the gradient for the next step and, by the same logits, the verdict on the
iterate it was taken at. Images that fall leave the batch at once and waiting ones take their places, so that
the batch stays full while any are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from assay.attacks.attempts import AttemptOutcomes, Attempts, Queue
from assay.attacks.images import AttackedImages, AttackResult, LiveImages
from assay.attacks.implementation import Implementation, implementation_of
from assay.attacks.losses import in_top
from assay.attacks.settings import AttackSettings
from assay.common.balls import BALLS
from assay.common.savepoints import Loop


def run_pool(attack: AttackSettings, starts: Sequence[AttackedImages]) -> AttackResult:
    """Attack every image from one start after another until one succeeds; they differ in seeds and targets alone."""
    (result,) = run_attempts(attack, Attempts.of([starts], _first_of(len(starts)))).results()
    return result


def run_each_start(attack: AttackSettings, starts: Sequence[AttackedImages]) -> list[AttackResult]:
    """Attack every image from each start, whether or not other starts succeed: one result per start."""
    attempts = Attempts.of([[start] for start in starts], _first_of(len(starts)))
    return run_attempts(attack, attempts).results()


def run_radii(
    attack: AttackSettings, radii: Sequence[Sequence[AttackedImages]], *, until_first: bool
) -> AttemptOutcomes:
    """Attack every image at several radii, each from as many starts, until one succeeds there.

    Args:
        attack: how.
        radii: the starts at each radius; all differ in seeds, targets and balls alone.
        until_first: what has fallen at one radius is not attacked at the radii that follow.
    """
    first = [flag for starts in radii for flag in _first_of(len(starts))]
    return run_attempts(attack, Attempts.of(radii, first, until_first))


def _first_of(starts: int) -> list[bool]:
    return [number == 0 for number in range(starts)]


def fills_passes(device: torch.device) -> bool:
    """Whether a pass costs the device the same full or not, so that rows which may prove idle are worth their place."""
    return device.type != "cpu"


def run_attempts(attack: AttackSettings, attempts: Attempts) -> AttemptOutcomes:
    """All attempts."""
    ended = AttemptOutcomes(attempts)
    rounds = partial(_rounds, attack, attempts, ended)
    ended.restore(attempts.images.savepoints.loop(_name(attack, attempts), rounds))
    return ended


def _name(attack: AttackSettings, attempts: Attempts) -> str:
    """Says which of a chunk's attacks this is: two that differ in anything have two names."""
    images = attempts.images
    asked = (attack.model_dump_json(), attempts.groups, attempts.first.tolist(), attempts.until_first)
    digest = sha256(repr((asked, images.early_stop, images.batch_size)).encode())
    for values in (attempts.seeds, attempts.targets, attempts.eps, images.position):
        digest.update(b"none" if values is None else values.cpu().numpy().tobytes())
    return f"{attack.series} {digest.hexdigest()}"


def _rounds(attack: AttackSettings, attempts: Attempts, ended: AttemptOutcomes, loop: Loop) -> dict[str, Any]:
    """All that became of the attempts, from the last saved round on."""
    how, images = implementation_of(attack), attempts.images
    fill = fills_passes(images.images.device)
    queue = Queue(attempts, ended, fill=fill)
    live: LiveImages | None = None
    if loop.state is not None:
        ended.restore(loop.state["ended"])
        queue.restore(loop.state["queue"])
        live = LiveImages.from_state(loop.state["live"], images)
    while True:
        rows = torch.zeros(0, dtype=torch.int64) if live is None else live.row
        entering = queue.take(images.batch_size - len(rows), rows)
        if len(entering):
            fresh = attempts.begin(attack, how, entering)
            live = fresh if live is None else live.join(fresh)
        if not live:
            return ended.as_state()
        # Rows that are at different steps end one by one, so full passes judge them beside those that go on.
        beside = fill and how.end is None and how.step_back is None
        if not beside:
            live = _settle_finished(attack, how, live, ended)
        if len(live):
            live = _take_step(attack, how, live, ended, judges=beside)
        if fill and bool((idle := ended.idle(live.row)).any()):
            live = live.select(_rows(~idle, live))
        loop.offer(partial(_state, live, ended, queue))


def _state(live: LiveImages, ended: AttemptOutcomes, queue: Queue) -> dict[str, Any]:
    return {"live": live.as_state(), "ended": ended.as_state(), "queue": queue.as_state()}


def succeeded(attack: AttackSettings, logits: Tensor, images: AttackedImages) -> Tensor:
    """(n,) bool: whether the attack has what it wants at these logits."""
    # A method that aims at runners-up has chosen its targets itself: any misclassification will do.
    if images.targets is not None and not attack.aims_at_runners_up:
        return in_top(logits, images.targets, images.top_k)
    return ~in_top(logits, images.labels, images.top_k)


def _settle_finished(
    attack: AttackSettings, how: Implementation, live: LiveImages, ended: AttemptOutcomes
) -> LiveImages:
    """Judge the images whose steps are used up, by a forward pass alone; the others stay."""
    steps = attack.steps_in(live.attacked.norm)
    if int(live.step.max()) < steps:
        return live
    done = live.step >= steps
    finished = live if done.all() else live.select(_rows(done, live))
    success = _judge(attack, how, finished)
    if how.end is not None:
        how.end(finished, success)
        success = _judge(attack, how, finished)
    ended.note(finished, success)
    return live.select(_rows(~done, live))


def _judge(attack: AttackSettings, how: Implementation, live: LiveImages) -> Tensor:
    """(n,) bool: whether the attack has what it wants at the present iterates."""
    live.passes[:, 0].add_(attack.draws)
    return _wins(attack, how.look(live, attack, gradient=False))


def _take_step(
    attack: AttackSettings, how: Implementation, live: LiveImages, ended: AttemptOutcomes, *, judges: bool
) -> LiveImages:
    """One pass: images that have fallen leave, the others take their next step.

    With ``judges`` there may be rows whose steps are used up; they leave too.
    """
    live.passes[:, 0].add_(attack.draws)
    done = (live.step >= attack.steps_in(live.attacked.norm)).to(live.adversarial.device) if judges else None
    live = _look(attack, how, live, ended, done, back=how.step_back is not None)
    if len(live) and live.gradient is None and how.step_back is not None:
        wrong = _wins(attack, live)
        how.step_back(live, wrong)
        live.passes[wrong.cpu(), 0] += 1
        live = _look(attack, how, live, ended, None, back=False)
    if len(live):
        if live.gradient is not None:
            assert live.logits is not None
            live.passes[:, 1].add_(live.logits.shape[1] if how.slope_per_class else attack.draws)
            _note_zeros(live, live.gradient.flatten(1))
        how.advance(live, attack)
        live.step.add_(1)
    return live.unseen()


def _note_zeros(live: LiveImages, flat: Tensor) -> None:
    """Note where the gradient, (n, D), is exactly zero."""
    # Where no sum is zero, no row is, and its absolute values need not be written down.
    if not bool(flat.sum(dim=1).all()):
        # Not vector_norm, which takes four times as long on a CPU.
        live.zero_gradient.logical_or_(flat.abs().sum(dim=1) == 0)


def _look(
    attack: AttackSettings,
    how: Implementation,
    live: LiveImages,
    ended: AttemptOutcomes,
    done: Tensor | None,
    *,
    back: bool,
) -> LiveImages:
    """Look at all iterates; images that have fallen or are `done`, (n,) bool, leave.

    Where all leave at once, as in small batches they often do, the backward pass is saved. So it is where some are to
    step `back` first, for then all are looked at again.
    """
    fallen: Tensor | None = None

    def leaving() -> Tensor:
        assert fallen is not None
        return fallen if done is None else fallen | done

    def needed(logits: Tensor) -> bool:
        nonlocal fallen
        fallen = _fallen(attack, logits, live)
        if back and bool((succeeded(attack, logits, live.attacked) & ~fallen).any()):
            return False
        return not bool(leaving().all())

    seen = how.look(live, attack, gradient=attack.uses_gradient, needed=needed)
    if not live.attacked.early_stop and done is None:
        return seen
    if fallen is None:
        assert seen.logits is not None
        fallen = _fallen(attack, seen.logits, seen)
    return _drop(seen, leaving(), ended, fallen if done is None else _wins(attack, seen))


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
    if attack.may_leave(given.norm):
        wins &= BALLS[given.norm].length(live.adversarial - given.images) <= given.eps
    return wins


def _drop(seen: LiveImages, leaving: Tensor, ended: AttemptOutcomes, success: Tensor) -> LiveImages:
    """Record and remove the rows that are leaving, (n,) bool, with their success, (n,) bool."""
    if not leaving.any():
        return seen
    rows = leaving.nonzero().squeeze(1)
    ended.note(seen.unseen().select(rows), success[rows])
    return seen.select((~leaving).nonzero().squeeze(1))


def _rows(mask: Tensor, live: LiveImages) -> Tensor:
    return mask.nonzero().squeeze(1).to(live.adversarial.device)
