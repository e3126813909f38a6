"""What goes into an attack and what comes back: images to attack, images under attack, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Self, get_args

import torch
from torch import Tensor

from assay.attacks.settings import AttackSettings, Norm
from assay.common import randomness
from assay.common.balls import BALLS, LINF
from assay.common.errors import UserError
from assay.common.savepoints import NONE, Savepoints

Model = Callable[[Tensor], Tensor]
"""Pixels (N, C, H, W) in [0, 1] to logits (N, K), row by row (a network in eval mode)."""
Memory = dict[str, Tensor]
"""What a method remembers of each live image: tensors whose first dimension is the row."""

_ROWS = ("position", "images", "labels", "targets", "seeds", "eps", "step_size")


@dataclass(frozen=True)
class AttackedImages:
    """Images to attack, one per row, with the model, the ball and the rule of success; see :meth:`of`.

    Attributes:
        model: the model under attack.
        images: (n, C, H, W) in [0, 1].
        labels: (n,) int64.
        seeds: (n,) int64; all randomness of an image comes from its own.
        targets: (n,) int64, the classes to reach, or None.
        position: (n,) int64 on the CPU, indices into the images that :meth:`of` was given.
        eps: (n,) float64, the radius of each image's ball; 0 until :meth:`within` sets it.
        step_size: (n,) float64, the length of a step in that ball.
        norm: the balls' norm.
        top_k: an image falls when its label leaves the k highest logits or, with targets, its target enters them.
        early_stop: an image is done at its first successful iterate. Otherwise every step of a start is taken, and
            only its last iterate is judged, as textbooks and most libraries do.
        batch_size: most images in one pass. As images fall, waiting ones take their places.
        savepoints: where the attack keeps what it has done so far.
    """

    model: Model
    images: Tensor
    labels: Tensor
    seeds: Tensor
    targets: Tensor | None
    position: Tensor
    eps: Tensor
    step_size: Tensor
    norm: Norm
    top_k: int
    early_stop: bool
    batch_size: int
    savepoints: Savepoints = NONE

    @classmethod
    def of(
        cls,
        model: Model,
        images: Tensor,
        labels: Tensor,
        seeds: Tensor | Sequence[int],
        *,
        targets: Tensor | None = None,
        norm: Norm = "linf",
        top_k: int = 1,
        early_stop: bool = True,
        batch_size: int | None = None,
        savepoints: Savepoints = NONE,
    ) -> Self:
        """The images, checked; the radius of their balls is 0. ``batch_size`` None means all in one pass.

        Raises:
            UserError: images outside [0, 1], an unknown norm, or labels, seeds or targets that do not fit.
        """
        if images.dim() != 4 or not images.is_floating_point():
            raise UserError(
                f"images must be (N, C, H, W) floats, got {tuple(images.shape)} of {images.dtype}"
            )
        count, device = len(images), images.device
        if count and not (images.min() >= 0 and images.max() <= 1):
            raise UserError("images must lie in [0, 1]: mean and std belong to the model, not to its input")
        if norm not in get_args(Norm):
            raise UserError(f"norm {norm!r} is not supported, choose l1, l2 or linf")
        for name, values in (("labels", labels), ("seeds", seeds), ("targets", targets)):
            if values is not None and len(values) != count:
                raise UserError(f"{name}: expected one per image ({count}), got {len(values)}")
        if targets is not None and bool((targets == labels).any()):
            where = (targets == labels).nonzero().squeeze(1)[0].item()
            raise UserError(f"targets: the target of the image at position {where} is its own label")
        return cls(
            model=model,
            images=images,
            labels=labels.to(device),
            seeds=randomness.as_seeds(seeds, device),
            targets=None if targets is None else targets.to(device),
            position=torch.arange(count),
            eps=torch.zeros(count, dtype=torch.float64, device=device),
            step_size=torch.zeros(count, dtype=torch.float64, device=device),
            norm=norm,
            top_k=top_k,
            early_stop=early_stop,
            batch_size=batch_size or max(count, 1),
            savepoints=savepoints,
        )

    def __len__(self) -> int:
        # Asked several times per step; a tensor's own len takes four times as long.
        return self.images.shape[0]

    @cached_property
    def same_eps(self) -> float | None:
        """The radius of all balls, where they have the same."""
        if not len(self):
            return None
        low, high = torch.stack(self.eps.aminmax()).tolist()
        return low if low == high else None

    def project_(self, points: Tensor) -> Tensor:
        """Move points, (n, C, H, W), in place, into the balls."""
        if self.norm == "linf" and self.same_eps is not None:
            return LINF.project_alike_(points, self.images, self.same_eps)
        return BALLS[self.norm].project_(points, self.images, self.eps)

    def within(self, attack: AttackSettings, radii: Sequence[Fraction], level: Tensor | None = None) -> Self:
        """The same images, each in the ball of radius ``radii[level]``, (n,) int64; of the first where it is None."""
        device = self.images.device
        # Radii are fractions, so that a step that is a part of one is rounded once.
        eps = torch.tensor([float(radius) for radius in radii], dtype=torch.float64, device=device)
        steps = torch.tensor([attack.step_at(radius) for radius in radii], dtype=torch.float64, device=device)
        rows = torch.zeros(len(self), dtype=torch.int64, device=device) if level is None else level
        return replace(self, eps=eps[rows], step_size=steps[rows])

    def select(self, rows: Tensor | slice) -> Self:
        """Some of the rows."""
        return replace(self, **{name: _pick(getattr(self, name), rows) for name in _ROWS})

    def join(self, other: Self) -> Self:
        """These rows, then the others."""
        return replace(self, **{name: _cat(getattr(self, name), getattr(other, name)) for name in _ROWS})


@dataclass(frozen=True)
class LiveImages:
    """Images under attack, one per row. A method changes ``adversarial`` and ``memory`` in place.

    Attributes:
        attacked: what is attacked.
        row: (n,) int64 on the CPU, rows of the result that these images fill.
        adversarial: (n, C, H, W), the iterates.
        step: (n,) int64 on the CPU, steps that led to these iterates.
        zero_gradient: (n,) bool, whether some gradient so far was exactly zero.
        passes: (n, 2) int64 on the CPU, forward and backward passes that each image has needed.
        memory: what the method remembers.
        logits: (n, K), detached: what the model said when it was last asked; None before, and after a step.
        loss: (n,), detached: what the attacker wants high, of those logits.
        gradient: (n, C, H, W) of that loss, or None where it was not asked for.
    """

    attacked: AttackedImages
    row: Tensor
    adversarial: Tensor
    step: Tensor
    zero_gradient: Tensor
    passes: Tensor
    memory: Memory
    logits: Tensor | None = None
    loss: Tensor | None = None
    gradient: Tensor | None = None

    def __len__(self) -> int:
        return len(self.attacked)

    def seen(self) -> tuple[Tensor, Tensor]:
        """Loss and gradient of the last look, for methods that need both."""
        assert self.loss is not None
        assert self.gradient is not None
        return self.loss, self.gradient

    def unseen(self) -> LiveImages:
        """The same images after a step: the model's answers to the last iterates are out of date."""
        return self.with_answers(None, None, None)

    def with_answers(self, logits: Tensor | None, loss: Tensor | None, gradient: Tensor | None) -> LiveImages:
        """The same images with what the model says of their iterates."""
        # Made twice per step, so without `replace`, which takes twice as long.
        return LiveImages(
            self.attacked,
            self.row,
            self.adversarial,
            self.step,
            self.zero_gradient,
            self.passes,
            self.memory,
            logits,
            loss,
            gradient,
        )

    def select(self, rows: Tensor) -> LiveImages:
        """Some of the rows, copied."""
        return LiveImages(
            self.attacked.select(rows),
            self.row[rows.cpu()],
            self.adversarial[rows],
            self.step[rows.cpu()],
            self.zero_gradient[rows],
            self.passes[rows.cpu()],
            {name: values[rows] for name, values in self.memory.items()},
            *(_pick(values, rows) for values in (self.logits, self.loss, self.gradient)),
        )

    def as_state(self) -> dict[str, Any]:
        """Everything but the model and the rules, to be saved between two steps."""
        return vars(self.unseen()) | {"attacked": {name: getattr(self.attacked, name) for name in _ROWS}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], asked: AttackedImages) -> LiveImages:
        """The images of :meth:`as_state`; model and rules are taken from ``asked``."""
        return cls(**{**state, "attacked": replace(asked, **state["attacked"])})

    def join(self, other: LiveImages) -> LiveImages:
        """These rows, then the others; the model has not been asked about them yet."""
        return LiveImages(
            self.attacked.join(other.attacked),
            torch.cat([self.row, other.row]),
            torch.cat([self.adversarial, other.adversarial]),
            torch.cat([self.step, other.step]),
            torch.cat([self.zero_gradient, other.zero_gradient]),
            torch.cat([self.passes, other.passes]),
            {name: torch.cat([values, other.memory[name]]) for name, values in self.memory.items()},
        )


@dataclass(frozen=True)
class AttackResult:
    """The outcome of an attack, one row per image, in the order of the input.

    Attributes:
        images: (N, C, H, W) in [0, 1]: the first successful iterate, or the last one where none succeeded.
        success: (N,) bool.
        steps_used: (N,) int64, gradient steps taken over all starts (black-box: queries after the first); 0 for an
            image whose first start was already misclassified.
        zero_gradient: (N,) bool: the loss gradient was exactly zero at some step before success, so that a gradient
            method was blind there. Always False for black-box methods.
        retried: (N,) bool: its loss was flat, so that it was attacked again with the logit margin.
        passes: (N, 2) int64: forward passes (a black box's queries) and backward passes that the image needed, in
            whatever batch. An image that has fallen needs no gradient. 0 where foolbox's loops made it.
    """

    images: Tensor
    success: Tensor
    steps_used: Tensor
    zero_gradient: Tensor
    retried: Tensor
    passes: Tensor

    def __repr__(self) -> str:
        """How many have fallen; the tensors themselves would fill pages."""
        return f"AttackResult({int(self.success.sum())} of {len(self.success)} images fell)"

    @classmethod
    def blank(cls, images: Tensor) -> AttackResult:
        """A result to be filled, of ``images`` (N, C, H, W) that no attack has broken."""
        no = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        steps = torch.zeros_like(no, dtype=torch.int64)
        return cls(images, no, steps, no.clone(), no.clone(), steps.new_zeros(len(images), 2))

    def select(self, rows: Tensor) -> AttackResult:
        """Some of the rows."""
        return AttackResult(**{name: values[rows] for name, values in vars(self).items()})

    def merged(self, rows: Tensor, again: AttackResult) -> AttackResult:
        """This result with some rows replaced by those of a later start; steps add up."""
        return AttackResult(
            images=self.images.index_copy(0, rows, again.images),
            success=self.success.index_copy(0, rows, again.success),
            steps_used=self.steps_used.index_add(0, rows, again.steps_used),
            zero_gradient=self.zero_gradient.index_copy(
                0, rows, again.zero_gradient | self.zero_gradient[rows]
            ),
            retried=self.retried,
            passes=self.passes.index_add(0, rows, again.passes),
        )


def note_best_(memory: Memory, points: Tensor, loss: Tensor, gradient: Tensor | None = None) -> None:
    """Keep in ``memory``, in place, the highest loss so far and its point, with its gradient if given."""
    better = (loss > memory["best_loss"]).nonzero().squeeze(1)
    copy_rows_(memory["best"], points, better)
    if gradient is not None:
        copy_rows_(memory["best_gradient"], gradient, better)
    torch.maximum(memory["best_loss"], loss, out=memory["best_loss"])


def copy_rows_(into: Tensor, source: Tensor, rows: Tensor) -> None:
    """Copy some rows, in place; rows as (m,) indices, half the cost of a mask on a CPU."""
    if len(rows):
        into.index_copy_(0, rows, source.index_select(0, rows))


def _pick(values: Tensor | None, rows: Tensor | slice) -> Any:
    if values is None or isinstance(rows, slice):
        return None if values is None else values[rows]
    return values[rows.to(values.device)]


def _cat(first: Tensor | None, second: Tensor | None) -> Any:
    return None if first is None or second is None else torch.cat([first, second])
