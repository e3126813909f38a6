"""Running an attack: the checks, then one pool for all starts, restarts only for the images that stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, AttackResult, Model
from assay.attacks.observe import clean_logits
from assay.attacks.pool import run_pool, run_radii
from assay.attacks.settings import AttackSettings, check_ball, check_success
from assay.common import randomness
from assay.common.errors import UserError


def run_attack(attack: AttackSettings, images: AttackedImages, eps: Fraction | float) -> AttackResult:
    """Attack each image on its own; the outcome of one does not depend on which others are in the batch.

    The clean image is an iterate only of the methods that start there (fgsm, bim, mim): whether it was
    classified correctly to begin with is for the caller to know.

    Args:
        attack: How.
        images: What.
        eps: Radius of the ball around each image, in units of pixels in [0, 1].

    Raises:
        UserError: A radius or a rule of success that the method cannot honour, or a model that does not return logits.
        NonFiniteLogitsError: The model returned NaN or infinite logits; it names the images.
    """
    return run_starts(attack, checked(attack, images, eps))


def checked(attack: AttackSettings, images: AttackedImages, *radii: Fraction | float) -> AttackedImages:
    """The images in balls of the first radius; all radii are looked at.

    Raises:
        UserError: A radius or a rule of success that the method cannot honour.
    """
    exact = [_exact(attack, eps) for eps in radii]
    for eps in exact:
        check_ball(attack, eps, images.norm)
    check_success(attack, images.top_k, targets=images.targets is not None)
    return images.within(attack, exact)


def _exact(attack: AttackSettings, eps: Fraction | float) -> Fraction:
    try:
        return Fraction(eps)
    except (ValueError, OverflowError) as error:  # not a number, or infinite
        raise UserError(f"{attack.method}: eps must be a finite number >= 0, got {eps}") from error


def run_starts(attack: AttackSettings, images: AttackedImages) -> AttackResult:
    """Attack images that are already checked, each in its own ball; all starts.

    Raises:
        UserError: More starts than wrong classes, for a method that takes one per class.
        NonFiniteLogitsError: As `run_attack`.
    """
    result = run_pool(attack, list(starts(attack, images)))
    _count_clean_pass(attack, result)
    return result


@dataclass(frozen=True)
class RadiusResult:
    """The outcome at one radius, and which images it covers, (N,) bool on the CPU."""

    result: AttackResult
    known: Tensor


def run_at_radii(
    attack: AttackSettings,
    images: Sequence[AttackedImages],
    radii: Sequence[Fraction | float],
    *,
    until_first: bool,
) -> list[RadiusResult]:
    """`run_attack` at several radii in one pool, which fills a device's passes; one outcome per radius.

    Args:
        attack: How.
        images: The same images for every radius, each time with seeds of their own.
        radii: In the order they are tried.
        until_first: What has fallen at one radius is not attacked at later ones; nothing is known of it there.

    Raises:
        UserError: As `run_attack`.
        NonFiniteLogitsError: As `run_attack`.
    """
    inside = [checked(attack, some, eps) for some, eps in zip(images, radii, strict=True)]
    aims = _aims(attack, inside[0])
    ended = run_radii(attack, [list(starts(attack, some, aims)) for some in inside], until_first=until_first)
    results = ended.results()
    for result in results:
        _count_clean_pass(attack, result)
    return [RadiusResult(result, ended.known(number)) for number, result in enumerate(results)]


def _count_clean_pass(attack: AttackSettings, result: AttackResult) -> None:
    if attack.aims_at_runners_up:
        result.passes[:, 0] += 1  # it names the classes


def starts(
    attack: AttackSettings, images: AttackedImages, aims: Tensor | None = None
) -> Iterator[AttackedImages]:
    """What each start attacks: all images, with seeds of its own, aimed at the next class where the method aims.

    Args:
        attack: How.
        images: What.
        aims: (N, restarts) int64, the classes where they are known already.

    Raises:
        UserError: More starts than wrong classes, for a method that takes one per class.
    """
    aims = _aims(attack, images) if aims is None else aims
    for start in range(attack.restarts):
        seeds = randomness.derive(images.seeds, start)
        yield replace(images, seeds=seeds, targets=images.targets if aims is None else aims[:, start])


def least_likely_targets(
    model: Model, images: Tensor, labels: Tensor, batch_size: int | None = None
) -> Tensor:
    """(N,) int64: the class with the lowest logit of each image (Kurakin et al. 2017), never its label."""
    logits = clean_logits(model, images, batch_size or max(len(images), 1))
    return logits.scatter(1, labels.to(images.device)[:, None], torch.inf).argmin(dim=1)


def _aims(attack: AttackSettings, images: AttackedImages) -> Tensor | None:
    """(N, restarts) int64: the most likely wrong classes at the clean images, the likeliest first, or no aims."""
    if not attack.aims_at_runners_up:
        return None
    logits = clean_logits(images.model, images.images, images.batch_size)
    classes = logits.shape[1]
    if attack.restarts >= classes:
        raise UserError(
            f"{attack.method}: one start per wrong class, so restarts must be below the number of classes, "
            f"{classes}; got {attack.restarts}"
        )
    others = logits.scatter(1, images.labels[:, None], -torch.inf)
    return others.topk(attack.restarts, dim=1).indices
