"""Every attempt on every image as rows of a pool, and how they ended.

An attempt is one start (or target) at one radius. Rows may enter the pool and end in any order: what is written down is
the outcome of one attempt after another, each image's later ones left out once it has fallen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, AttackResult, LiveImages
from assay.attacks.implementation import Implementation, Start
from assay.attacks.settings import AttackSettings


@dataclass(frozen=True)
class Attempts:
    """Attempts at P positions on N images: row ``p * N + n`` is the attempt at position ``p`` on image ``n``.

    The positions of the first group come first, then those of the second: all starts at one radius, then all at the
    next. A group ends for an image with its first success.

    Attributes:
        images: N images, whose own seeds, targets and balls are not used.
        seeds: (P, N) int64.
        targets: (P, N) int64, or None.
        eps: (P, N) float64, radii.
        step_size: (P, N) float64.
        groups: how many; each has as many positions.
        first: (P,) bool on the CPU, whether a position is an image's first start.
        until_first: an image that has fallen in one group is not attempted in later groups.
    """

    images: AttackedImages
    seeds: Tensor
    targets: Tensor | None
    eps: Tensor
    step_size: Tensor
    groups: int
    first: Tensor
    until_first: bool

    @classmethod
    def of(
        cls,
        groups: Sequence[Sequence[AttackedImages]],
        first: Sequence[bool],
        until_first: bool = False,
    ) -> Attempts:
        """Attempts that differ in seeds, targets and balls alone; ``first`` has one entry per position."""
        every = [attempt for group in groups for attempt in group]
        targets = [attempt.targets for attempt in every if attempt.targets is not None]
        return cls(
            images=every[0],
            seeds=torch.stack([attempt.seeds for attempt in every]),
            targets=torch.stack(targets) if targets else None,
            eps=torch.stack([attempt.eps for attempt in every]),
            step_size=torch.stack([attempt.step_size for attempt in every]),
            groups=len(groups),
            first=torch.tensor(first),
            until_first=until_first,
        )

    @property
    def positions(self) -> int:
        """P."""
        return len(self.seeds)

    def at_position(self, position: int) -> Tensor:
        """(N,) int64 on the CPU: the rows of one position."""
        return torch.arange(len(self.images)) + position * len(self.images)

    def begin(self, attack: AttackSettings, how: Implementation, rows: Tensor) -> LiveImages:
        """Rows, (n,) int64 on the CPU in ascending order, with their first iterates, as they enter the pool."""
        if how.restart is None:
            return self._with_start(attack, how.start, rows)
        first = self.first[rows // len(self.images)]
        parts = ((how.start, rows[first]), (how.restart, rows[~first]))
        live = [self._with_start(attack, start, some) for start, some in parts if len(some)]
        return live[0] if len(live) == 1 else live[0].join(live[1])

    def _with_start(self, attack: AttackSettings, start: Start[Any], rows: Tensor) -> LiveImages:
        image, place = rows % len(self.images), rows.to(self.seeds.device)
        waiting = replace(
            self.images.select(image),
            seeds=self.seeds.flatten()[place],
            targets=None if self.targets is None else self.targets.flatten()[place],
            eps=self.eps.flatten()[place],
            step_size=self.step_size.flatten()[place],
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


class AttemptOutcomes:
    """What became of the attempts that have left the pool; all on the CPU but images."""

    def __init__(self, attempts: Attempts) -> None:
        self.attempts = attempts
        count, groups, images = len(attempts.images), attempts.groups, attempts.images.images
        self._fell_at = torch.full((groups, count), attempts.positions)  # the first position of a success
        self._images = images.new_empty((groups * count, *images.shape[1:]))
        self._steps = torch.zeros(attempts.positions * count, dtype=torch.int64)
        self._passes = torch.zeros(attempts.positions * count, 2, dtype=torch.int64)
        self._zero_gradient = torch.zeros(attempts.positions * count, dtype=torch.bool)

    def as_state(self) -> dict[str, Tensor]:
        """All of it, to be saved."""
        return {name: value for name, value in vars(self).items() if name != "attempts"}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`as_state` gave."""
        vars(self).update(state)

    def note(self, live: LiveImages, success: Tensor) -> None:
        """Write down rows that are done."""
        rows, fell = live.row, success.cpu()
        self._steps[rows], self._passes[rows] = live.step, live.passes
        self._zero_gradient[rows] = live.zero_gradient.cpu()
        position, place = self._places(rows)
        fell_at = self._fell_at.view(-1)
        if bool(fell.any()):
            fell_at.scatter_reduce_(0, place[fell], position[fell], "amin")
        last = (position + 1) % self._starts == 0
        kept = torch.where(
            fell, fell_at[place] == position, last & (fell_at[place] == self.attempts.positions)
        )
        there = self._images.device
        self._images[place[kept].to(there)] = live.adversarial[kept.to(there)]

    def idle(self, rows: Tensor) -> Tensor:
        """(n,) bool: the attempts, rows (n,) int64, that an earlier success has made idle."""
        position, place = self._places(rows)
        if self.attempts.until_first:
            return position > self._fell_at.amin(0)[rows % len(self.attempts.images)]
        return position > self._fell_at.view(-1)[place]

    def results(self) -> list[AttackResult]:
        """Each group's outcome; steps and passes of an image's attempts up to its first success add up."""
        return [self._result(group) for group in range(self.attempts.groups)]

    def known(self, group: int) -> Tensor:
        """(N,) bool: the images that a group's result covers: they had not fallen in an earlier group."""
        if not self.attempts.until_first:
            return torch.ones(len(self.attempts.images), dtype=torch.bool)
        return (self._fell_at[:group] == self.attempts.positions).all(0)

    def _result(self, group: int) -> AttackResult:
        count, there = len(self.attempts.images), self._images.device
        positions = slice(group * self._starts, (group + 1) * self._starts)
        made = torch.arange(self.attempts.positions)[positions, None] <= self._fell_at[group]

        def of_group(values: Tensor) -> Tensor:
            return values.view(-1, count, *values.shape[1:])[positions]

        result = AttackResult.blank(self._images[group * count : (group + 1) * count])
        return replace(
            result,
            success=(self._fell_at[group] < self.attempts.positions).to(there),
            steps_used=(of_group(self._steps) * made).sum(0).to(there),
            zero_gradient=(of_group(self._zero_gradient) & made).any(0).to(there),
            passes=(of_group(self._passes) * made[..., None]).sum(0).to(there),
        )

    @property
    def _starts(self) -> int:
        return self.attempts.positions // self.attempts.groups

    def _places(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Each row's position, and the place of its group and image among (groups * N)."""
        count = len(self.attempts.images)
        position = rows // count
        return position, position // self._starts * count + rows % count


class Queue:
    """The rows that wait for the pool.

    Rows of a later position wait until the pool is empty. If an image that stood took its next start at once, images
    would be at different steps. Those that end would be judged a few per pass: a tenth more passes in all. But a pass
    of a device costs much the same whether it is full or not. There, with ``fill``, rows enter as soon as there is
    room: those of images in no other row first, then those that an earlier row may yet make idle.
    """

    def __init__(self, attempts: Attempts, outcomes: AttemptOutcomes, *, fill: bool) -> None:
        self._attempts, self._outcomes, self._fill = attempts, outcomes, fill
        self._next = 0
        self._waiting = torch.zeros(0, dtype=torch.int64)
        if fill:
            self._next = attempts.positions
            self._waiting = torch.arange(attempts.seeds.numel())

    def as_state(self) -> dict[str, Any]:
        """Who waits, to be saved."""
        return {"next": self._next, "waiting": self._waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`as_state` gave."""
        self._next, self._waiting = state["next"], state["waiting"]

    def take(self, room: int, live: Tensor) -> Tensor:
        """(n,) int64 on the CPU in ascending order: at most ``room`` rows, beside those that are ``live`` (m,)."""
        if not self._fill:
            while not len(self._waiting) and not len(live) and self._next < self._attempts.positions:
                rows = self._attempts.at_position(self._next)
                self._waiting, self._next = rows[~self._outcomes.idle(rows)], self._next + 1
            if not len(self._waiting):
                return self._waiting
            taken, self._waiting = self._waiting[:room], self._waiting[room:]
            return taken
        if not room or not len(self._waiting):
            return self._waiting[:0]
        rows = self._waiting[~self._outcomes.idle(self._waiting)]
        count = len(self._attempts.images)
        # A row's image is its number modulo the images. Images without a live row come first: theirs are needed anyway.
        order = torch.isin(rows % count, live % count).to(torch.uint8).argsort(stable=True)
        taken, left = rows[order[:room]], rows[order[room:]]
        self._waiting = left.sort().values
        return taken.sort().values
