"""One attack over all radii: at every one, at those where an image still stands, or by binary search.

Every image that an attack changes is scored again in a fresh forward pass, once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from assay.attacks.curve import bisect
from assay.attacks.ensemble import at_size
from assay.attacks.images import AttackedImages, AttackResult, Model
from assay.attacks.methods import FoolboxAttack
from assay.attacks.nearest import nearest
from assay.attacks.pool import fills_passes
from assay.attacks.probe import retry_blind
from assay.attacks.run import RadiusResult, least_likely_targets, run_at_radii, run_attack
from assay.attacks.settings import AttackSettings, Norm, Targeted
from assay.common.balls import BALLS
from assay.tasks.adversarial.batch import CleanBatch, ScoredImages
from assay.tasks.adversarial.demands import source_model

_STEPS_OF_EXACT = 256  # radii of equal distance up to the largest, among which the nearest image is searched
_TOLERANCE = 1e-6  # pixel units: a distance that is measured may exceed the radius that it was found at


class Levels(Protocol):
    """A way through the radii, which are asked for in ascending order."""

    def at(self, eps: Fraction, skip: Tensor) -> ScoredImages:
        """The outcome at one radius; rows of ``skip`` (N,) are not attacked."""
        ...


@dataclass(frozen=True)
class EachLevel:
    """One attack on every correctly classified image of a batch, at every radius.

    Attributes:
        attack: which attack.
        batch: on which images.
        clean: their outcome without any attack.
        targets: (N,) int64: the classes that the attack aims at, or None.
        together: the attack at all radii in one pool, or None where each radius has its own.
    """

    attack: AttackSettings
    batch: CleanBatch
    clean: ScoredImages
    targets: Tensor | None
    together: "RadiiTogether | None" = None

    def at(self, eps: Fraction, skip: Tensor) -> ScoredImages:
        """See :class:`Levels`."""
        rows = (self.batch.correct & ~skip).nonzero().squeeze(1)
        if eps == 0 or not len(rows):
            return self.clean
        images = self.attacked(rows, str(float(eps)))
        if self.together is None:
            return self.scored(rows, _at_radius(self.attack, images, eps))
        found = self.together.at(self, eps, rows, images)
        return self.scored(rows, retry_blind(self.attack, images, eps, found))

    def attacked(self, rows: Tensor, stream: str) -> AttackedImages:
        """Some rows to be attacked, each with the seed of its image, the attack and ``stream``."""
        model = _other_model(self.attack.transfer_from, self.batch)
        return self.batch.attacked(rows, f"{self.attack.series}@{stream}", model, self.targets)

    def scored(self, rows: Tensor, found: AttackResult) -> ScoredImages:
        """The clean outcome with what was found for some rows, scored in a fresh pass."""
        clean = self.clean
        self._tell(found)
        logits = self.batch.fresh_logits(found.images)
        # What fools the attacked model is no claim about another one that scores the image.
        claimed = found.success if self.attack.transfer_from is None else torch.zeros_like(found.success)
        return ScoredImages(
            images=clean.images.index_copy(0, rows, found.images),
            logits=clean.logits.index_copy(0, rows, logits),
            claimed=clean.claimed.index_copy(0, rows, claimed),
            steps=clean.steps.index_copy(0, rows, found.steps_used),
            zero_gradient=clean.zero_gradient.index_copy(0, rows, found.zero_gradient & ~found.success),
            retried=clean.retried.index_copy(0, rows, found.retried),
            carried=clean.carried,
            passes=clean.passes.index_copy(0, rows, found.passes.to(clean.passes.device)),
        )

    def _tell(self, found: AttackResult) -> None:
        """Tell the run what the attack cost, where its loops are our own."""
        if self.attack.backend == "assay":
            forward, backward = found.passes.sum(0).tolist()
            self.batch.context.worked(self.attack.series, forward, backward)


class RadiiTogether:
    """An attack at every radius as rows of one pool, which fills a device's passes; each ends as if alone."""

    def __init__(self, radii: Sequence[Fraction], *, until_first: bool) -> None:
        self._radii, self._until_first = radii, until_first
        self._found: dict[Fraction, RadiusResult] | None = None

    def at(self, each: EachLevel, eps: Fraction, rows: Tensor, images: AttackedImages) -> AttackResult:
        """The outcome for `rows` (n,) of the batch, which are `images`, at one radius; it is asked for once."""
        correct = each.batch.correct
        if self._found is None:
            every = correct.nonzero().squeeze(1)
            asked = [each.attacked(every, str(float(radius))) for radius in self._radii]
            found = run_at_radii(each.attack, asked, self._radii, until_first=self._until_first)
            self._found = dict(zip(self._radii, found, strict=True))
        here = self._found.pop(eps)
        own = (correct.cumsum(0) - 1)[rows]
        known = here.known.to(own.device)[own]
        there, missing = known.nonzero().squeeze(1), (~known).nonzero().squeeze(1)
        result = AttackResult.blank(images.images).merged(there, here.result.select(own[there]))
        if not len(missing):
            return result
        # What an attack calls fallen and a fresh pass does not is attacked again at the next radius.
        return result.merged(missing, run_attack(each.attack, images.select(missing), eps))


@dataclass
class Ascending:
    """What fell at a smaller radius is carried on, not attacked again."""

    each: EachLevel
    last: ScoredImages

    def at(self, eps: Fraction, skip: Tensor) -> ScoredImages:
        """See :class:`Levels`."""
        fallen = self.last.fell(self.each.batch)
        self.last = self.each.at(eps, skip | fallen).with_carried(fallen, self.last)
        return self.last


@dataclass(frozen=True)
class WholeCurve:
    """Each image's smallest radius and the image found there, all known before the first radius is asked for.

    One adversarial image serves every radius from its own on: at smaller ones the clean image stands in its place, at
    larger ones it is carried, as in :class:`Ascending`.

    Attributes:
        each: the attack.
        smallest: (N,) float64, infinite where the image stands at every radius.
        found: the images at that radius.
    """

    each: EachLevel
    smallest: Tensor
    found: ScoredImages

    def at(self, eps: Fraction, skip: Tensor) -> ScoredImages:
        """See :class:`Levels`."""
        del skip
        each, found = self.each, self.found
        if eps == 0:
            return each.clean
        reached = self.smallest <= float(eps) + _TOLERANCE
        here = each.clean.with_carried(reached, found)
        # `with_carried` marks all that it takes; but at its own radius an image is the attack's own, and not carried.
        here = replace(here, carried=reached & (self.smallest < float(eps) - _TOLERANCE))
        # One search found all radii, so no radius has steps of its own: they are noted once, at the largest.
        if eps == each.batch.spec.radii[-1]:
            here = replace(
                here,
                steps=found.steps,
                zero_gradient=found.zero_gradient,
                retried=found.retried,
                passes=found.passes,
            )
        tells = each.attack.leaves_ball or each.batch.spec.curve == "exact"
        return replace(here, nearest=self.smallest) if tells else here


def levels_of(each: EachLevel) -> Levels:
    """The way through the radii that the spec asks for."""
    attack, spec = each.attack, each.batch.spec
    rows = each.batch.correct.nonzero().squeeze(1)
    # In turn, our own attacks meet other images at each radius; foolbox's are too slow for that.
    if len(rows) and (attack.only_foolbox_has or not spec.in_turn):
        found = _nearest(attack, each.attacked(rows, "nearest"), spec.radii[-1])
        if found is not None:
            return _by_distance(each, rows, found)
    own = attack.backend == "assay" and attack.transfer_from is None
    if spec.curve == "bisect" and own and len(rows):
        return _by_bisection(each, rows, [eps for eps in spec.radii if eps > 0])
    if spec.curve == "exact" and len(rows):
        largest = spec.radii[-1]
        return _by_bisection(
            each, rows, [largest * k / _STEPS_OF_EXACT for k in range(1, _STEPS_OF_EXACT + 1)]
        )
    # Radii share passes only where a pass has room: on a CPU they would lose what early stopping saves.
    if own and not spec.in_turn and fills_passes(each.batch.images.device):
        radii = [eps for eps in spec.radii if eps > 0]
        each = replace(each, together=RadiiTogether(radii, until_first=spec.curve == "ascending"))
    return each if spec.curve == "each" else Ascending(each, each.clean)


def _by_distance(each: EachLevel, rows: Tensor, found: AttackResult) -> WholeCurve:
    """The curve of nearest adversarial images: an image falls at every radius that reaches its own."""
    length = norm_of(found.images - each.batch.images[rows], each.batch.spec.norm)
    smallest = length.masked_fill(~found.success, torch.inf)
    return WholeCurve(each, _everywhere(each.batch, rows, smallest), each.scored(rows, found))


def _by_bisection(each: EachLevel, rows: Tensor, radii: Sequence[Fraction]) -> WholeCurve:
    """The curve by binary search for each image's smallest radius among some that ascend.

    An exact curve has the distance of the image that was found there, which may be less than the radius.
    """
    attack = each.attack
    level, found = bisect(attack, each.attacked(rows, "curve"), radii)
    # What stood at every radius while the loss had no slope is searched again, on the margin.
    flat = found.zero_gradient & ~found.success
    if attack.loss != "margin" and bool(flat.any()):
        margin = attack.model_copy(update={"loss": "margin"})
        level[flat], again = bisect(margin, each.attacked(rows[flat], "curve"), radii)
        found.images[flat], found.success[flat] = again.images, again.success
        found.steps_used[flat] += again.steps_used
        found.passes[flat] += again.passes
        found.zero_gradient[flat] = again.zero_gradient
        found.retried[flat] = True
    values = torch.tensor([*map(float, radii), torch.inf], dtype=torch.float64, device=rows.device)
    smallest = values[level]
    if each.batch.spec.curve == "exact":
        length = norm_of(found.images - each.batch.images[rows], each.batch.spec.norm)
        smallest = length.double().masked_fill(~found.success, torch.inf)
    return WholeCurve(each, _everywhere(each.batch, rows, smallest), each.scored(rows, found))


def _everywhere(batch: CleanBatch, rows: Tensor, values: Tensor) -> Tensor:
    """(N,) float64: the values at their rows, infinity elsewhere."""
    whole = torch.full((len(batch),), torch.inf, dtype=torch.float64, device=rows.device)
    return whole.index_copy(0, rows, values.double())


def _at_radius(attack: AttackSettings, images: AttackedImages, eps: Fraction) -> AttackResult:
    """The attack at one radius; where the loss was flat the image is attacked again with the logit margin."""
    if isinstance(attack, FoolboxAttack):
        return _by_foolbox(attack, images, float(eps))
    if attack.backend == "foolbox":
        from assay.attacks.foolbox_backend import run_with_foolbox

        name = f"{attack.series} by foolbox"
        return AttackResult(
            **images.savepoints.step(name, lambda: vars(run_with_foolbox(attack, images, eps)))
        )
    return retry_blind(attack, images, eps, run_attack(attack, images, eps))


def _nearest(attack: AttackSettings, images: AttackedImages, eps: Fraction) -> AttackResult | None:
    """The nearest adversarial images by an attack that looks for them; None for one that needs a radius.

    ``eps`` is only where random restarts begin.
    """
    if isinstance(attack, FoolboxAttack):
        from assay.attacks.foolbox_backend import needs_radius

        return None if needs_radius(attack) else _by_foolbox(attack, images, None)
    return nearest(attack, images, eps) if attack.leaves_ball else None


def _by_foolbox(attack: FoolboxAttack, images: AttackedImages, eps: float | None) -> AttackResult:
    """Foolbox's randomness is not per image: so that no image depends on its batch, each is attacked alone."""
    from assay.attacks.foolbox_backend import run_named

    result = AttackResult.blank(images.images.clone())
    for row in range(len(images)):
        alone = replace(images.select(torch.tensor([row])), batch_size=1)
        run = partial(run_named, attack, alone, eps, seed=int(alone.seeds[0]))
        found, fell = images.savepoints.step(f"{attack.series} {eps} {row}", run)
        result.success[row] = fell[0]
        if fell[0]:
            result.images[row] = found[0]
    return result


def _other_model(name: str | None, batch: CleanBatch) -> Model | None:
    """The model that a transfer attack is made on, taking images of the batch's size; None where there is none."""
    if name is None:
        return None
    source = source_model(name, str(batch.images.device))
    return at_size(source.module, *source.info.preprocessing.crop)


def targets_of(attack: AttackSettings, batch: CleanBatch) -> Tensor | None:
    """(N,) int64: the classes that the attack aims at, or None."""
    return _TARGETS[attack.targeted](batch)


_TARGETS: dict[Targeted, Callable[[CleanBatch], Tensor | None]] = {
    "no": lambda _batch: None,
    "least_likely": lambda batch: least_likely_targets(
        batch.model.module, batch.images, batch.labels, batch.context.batch_size
    ),
    "dataset": lambda batch: batch.targets,
}


def norm_of(change: Tensor, norm: Norm) -> Tensor:
    """(N,) lengths of (N, C, H, W) perturbations."""
    return BALLS[norm].length(change)
