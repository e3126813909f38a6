"""A second opinion: the same settings run by foolbox, and any other foolbox attack by its name.

Foolbox (Rauber et al. 2020) takes every step of every start and judges last iterates, so its outcome is
compared with `early_stop=False`; an attack with early stop breaks at least as many images.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_type_hints

import eagerpy
import foolbox
import torch
from foolbox.attacks.gradient_descent_base import BaseGradientDescent, normalize_lp_norms
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from assay.attacks.balls import BALLS
from assay.attacks.losses import in_top
from assay.attacks.methods import check_settings
from assay.attacks.observe import Model
from assay.attacks.rows import Inputs
from assay.attacks.run import AttackJob, as_inputs
from assay.attacks.settings import AttackResult, AttackSettings, Norm
from assay.common import randomness
from assay.common.errors import UserError

_CLASSES = {
    ("fgsm", "linf"): foolbox.attacks.LinfBasicIterativeAttack,
    ("fgsm", "l2"): foolbox.attacks.L2BasicIterativeAttack,
    ("bim", "linf"): foolbox.attacks.LinfBasicIterativeAttack,
    ("bim", "l2"): foolbox.attacks.L2BasicIterativeAttack,
    ("pgd", "linf"): foolbox.attacks.LinfProjectedGradientDescentAttack,
    ("pgd", "l2"): foolbox.attacks.L2ProjectedGradientDescentAttack,
    ("mim", "linf"): foolbox.attacks.LinfMomentumIterativeFastGradientMethod,
    ("mim", "l2"): foolbox.attacks.L2MomentumIterativeFastGradientMethod,
}


class _Wrapped(nn.Module):
    """Any callable as the module that foolbox asks for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels)


def check_foolbox_settings(name: str, settings: AttackSettings, *, targeted: bool = False) -> None:
    """Refuse what foolbox cannot run.

    Raises:
        UserError: The method, loss or rule of success that it has no equal of.
    """
    check_settings(name, settings, targeted=targeted)
    if (name, settings.norm) not in _CLASSES:
        known = ", ".join(sorted({method for method, _ in _CLASSES}))
        raise UserError(f"{name}: the foolbox backend runs {known} only; choose backend assay")
    if settings.loss != "cross_entropy" or settings.top_k != 1:
        raise UserError(f"{name}: the foolbox backend climbs cross_entropy and judges top 1 only")


def run_with_foolbox(job: AttackJob, settings: AttackSettings) -> AttackResult:
    """`run.run_job` by foolbox's loops, from the same starts; `early_stop` is of no effect.

    Raises:
        UserError: Settings that foolbox has no equal of.
    """
    targeted = job.targets is not None
    check_foolbox_settings(job.method, settings, targeted=targeted)
    inputs = as_inputs(job, settings)
    images, success = job.images.clone(), torch.zeros(len(inputs), dtype=torch.bool, device=job.images.device)
    starts = torch.zeros(len(inputs), dtype=torch.int64, device=job.images.device)
    for restart in range(settings.restarts):
        standing = (~success).nonzero().squeeze(1)
        for rows in torch.split(standing, job.batch_size or max(len(inputs), 1)):
            batch = inputs.select(rows)
            batch = replace(batch, seeds=randomness.derive(batch.seeds, restart))
            images[rows] = _attack_batch(job, settings, batch)
            success[rows] = _broken(job.model, images[rows], batch)
            starts[rows] += 1
    return AttackResult(images, success, starts * settings.steps, torch.zeros_like(success))


def run_named(
    name: str, options: Mapping[str, Any], job: AttackJob, eps: float | None = None, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Any foolbox attack by its class name, e.g. `L2DeepFoolAttack`; the job's method plays no part.

    Args:
        name: A class of `foolbox.attacks`.
        options: Its constructor's arguments.
        job: The images.
        eps: Radius in the attack's norm; None asks a minimisation attack for the nearest adversarial image.
        seed: Seeds foolbox's randomness, which is not per image, so that outcomes depend on `batch_size`.

    Returns:
        (N, C, H, W) images in [0, 1], and (N,) bool: whether they do what the attack wants.

    Raises:
        UserError: No such attack, options it does not take, or no radius for an attack that needs one.
    """
    attack = _named_attack(name, options)
    if eps is None and isinstance(attack, foolbox.attacks.base.FixedEpsilonAttack):
        raise UserError(f"foolbox attack {name} works within a given radius: give eps")
    wrapped = _foolbox_model(job.model, job.images)
    images, success = [], []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for rows in torch.split(torch.arange(len(job.images)), job.batch_size or max(len(job.images), 1)):
            clean = job.images[rows]
            criterion = _criterion(job.labels[rows], None if job.targets is None else job.targets[rows])
            try:
                _, found, fell = attack(wrapped, clean, criterion, epsilons=eps)
            except ValueError as error:  # that it cannot aim at a target, for one
                raise UserError(f"foolbox attack {name}: {error}; choose another") from error
            images.append(found)
            success.append(fell)
    return torch.cat(images), torch.cat(success)


def needs_radius(name: str, options: Mapping[str, Any]) -> bool:
    """Whether a foolbox attack works within a given radius, instead of looking for the nearest image.

    Raises:
        UserError: No such attack, or options it does not take.
    """
    return isinstance(_named_attack(name, options), foolbox.attacks.base.FixedEpsilonAttack)


def check_named(name: str, options: Mapping[str, Any], norm: Norm) -> None:
    """Refuse an attack by its class name that foolbox has not, or that works in another norm.

    Raises:
        UserError: so it is, or the options are not its own.
    """
    try:
        order = _named_attack(name, options).distance.p
    except (AttributeError, NotImplementedError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"foolbox attack {name} measures no L-infinity or L2 distance: choose another"
        ) from error
    if order != {"linf": math.inf, "l2": 2}[norm]:
        raise UserError(
            f"foolbox attack {name} works in the L{order} norm, the spec's `norm` is {norm}: change one"
        )


def _named_attack(name: str, options: Mapping[str, Any]) -> Any:
    """An attack object.

    Raises:
        UserError: See `run_named`.
    """
    known = [key for key, kind in vars(foolbox.attacks).items() if isinstance(kind, type)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        raise UserError(f"foolbox has no attack {name!r}: did you mean {', '.join(near) or 'another'}?")
    kind = vars(foolbox.attacks)[name]
    try:
        attack = kind(**options)
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
    return attack


def _attack_batch(job: AttackJob, settings: AttackSettings, batch: Inputs) -> Tensor:
    """Foolbox's last iterates from our starts."""
    step_size = settings.eps if settings.step_size is None else settings.step_size
    options: dict[str, Any] = {"abs_stepsize": step_size, "steps": settings.steps}
    if job.method == "mim":
        options["momentum"] = settings.momentum
    attack: BaseGradientDescent = _CLASSES[job.method, settings.norm](**options)
    if job.method == "mim":
        # Foolbox's own sums up signs; Dong et al. sum up gradients divided by their norm.
        order = 1 if settings.momentum_norm == "l1" else 2
        attack.normalize = lambda gradients, **_: normalize_lp_norms(gradients, p=order)
    if job.method == "pgd":
        start = BALLS[settings.norm].random_start(batch.images, batch.eps, batch.seeds)
        attack.get_random_start = partial(_given_start, start)
    criterion = _criterion(batch.labels, batch.targets)
    wrapped = _foolbox_model(job.model, batch.images)
    found: Tensor = attack.run(wrapped, batch.images, criterion, epsilon=settings.eps)
    return found


def _given_start(start: Tensor, *_: object) -> Any:
    return eagerpy.astensor(start)


def _broken(model: Model, images: Tensor, batch: Inputs) -> Tensor:
    with torch.no_grad():
        logits = model(images)
    return ~in_top(logits, batch.labels) if batch.targets is None else in_top(logits, batch.targets)


def _criterion(labels: Tensor, targets: Tensor | None) -> Any:
    if targets is None:
        return foolbox.criteria.Misclassification(labels)
    return foolbox.criteria.TargetedMisclassification(targets)


def _foolbox_model(model: Model, images: Tensor) -> Any:
    return foolbox.PyTorchModel(_Wrapped(model).eval(), bounds=(0, 1), device=images.device)
