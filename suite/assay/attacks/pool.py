"""The live pool: the starts of an attack over a data set, spending passes only on images that still stand.

Each pass of the network gives the gradient for the next step and, by the same logits, the verdict on the
iterate it was taken at. Images that fall leave the batch at once and waiting ones take their places, so that
the batch stays full while any are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from assay.attacks.balls import BALLS
from assay.attacks.images import AttackedImages, AttackResult, LiveImages
from assay.attacks.implementation import Implementation, Start, implementation_of
from assay.attacks.losses import in_top
from assay.attacks.settings import AttackSettings


def run_start(attack: AttackSettings, images: AttackedImages, *, first: bool) -> AttackResult:
    """Attack every image once, from one start; the result's rows are those of `images`.

    Methods that start elsewhere after the `first` start do so.
    """
    return _run(attack, StartRows(images, images.seeds[None], _row_of(images.targets), first))


def run_pool(attack: AttackSettings, starts: Sequence[AttackedImages]) -> AttackResult:
    """Attack every image from one start after another until one succeeds; `starts` differ in seeds and targets alone.

    Each start waits for the one before. Were an image that stood to take its next start at once, images would be at
    different steps, and those that end would be judged in passes of a few: more passes in all, by a tenth.
    """
    first = starts[0]
    seeds = torch.stack([start.seeds for start in starts])
    targets = [start.targets for start in starts if start.targets is not None]
    return _run(attack, StartRows(first, seeds, torch.stack(targets) if targets else None, True))


@dataclass(frozen=True)
class StartRows:
    """Every start of every image as rows: row ``k * N + n`` is start ``k`` of image ``n``.

    Attributes:
        images: N images, whose own seeds and targets are not used.
        seeds: (starts, N) int64.
        targets: (starts, N) int64, or None.
        first: whether start 0 is an image's first one.
    """

    images: AttackedImages
    seeds: Tensor
    targets: Tensor | None
    first: bool

    def begin(self, attack: AttackSettings, how: Implementation, rows: Tensor) -> LiveImages:
        """Rows, (n,) int64 on the CPU in ascending order, with their first iterates, as they enter the pool."""
        if how.restart is None:
            return self._with_start(attack, how.start, rows)
        early = rows < (len(self.images) if self.first else 0)
        parts = ((how.start, rows[early]), (how.restart, rows[~early]))
        live = [self._with_start(attack, start, some) for start, some in parts if len(some)]
        return live[0] if len(live) == 1 else live[0].join(live[1])

    def _with_start(self, attack: AttackSettings, start: Start[Any], rows: Tensor) -> LiveImages:
        image, place = rows % len(self.images), rows.to(self.seeds.device)
        waiting = replace(
            self.images.select(image),
            seeds=self.seeds.flatten()[place],
            targets=None if self.targets is None else self.targets.flatten()[place],
        )
        adversarial, memory = start(waiting, attack)
        return LiveImages(
            attacked=waiting,
            row=rows,
            adversarial=adversarial,
            step=torch.zeros(len(rows), dtype=torch.int64),
            zero_gradient=torch.zeros(len(rows), dtype=torch.bool, device=adversarial.device),
            passes=torch.zeros(len(rows), 2, dtype=torch.int64),
            memory=memory,
        )

    def following(self, rows: Tensor, success: Tensor) -> Tensor:
        """The rows to come after these have ended: the next start of each image that stands and has one."""
        after = rows[~success.to(rows.device)] + len(self.images)
        return after[after < self.seeds.numel()]


def _run(attack: AttackSettings, starts: StartRows) -> AttackResult:
    """All starts; no image has two of them in the pool."""
    how, images = implementation_of(attack), starts.images
    ended = Ended(AttackResult.blank(torch.empty_like(images.images)), starts)
    live: LiveImages | None = None
    waiting = torch.arange(len(images))
    while True:
        if not (len(waiting) or live):
            waiting = ended.take()
        room = images.batch_size - (0 if live is None else len(live))
        if room and len(waiting):
            fresh = starts.begin(attack, how, waiting[:room].sort().values)
            waiting = waiting[room:]
            live = fresh if live is None else live.join(fresh)
        if not live:
            return ended.result
        live = _settle_finished(attack, how, live, ended)
        if len(live):
            live = _take_step(attack, how, live, ended)


@dataclass
class Ended:
    """What became of the rows that have left the pool, and the rows that follow from that."""

    result: AttackResult
    starts: StartRows
    following: list[Tensor] = field(default_factory=list)

    def note(self, live: LiveImages, success: Tensor) -> None:
        """Write the outcome of rows that are done; the steps and passes of an image's starts add up."""
        result, success = self.result, success.to(live.adversarial.device)
        rows = (live.row % len(self.starts.images)).to(success.device)
        result.images[rows] = live.adversarial
        result.success[rows] = success
        result.steps_used[rows] += live.step.to(success.device)
        result.zero_gradient[rows] |= live.zero_gradient
        result.passes[rows] += live.passes.to(success.device)
        self.following.append(self.starts.following(live.row, success))

    def take(self) -> Tensor:
        """(n,) int64 on the CPU, ascending: the rows that have come to wait since the last call."""
        found = torch.cat([torch.zeros(0, dtype=torch.int64), *self.following]).sort().values
        self.following.clear()
        return found


def _row_of(targets: Tensor | None) -> Tensor | None:
    return None if targets is None else targets[None]


def succeeded(attack: AttackSettings, logits: Tensor, images: AttackedImages) -> Tensor:
    """(n,) bool: whether the attack has what it wants at these logits."""
    # A method that aims at runners-up has chosen its targets itself: any misclassification will do.
    if images.targets is not None and not attack.aims_at_runners_up:
        return in_top(logits, images.targets, images.top_k)
    return ~in_top(logits, images.labels, images.top_k)


def _settle_finished(
    attack: AttackSettings, how: Implementation, live: LiveImages, ended: Ended
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
    ended.note(finished, success)
    return live.select(_rows(~done, live))


def _judge(attack: AttackSettings, how: Implementation, live: LiveImages) -> Tensor:
    """(n,) bool: whether the attack has what it wants at the present iterates."""
    live.passes[:, 0] += attack.draws
    return _wins(attack, how.look(live, attack, gradient=False))


def _take_step(attack: AttackSettings, how: Implementation, live: LiveImages, ended: Ended) -> LiveImages:
    """One pass: images that have fallen leave, the others take their next step."""
    live.passes[:, 0] += attack.draws
    live = _look(attack, how, live, ended, back=how.step_back is not None)
    if len(live) and live.gradient is None and how.step_back is not None:
        wrong = _wins(attack, live)
        how.step_back(live, wrong)
        live.passes[wrong.cpu(), 0] += 1
        live = _look(attack, how, live, ended, back=False)
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
    attack: AttackSettings, how: Implementation, live: LiveImages, ended: Ended, *, back: bool
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
    return _drop(seen, fallen, ended)


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


def _drop(seen: LiveImages, fallen: Tensor, ended: Ended) -> LiveImages:
    """Record and remove the images whose present iterate succeeds, (n,) bool."""
    if not fallen.any():
        return seen
    down = seen.unseen().select(fallen.nonzero().squeeze(1))
    ended.note(down, torch.ones(len(down), dtype=torch.bool, device=fallen.device))
    return seen.select((~fallen).nonzero().squeeze(1))


def _rows(mask: Tensor, live: LiveImages) -> Tensor:
    return mask.nonzero().squeeze(1).to(live.adversarial.device)
