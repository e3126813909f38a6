"""One attack over all radii: at every one, at those where an image still stands, or by binary search.

Every image that an attack changes is scored again in a fresh forward pass, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from assay.attacks.balls import BALLS
from assay.attacks.curve import SmallestEps, bisect
from assay.attacks.losses import in_top
from assay.attacks.run import AttackJob
from assay.attacks.settings import AttackResult, AttackSettings, Norm
from assay.tasks.adversarial.block import Block, fresh_logits
from assay.tasks.adversarial.engines import Found, attack_job, minimal_distances, run_engine, targets_of
from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec
from assay.tasks.base import RunContext

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What an attack at one radius made of the block's N images.

    Attributes:
        images: (N, C, H, W), the clean image where none was made.
        logits: (N, K), of a fresh pass over ``images``.
        claimed: (N,) bool: the attack says that it succeeded.
        steps: (N,) int64, gradient steps (black-box: queries) at this radius.
        zero_gradient: (N,) bool: it failed, and was blind at some step.
        retried: (N,) bool: its loss was flat, so that it was made again with the logit margin.
        carried: (N,) bool: taken from a smaller radius, or from an attack before.
        nearest: (N,) float64, the distance of the nearest adversarial image at any radius, infinite where none was
            found; None for attacks that do not look for it.
    """

    images: Tensor
    logits: Tensor
    claimed: Tensor
    steps: Tensor
    zero_gradient: Tensor
    retried: Tensor
    carried: Tensor
    nearest: Tensor | None = None

    def fell(self, block: Block) -> Tensor:
        """(N,) bool: classified correctly before, and no longer."""
        return block.correct & ~in_top(self.logits, block.labels, block.top_k)

    def with_carried(self, rows: Tensor, earlier: "Outcome") -> "Outcome":
        """This outcome, with the marked rows' images and logits taken from ``earlier``; they cost nothing."""
        wide = rows.view(-1, 1, 1, 1)
        return Outcome(
            images=torch.where(wide, earlier.images, self.images),
            logits=torch.where(rows[:, None], earlier.logits, self.logits),
            claimed=torch.where(rows, earlier.claimed, self.claimed),
            steps=self.steps.masked_fill(rows, 0),
            zero_gradient=self.zero_gradient & ~rows,
            retried=self.retried & ~rows,
            carried=self.carried | rows,
        )


def clean_outcome(block: Block) -> Outcome:
    """No attack at all; the images are scored again, which a radius of 0 is held against."""
    no = torch.zeros_like(block.correct)
    logits = fresh_logits(block.model, block.images, block.batch_size)
    return Outcome(block.images, logits, no, no.long(), no, no, no)


@dataclass(frozen=True)
class Attacker:
    """One attack of a spec on one block."""

    spec: AdversarialSpec
    attack: AttackSpec
    block: Block
    context: RunContext
    clean: Outcome
    targets: Tensor | None

    def job(self, rows: Tensor, stream: str) -> AttackJob:
        """The attack on some rows, each with the seed of its image and ``stream``."""
        names = [self.block.unit_ids[row] for row in rows.tolist()]
        seeds = [self.context.seed(name, f"{self.attack.series}@{stream}") for name in names]
        return attack_job(self.attack, self.block, rows, seeds, self.targets)

    def settings(self, eps: Fraction) -> AttackSettings:
        """The attack's parameters at one radius."""
        return self.attack.settings(eps, self.spec.norm, self.spec.top_k)

    def scored(self, rows: Tensor, found: Found) -> Outcome:
        """The clean outcome with what was found for some rows, scored in a fresh pass."""
        result, clean = found.result, self.clean
        logits = fresh_logits(self.block.model, result.images, self.block.batch_size)
        # What fools the attacked model is no claim about another one that scores the image.
        claimed = result.success if self.attack.transfer_from is None else torch.zeros_like(result.success)
        return Outcome(
            images=clean.images.index_copy(0, rows, result.images),
            logits=clean.logits.index_copy(0, rows, logits),
            claimed=clean.claimed.index_copy(0, rows, claimed),
            steps=clean.steps.index_copy(0, rows, result.steps_used),
            zero_gradient=clean.zero_gradient.index_copy(0, rows, result.zero_gradient & ~result.success),
            retried=clean.retried.index_copy(0, rows, found.retried),
            carried=clean.carried,
        )


class Levels(Protocol):
    """A way through the radii, which are asked for in ascending order."""

    def at(self, eps: Fraction, skip: Tensor) -> Outcome:
        """The outcome at one radius; rows of ``skip`` (N,) are not attacked."""
        ...


@dataclass
class EachLevel:
    """Every correctly classified image, at every radius."""

    attacker: Attacker

    def at(self, eps: Fraction, skip: Tensor) -> Outcome:
        """See :class:`Levels`."""
        rows = (self.attacker.block.correct & ~skip).nonzero().squeeze(1)
        if eps == 0 or not len(rows):
            return self.attacker.clean
        job = self.attacker.job(rows, str(float(eps)))
        return self.attacker.scored(rows, run_engine(self.attacker.attack, job, self.attacker.settings(eps)))


@dataclass
class Ascending:
    """What fell at a smaller radius is carried on, not attacked again."""

    each: EachLevel
    last: Outcome

    def at(self, eps: Fraction, skip: Tensor) -> Outcome:
        """See :class:`Levels`."""
        fallen = self.last.fell(self.each.attacker.block)
        self.last = self.each.at(eps, skip | fallen).with_carried(fallen, self.last)
        return self.last


@dataclass
class WholeCurve:
    """Each image's smallest radius and the image found there, all known beforehand.

    Attributes:
        smallest: (N,) float64, infinite where the image stands at every radius.
        outcome: the images at that radius.
    """

    attacker: Attacker
    smallest: Tensor
    outcome: Outcome

    def at(self, eps: Fraction, skip: Tensor) -> Outcome:
        """See :class:`Levels`."""
        del skip
        if eps == 0:
            return self.attacker.clean
        reached = self.smallest <= float(eps) + _TOLERANCE
        found = self.outcome
        here = self.attacker.clean.with_carried(reached, found)
        here = replace(here, carried=reached & (self.smallest < float(eps) - _TOLERANCE))
        if eps == max(self.attacker.spec.eps):  # the cost is told once, where the whole curve is known
            here = replace(here, steps=found.steps, zero_gradient=found.zero_gradient, retried=found.retried)
        return replace(here, nearest=self.smallest) if self.attacker.attack.leaves_ball else here


def levels_of(attacker: Attacker) -> Levels:
    """The way through the radii that the spec asks for."""
    rows = attacker.block.correct.nonzero().squeeze(1)
    foreign = attacker.attack.only_foolbox_has
    if len(rows) and (foreign or not attacker.spec.in_turn):
        largest = attacker.settings(attacker.spec.radii[-1])
        nearest = minimal_distances(attacker.attack, attacker.job(rows, "nearest"), largest)
        if nearest is not None:
            return _by_distance(attacker, rows, nearest)
    own = attacker.attack.backend == "assay" and attacker.attack.transfer_from is None
    if attacker.spec.curve == "bisect" and own and len(rows):
        return _by_bisection(attacker, rows)
    each = EachLevel(attacker)
    return each if attacker.spec.curve == "each" else Ascending(each, attacker.clean)


def _by_distance(attacker: Attacker, rows: Tensor, nearest: AttackResult) -> WholeCurve:
    length = norm_of(nearest.images - attacker.block.images[rows], attacker.spec.norm)
    smallest = length.masked_fill(~nearest.success, torch.inf)
    no = torch.zeros_like(nearest.success)
    return WholeCurve(
        attacker, _everywhere(attacker.block, rows, smallest), attacker.scored(rows, Found(nearest, no))
    )


def _by_bisection(attacker: Attacker, rows: Tensor) -> WholeCurve:
    radii = [eps for eps in attacker.spec.radii if eps > 0]
    curve = [attacker.settings(eps) for eps in radii]
    job = attacker.job(rows, "curve")
    found = bisect(job, curve)
    flat = found.zero_gradient & (found.level == len(radii))
    retried = torch.zeros_like(flat)
    if curve[0].loss != "margin" and bool(flat.any()):
        margin: Sequence[AttackSettings] = [replace(level, loss="margin") for level in curve]
        again = bisect(attacker.job(rows[flat], "curve"), margin)
        _put(found, flat, again)
        retried = flat
    values = torch.tensor([*map(float, radii), torch.inf], dtype=torch.float64, device=rows.device)
    fell = found.level < len(radii)
    result = AttackResult(found.images, fell, found.steps_used, found.zero_gradient)
    return WholeCurve(
        attacker,
        _everywhere(attacker.block, rows, values[found.level]),
        attacker.scored(rows, Found(result, retried)),
    )


def _put(found: SmallestEps, rows: Tensor, again: SmallestEps) -> None:
    """Replace some rows, in place; steps add up."""
    found.level[rows], found.images[rows] = again.level, again.images
    found.steps_used[rows] += again.steps_used
    found.zero_gradient[rows] = again.zero_gradient


def _everywhere(block: Block, rows: Tensor, values: Tensor) -> Tensor:
    """(N,) float64: the values at their rows, infinity elsewhere."""
    whole = torch.full((len(block.images),), torch.inf, dtype=torch.float64, device=rows.device)
    return whole.index_copy(0, rows, values.double())


def attackers(spec: AdversarialSpec, block: Block, context: RunContext) -> list[Attacker]:
    """The spec's attacks on one block."""
    clean = clean_outcome(block)
    return [
        Attacker(spec, attack, block, context, clean, targets_of(attack, block)) for attack in spec.attacks
    ]


def norm_of(change: Tensor, norm: Norm) -> Tensor:
    """(N,) lengths of (N, C, H, W) perturbations."""
    return BALLS[norm].length(change)
