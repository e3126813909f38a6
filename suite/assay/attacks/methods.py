"""The methods' declarations: what each one supports, checked before any work starts. No torch here."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from assay.attacks.settings import AttackSettings, LossName, Norm
from assay.common.errors import UserError

_BOTH_NORMS: frozenset[Norm] = frozenset({"linf", "l2"})
_ALL_LOSSES: frozenset[LossName] = frozenset({"cross_entropy", "margin", "dlr"})


@dataclass(frozen=True)
class Method:
    """What an attack method is and supports.

    Attributes:
        name: The name in specs.
        title: One line for listings, with the source.
        module: The module that implements it, imported when the method is first used.
        norms: The balls it knows.
        losses: The losses it can climb.
        targetable: Whether it can be run towards given target classes.
        takes_step_size: Whether `step_size` must be given; other methods choose their own and refuse it.
        single_step: Whether it is one step by definition.
        random_start: Whether a restart differs from the first start.
        uses_gradient: False for black-box methods.
        aims_at_runners_up: Each start climbs the loss towards the next most likely wrong class (APGD-T), and
            any misclassification is a success.
        leaves_ball: Whether it looks for the nearest adversarial image: its iterates may lie outside the ball, and
            an image falls when one that is misclassified lies within. It knows top_k 1 only.
    """

    name: str
    title: str
    module: str
    norms: frozenset[Norm] = _BOTH_NORMS
    losses: frozenset[LossName] = _ALL_LOSSES
    targetable: bool = True
    takes_step_size: bool = True
    single_step: bool = False
    random_start: bool = False
    uses_gradient: bool = True
    aims_at_runners_up: bool = False
    leaves_ball: bool = False


METHODS: dict[str, Method] = {}


def declare(method: Method) -> None:
    """Add a method to the registry.

    Raises:
        UserError: A method of this name is already there.
    """
    if method.name in METHODS:
        raise UserError(f"two attack methods are named {method.name!r}: rename one of them")
    METHODS[method.name] = method


def find_method(name: str) -> Method:
    """Look a method up by name.

    Raises:
        UserError: No method has this name; the nearest ones are listed.
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, n=3, cutoff=0.4) or sorted(METHODS)
    raise UserError(f"unknown attack method {name!r}: did you mean {', '.join(near)}?")


def check_settings(name: str, settings: AttackSettings, *, targeted: bool = False) -> None:
    """Refuse settings that the method cannot honour; free of torch, so that specs can be checked with it.

    Raises:
        UserError: The first thing that is wrong, what was expected, and how to mend it.
    """
    method = find_method(name)
    _check_numbers(name, settings)
    if settings.norm not in method.norms:
        known = " or ".join(sorted(method.norms))
        raise UserError(f"{name}: norm {settings.norm!r} is not supported, choose {known}")
    if settings.loss not in method.losses:
        known = " or ".join(sorted(method.losses))
        raise UserError(f"{name}: loss {settings.loss!r} is not supported, choose {known}")
    if targeted and not method.targetable:
        raise UserError(f"{name}: has no targeted form, leave the targets out")
    if method.takes_step_size and settings.step_size is None:
        raise UserError(f"{name}: step_size is missing, give it in units of pixels in [0, 1]")
    if not method.takes_step_size and settings.step_size is not None:
        raise UserError(f"{name}: chooses its own step_size, leave it out")
    if method.single_step and settings.steps != 1:
        raise UserError(f"{name}: takes one step, got steps {settings.steps}: leave steps out or use bim")
    if settings.restarts > 1 and not (method.random_start or method.aims_at_runners_up):
        raise UserError(f"{name}: starts at the image itself, so restarts must be 1, got {settings.restarts}")
    if method.leaves_ball and settings.top_k != 1:
        raise UserError(
            f"{name}: looks for where the highest logit changes, so top_k must be 1, got {settings.top_k}"
        )
    if method.leaves_ball and settings.draws != 1:
        raise UserError(
            f"{name}: looks for a boundary that stays where it is, so draws must be 1, got {settings.draws}"
        )


def _check_numbers(name: str, settings: AttackSettings) -> None:
    """Refuse values that no method can use."""
    if not (math.isfinite(settings.eps) and settings.eps >= 0):
        raise UserError(f"{name}: eps must be a finite number >= 0, got {settings.eps}")
    if settings.norm == "linf" and settings.eps > 1:
        raise UserError(f"{name}: eps is in units of pixels in [0, 1], got {settings.eps}: write 4/255")
    step_size = settings.step_size
    # A step given as a part of eps is 0 where eps is: the identity, which guards rely on.
    if step_size is not None and not (0 < step_size < math.inf or step_size == settings.eps == 0):
        raise UserError(f"{name}: step_size must be a finite number > 0, got {step_size}")
    if not (math.isfinite(settings.momentum) and settings.momentum >= 0):
        raise UserError(f"{name}: momentum must be a finite number >= 0, got {settings.momentum}")
    for key in ("steps", "restarts", "top_k", "draws"):
        if getattr(settings, key) < 1:
            raise UserError(f"{name}: {key} must be at least 1, got {getattr(settings, key)}")


declare(
    Method(
        name="fgsm",
        title="Fast gradient sign method (Goodfellow et al. 2015)",
        module="assay.attacks.gradient",
        takes_step_size=False,
        single_step=True,
    )
)
declare(
    Method(
        name="bim",
        title="Basic iterative method (Kurakin et al. 2017)",
        module="assay.attacks.gradient",
    )
)
declare(
    Method(
        name="pgd",
        title="Projected gradient descent from a random point of the ball (Madry et al. 2018)",
        module="assay.attacks.gradient",
        random_start=True,
    )
)
declare(
    Method(
        name="mim",
        title="Momentum iterative method (Dong et al. 2018)",
        module="assay.attacks.gradient",
    )
)
declare(
    Method(
        name="apgd",
        title="Auto-PGD, a step size that adapts (Croce and Hein 2020)",
        module="assay.attacks.apgd",
        takes_step_size=False,
        random_start=True,
    )
)
declare(
    Method(
        name="apgd_t",
        title="Auto-PGD towards each of the most likely wrong classes, one a start (Croce and Hein 2020)",
        module="assay.attacks.apgd",
        targetable=False,
        takes_step_size=False,
        aims_at_runners_up=True,
    )
)
declare(
    Method(
        name="square",
        title="Square attack, black-box random search (Andriushchenko et al. 2020)",
        module="assay.attacks.square",
        losses=frozenset({"cross_entropy", "margin"}),
        takes_step_size=False,
        random_start=True,
        uses_gradient=False,
    )
)
declare(
    Method(
        name="fab",
        title="Fast adaptive boundary attack, the nearest adversarial image (Croce and Hein 2020)",
        module="assay.attacks.fab",
        losses=frozenset({"margin"}),
        targetable=False,
        takes_step_size=False,
        random_start=True,
        leaves_ball=True,
    )
)
declare(
    Method(
        name="fab_t",
        title="Fast adaptive boundary attack towards each of the most likely wrong classes, one a start "
        "(Croce and Hein 2020)",
        module="assay.attacks.fab",
        losses=frozenset({"margin"}),
        targetable=False,
        takes_step_size=False,
        aims_at_runners_up=True,
        leaves_ball=True,
    )
)
