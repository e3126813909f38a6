"""A second opinion: the same settings run by foolbox, and any other foolbox attack by its name.

Foolbox (Rauber et al. 2020) takes every step of every start and judges last iterates, so compare its outcome with
`early_stop=False`. An attack with early stop breaks at least as many images.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any, get_type_hints

import eagerpy
import foolbox
import torch
from foolbox.attacks.gradient_descent_base import BaseGradientDescent, normalize_lp_norms
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from assay.attacks.images import AttackedImages, AttackResult, Model
from assay.attacks.losses import in_top
from assay.attacks.methods import METHODS, BimAttack, FgsmAttack, FoolboxAttack, MimAttack, PgdAttack
from assay.attacks.run import checked
from assay.attacks.settings import AttackSettings, Norm
from assay.common import randomness
from assay.common.balls import BALLS
from assay.common.errors import UserError

_CLASSES: dict[tuple[type[AttackSettings], Norm], Any] = {
    (FgsmAttack, "linf"): foolbox.attacks.LinfBasicIterativeAttack,
    (FgsmAttack, "l2"): foolbox.attacks.L2BasicIterativeAttack,
    (BimAttack, "linf"): foolbox.attacks.LinfBasicIterativeAttack,
    (BimAttack, "l2"): foolbox.attacks.L2BasicIterativeAttack,
    (PgdAttack, "linf"): foolbox.attacks.LinfProjectedGradientDescentAttack,
    (PgdAttack, "l2"): foolbox.attacks.L2ProjectedGradientDescentAttack,
    (MimAttack, "linf"): foolbox.attacks.LinfMomentumIterativeFastGradientMethod,
    (MimAttack, "l2"): foolbox.attacks.L2MomentumIterativeFastGradientMethod,
}


class _Wrapped(nn.Module):
    """Any callable as the module that foolbox asks for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels)


def check_foolbox(attack: AttackSettings, norm: Norm, top_k: int) -> None:
    """Refuse what foolbox cannot run.

    Raises:
        UserError: foolbox has no such method, loss or rule of success. An attack by its class name: foolbox has no such
            class, or its norm or options differ.
    """
    if isinstance(attack, FoolboxAttack):
        _check_named(attack, norm)
        return
    if (type(attack), norm) not in _CLASSES:
        known = ", ".join(sorted(name for name, kind in METHODS.items() if (kind, norm) in _CLASSES))
        runs = f"runs {known} only" if known else f"has no equal in {norm}"
        raise UserError(f"{attack.method}: the foolbox backend {runs}; choose backend assay")
    if attack.loss != "cross_entropy" or top_k != 1:
        raise UserError(f"{attack.method}: the foolbox backend climbs cross_entropy and judges top 1 only")


def run_with_foolbox(attack: AttackSettings, images: AttackedImages, eps: Fraction | float) -> AttackResult:
    """`run.run_attack` by foolbox's loops, from the same starts; `early_stop` is of no effect.

    Raises:
        UserError: An attack that foolbox has no equal of.
    """
    check_foolbox(attack, images.norm, images.top_k)
    images = checked(attack, images, eps)
    found = AttackResult.blank(images.images.clone())
    starts = torch.zeros_like(found.steps_used)
    for restart in range(attack.restarts):
        standing = (~found.success).nonzero().squeeze(1)
        if not len(standing):
            break
        for rows in torch.split(standing, images.batch_size):
            batch = images.select(rows)
            batch = replace(batch, seeds=randomness.derive(batch.seeds, restart))
            found.images[rows] = _attack_batch(attack, batch, Fraction(eps))
            found.success[rows] = _broken(found.images[rows], batch)
            starts[rows] += 1
    return replace(found, steps_used=starts * attack.step_count)


def run_named(
    attack: FoolboxAttack, images: AttackedImages, eps: float | None = None, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Any foolbox attack by its class name, e.g. `L2DeepFoolAttack`.

    Args:
        attack: Its method is a class of `foolbox.attacks`, its options are the constructor's arguments.
        images: What is attacked.
        eps: Radius in the attack's norm; None asks a minimisation attack for the nearest adversarial image.
        seed: Seeds foolbox's randomness, which is not per image, so that outcomes depend on the batch size.

    Returns:
        (N, C, H, W) images in [0, 1], and (N,) bool: whether they do what the attack wants.

    Raises:
        UserError: No such attack, options it does not take, or no radius for an attack that needs one.
    """
    named = _named_attack(attack)
    if eps is None and isinstance(named, foolbox.attacks.base.FixedEpsilonAttack):
        raise UserError(f"foolbox attack {attack.method} works within a given radius: give eps")
    wrapped = _foolbox_model(images.model, images.images)
    points, success = [], []
    device = images.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for rows in torch.split(torch.arange(len(images)), images.batch_size):
            part = images.select(rows)
            try:
                _, found, fell = named(wrapped, part.images, _criterion(part), epsilons=eps)
            except ValueError as error:  # that it cannot aim at a target, for one
                raise UserError(f"foolbox attack {attack.method}: {error}; choose another") from error
            points.append(found)
            success.append(fell)
    return torch.cat(points), torch.cat(success)


def needs_radius(attack: FoolboxAttack) -> bool:
    """Whether a foolbox attack works within a given radius, instead of looking for the nearest image.

    Raises:
        UserError: No such attack, or options it does not take.
    """
    return isinstance(_named_attack(attack), foolbox.attacks.base.FixedEpsilonAttack)


def _check_named(attack: FoolboxAttack, norm: Norm) -> None:
    """Refuse an attack that foolbox does not have by this name, or that works in another norm.

    Raises:
        UserError: no such attack, one of another norm, or options that are not its own.
    """
    name = attack.method
    try:
        order = _named_attack(attack).distance.p
    except (AttributeError, NotImplementedError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"foolbox attack {name} measures no L-infinity, L2 or L1 distance: choose another"
        ) from error
    if order != {"linf": math.inf, "l2": 2, "l1": 1}[norm]:
        raise UserError(
            f"foolbox attack {name} works in the L{order} norm, the spec's `norm` is {norm}: change one"
        )


def _named_attack(attack: FoolboxAttack) -> Any:
    """Foolbox's own attack object.

    Raises:
        UserError: See `run_named`.
    """
    name, options = attack.method, attack.options
    known = [key for key, kind in vars(foolbox.attacks).items() if isinstance(kind, type)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        raise UserError(f"foolbox has no attack {name!r}: did you mean {', '.join(near) or 'another'}?")
    kind = vars(foolbox.attacks)[name]
    try:
        made = kind(**options)
    except TypeError as error:
        raise UserError(f"foolbox attack {name} does not take these options: {error}") from error
    # The constructor looks at no types, and the attack would stop at the first image.
    annotated = get_type_hints(kind.__init__)
    for key, value in options.items():
        like: TypeAdapter[Any] = TypeAdapter(
            annotated.get(key, Any), config=ConfigDict(arbitrary_types_allowed=True)
        )
        try:
            like.validate_python(value, strict=True)
        except ValidationError as error:
            wrong = error.errors()[0]["msg"]
            raise UserError(
                f"foolbox attack {name} does not take these options: {key}: {wrong} (got {value!r})"
            ) from error
    return made


def _attack_batch(attack: AttackSettings, batch: AttackedImages, eps: Fraction) -> Tensor:
    """Foolbox's last iterates from our starts; all images in the ball of one radius."""
    options: dict[str, Any] = {"abs_stepsize": attack.step_at(eps), "steps": attack.step_count}
    if isinstance(attack, MimAttack):
        options["momentum"] = attack.decay
    theirs: BaseGradientDescent = _CLASSES[type(attack), batch.norm](**options)
    if isinstance(attack, MimAttack):
        # Foolbox's own sums up signs; Dong et al. sum up gradients divided by their norm.
        theirs.normalize = lambda gradients, **_: normalize_lp_norms(gradients, p=attack.gradient_order)
    if isinstance(attack, PgdAttack):
        start = BALLS[batch.norm].random_start(batch.images, batch.eps, batch.seeds)
        theirs.get_random_start = partial(_given_start, start)
    wrapped = _foolbox_model(batch.model, batch.images)
    found: Tensor = theirs.run(wrapped, batch.images, _criterion(batch), epsilon=float(eps))
    return found


def _given_start(start: Tensor, *_: object) -> Any:
    return eagerpy.astensor(start)


def _broken(points: Tensor, batch: AttackedImages) -> Tensor:
    with torch.no_grad():
        logits = batch.model(points)
    return ~in_top(logits, batch.labels) if batch.targets is None else in_top(logits, batch.targets)


def _criterion(batch: AttackedImages) -> Any:
    if batch.targets is None:
        return foolbox.criteria.Misclassification(batch.labels)
    return foolbox.criteria.TargetedMisclassification(batch.targets)


def _foolbox_model(model: Model, images: Tensor) -> Any:
    return foolbox.PyTorchModel(_Wrapped(model).eval(), bounds=(0, 1), device=images.device)
