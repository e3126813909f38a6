"""The attack methods: one strict model per method, together a union that ``method`` tells apart. No torch here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter, ValidationError, ValidationInfo

from assay.attacks.settings import AttackSettings, Norm
from assay.common.errors import UserError
from assay.common.fields import IDENTITY, StepSize
from assay.common.validation import describe


def _always(value: object, otherwise: str, *, also: object = None) -> BeforeValidator:
    """A field that has one value (or ``also``); for any other the writer reads the method's name and ``otherwise``."""

    def check(given: object, info: ValidationInfo) -> object:
        if given not in (value, also):
            raise ValueError(f"{info.data.get('method', 'this method')} {otherwise}")
        return given

    return BeforeValidator(check)


Steps = Annotated[int, Field(ge=1), IDENTITY]
OneStart = Annotated[Literal[1], _always(1, "starts at the image itself, so restarts must be 1"), IDENTITY]
OneDraw = Annotated[
    Literal[1],
    Field(exclude_if=lambda draws: draws == 1),
    _always(1, "looks for a boundary that stays where it is, so draws must be 1"),
    IDENTITY,
]
NoMomentum = Annotated[
    None,
    _always(None, "has no momentum; remove `momentum` and `momentum_norm`, or use mim"),
    IDENTITY,
]
NoOptions = Annotated[
    dict[str, Any],
    _always({}, "takes no `options`; they belong to attacks that only foolbox has"),
    IDENTITY,
]
NoTarget = Annotated[Literal["no"], _always("no", "has no targeted form; leave `targeted` out"), IDENTITY]
NoTransfer = Annotated[
    None,
    _always(
        None,
        "ends at the boundary of the network that it attacks, where another one need not err; "
        "leave `transfer_from` out, or use bim",
    ),
    IDENTITY,
]
OwnStepSize = Annotated[None, _always(None, "chooses its own step_size; leave it out"), IDENTITY]
OwnLoops = Annotated[
    Literal["assay"],
    _always(
        "assay", "is not run by the foolbox backend, which knows bim, fgsm, mim and pgd; choose backend assay"
    ),
    IDENTITY,
]
MarginLoss = Annotated[Literal["margin"], IDENTITY]

_FORTY_STEPS = {"steps": 40, "step_size": "0.1 eps"}


class _PlainAttack(AttackSettings):
    """What all methods of ours share but mim, which has momentum."""

    momentum: NoMomentum = None
    momentum_norm: NoMomentum = None
    options: NoOptions = Field(default_factory=dict)


class FgsmAttack(_PlainAttack):
    """One step of the radius's length along the gradient."""

    method: Annotated[Literal["fgsm"], IDENTITY]
    steps: Annotated[
        Literal[1] | None, _always(1, "takes one step; leave `steps` out, or use bim"), IDENTITY
    ] = None
    step_size: OwnStepSize = None
    restarts: OneStart = 1

    title = "Fast gradient sign method (Goodfellow et al. 2015)"
    module = "assay.attacks.gradient"
    single_step = True
    usual: ClassVar[Mapping[str, Any]] = {}


class BimAttack(_PlainAttack):
    """Steps along the gradient from the image."""

    method: Annotated[Literal["bim"], IDENTITY]
    steps: Steps
    step_size: Annotated[StepSize, IDENTITY]
    restarts: OneStart = 1

    title = "Basic iterative method (Kurakin et al. 2017)"
    module = "assay.attacks.gradient"
    usual = _FORTY_STEPS


class PgdAttack(_PlainAttack):
    """Steps along the gradient from a random point of the ball."""

    method: Annotated[Literal["pgd"], IDENTITY]
    steps: Steps
    step_size: Annotated[StepSize, IDENTITY]

    title = "Projected gradient descent from a random point of the ball (Madry et al. 2018)"
    module = "assay.attacks.gradient"
    usual = _FORTY_STEPS


class MimAttack(AttackSettings):
    """Steps along the sum of earlier gradients, each divided by its norm."""

    method: Annotated[Literal["mim"], IDENTITY]
    steps: Steps
    step_size: Annotated[StepSize, IDENTITY]
    restarts: OneStart = 1
    options: NoOptions = Field(default_factory=dict)

    title = "Momentum iterative method (Dong et al. 2018)"
    module = "assay.attacks.gradient"
    usual = _FORTY_STEPS

    @property
    def decay(self) -> float:
        """What the sum of earlier gradients is multiplied by (the paper's mu): 1 where none is given."""
        return 1.0 if self.momentum is None else float(self.momentum)

    @property
    def gradient_order(self) -> int:
        """The order of the norm that each gradient is divided by: 1, as in the paper, where none is given."""
        return 2 if self.momentum_norm == "l2" else 1


class _AdaptiveAttack(_PlainAttack):
    """What the two forms of Auto-PGD share."""

    steps: Steps
    step_size: OwnStepSize = None

    module = "assay.attacks.apgd"

    @property
    def moves_in_l1(self) -> tuple[int, ...]:
        """In L1, the moves in balls of 3, 2 and 1 radii: 30, 30 and 40 in a hundred; one or two stay in the last."""
        first = -(-3 * self.step_count // 10)
        last = self.step_count - 2 * first
        return (first, first, last) if last > 0 else (self.step_count,)

    def steps_in(self, norm: Norm) -> int:
        """In L1, one more for each change of balls: the projection into the smaller one."""
        return self.step_count + (len(self.moves_in_l1) - 1 if norm == "l1" else 0)

    def may_leave(self, norm: Norm) -> bool:
        """In L1 it begins in larger balls (Croce and Hein 2021)."""
        return norm == "l1"


class ApgdAttack(_AdaptiveAttack):
    """Gradient steps with momentum and a step size that adapts."""

    method: Annotated[Literal["apgd"], IDENTITY]
    backend: OwnLoops = "assay"

    title = "Auto-PGD, a step size that adapts (Croce and Hein 2020)"


class ApgdTargetedAttack(_AdaptiveAttack):
    """Auto-PGD towards each of the most likely wrong classes, one per start."""

    method: Annotated[Literal["apgd_t"], IDENTITY]
    targeted: NoTarget = "no"
    backend: OwnLoops = "assay"

    title = "Auto-PGD towards each of the most likely wrong classes, one per start (Croce and Hein 2020)"
    targetable = False
    aims_at_runners_up = True


class SquareAttack(_PlainAttack):
    """Random search with squares; ``steps`` counts the queries."""

    method: Annotated[Literal["square"], IDENTITY]
    steps: Steps
    step_size: OwnStepSize = None
    loss: Annotated[Literal["cross_entropy", "margin"], IDENTITY] = "cross_entropy"
    backend: OwnLoops = "assay"

    title = "Square attack, black-box random search (Andriushchenko et al. 2020)"
    module = "assay.attacks.square"
    uses_gradient = False
    usual: ClassVar[Mapping[str, Any]] = {"steps": 1000}


class _BoundaryAttack(_PlainAttack):
    """What the attacks share that look for the nearest adversarial image."""

    steps: Steps
    step_size: OwnStepSize = None
    loss: MarginLoss = "margin"
    targeted: NoTarget = "no"
    backend: OwnLoops = "assay"
    transfer_from: NoTransfer = None
    draws: OneDraw = 1

    module = "assay.attacks.fab"
    targetable = False
    leaves_ball = True


class FabAttack(_BoundaryAttack):
    """Steps onto the nearest of all linearised boundaries."""

    method: Annotated[Literal["fab"], IDENTITY]

    title = "Fast adaptive boundary attack, the nearest adversarial image (Croce and Hein 2020)"


class FabTargetedAttack(_BoundaryAttack):
    """Steps onto the boundary of each of the most likely wrong classes, one per start."""

    method: Annotated[Literal["fab_t"], IDENTITY]

    title = (
        "Fast adaptive boundary attack towards each of the most likely wrong classes, one per start "
        "(Croce and Hein 2020)"
    )
    aims_at_runners_up = True


_IN_OPTIONS = "is foolbox's own attack: give its parameters by foolbox's names in `options`"


class FoolboxAttack(AttackSettings):
    """Any other attack of foolbox by its class name; its parameters are ``options``."""

    steps: Annotated[None, _always(None, _IN_OPTIONS), IDENTITY] = None
    step_size: Annotated[None, _always(None, _IN_OPTIONS), IDENTITY] = None
    restarts: Annotated[Literal[1], _always(1, _IN_OPTIONS), IDENTITY] = 1
    momentum: Annotated[None, _always(None, _IN_OPTIONS), IDENTITY] = None
    momentum_norm: Annotated[None, _always(None, _IN_OPTIONS), IDENTITY] = None
    loss: Annotated[Literal["cross_entropy"], _always("cross_entropy", _IN_OPTIONS), IDENTITY] = (
        "cross_entropy"
    )
    backend: Annotated[Literal["foolbox"], IDENTITY]
    draws: Annotated[
        Literal[1], Field(exclude_if=lambda draws: draws == 1), _always(1, _IN_OPTIONS), IDENTITY
    ] = 1

    title = "An attack of foolbox by its class name (Rauber et al. 2020)"
    module = "assay.attacks.foolbox_backend"
    only_foolbox_has = True

    @property
    def climbs_gradient(self) -> bool:
        """False: nothing is known of how it works."""
        return False


METHODS: dict[str, type[AttackSettings]] = {
    "fgsm": FgsmAttack,
    "bim": BimAttack,
    "pgd": PgdAttack,
    "mim": MimAttack,
    "apgd": ApgdAttack,
    "apgd_t": ApgdTargetedAttack,
    "square": SquareAttack,
    "fab": FabAttack,
    "fab_t": FabTargetedAttack,
}
"""Assay's own methods by name."""


def _member(given: Any) -> str:
    """Which model of the union a block belongs to: its method's name, or ``foolbox`` for what only foolbox has."""
    method = given["method"] if isinstance(given, dict) else given.method
    return method if method in METHODS else "foolbox"


def _known(given: object) -> object:
    """Refuse a block that names no method.

    Raises:
        ValueError: what to write instead.
    """
    if isinstance(given, AttackSettings):
        return given
    known = ", ".join(METHODS)
    if not isinstance(given, dict):
        raise ValueError(f"write `{{method: …}}`, the method one of {known}")
    method = given.get("method")
    if not isinstance(method, str):
        raise ValueError(f"name the attack's `method`, one of {known}")
    if method not in METHODS and given.get("backend") != "foolbox":
        near = difflib.get_close_matches(method, METHODS, n=3, cutoff=0.4) or sorted(METHODS)
        raise ValueError(f"unknown attack method {method!r}: did you mean {', '.join(near)}?")
    return given


Attack = Annotated[
    Annotated[FgsmAttack, Tag("fgsm")]
    | Annotated[BimAttack, Tag("bim")]
    | Annotated[PgdAttack, Tag("pgd")]
    | Annotated[MimAttack, Tag("mim")]
    | Annotated[ApgdAttack, Tag("apgd")]
    | Annotated[ApgdTargetedAttack, Tag("apgd_t")]
    | Annotated[SquareAttack, Tag("square")]
    | Annotated[FabAttack, Tag("fab")]
    | Annotated[FabTargetedAttack, Tag("fab_t")]
    | Annotated[FoolboxAttack, Tag("foolbox")],
    Discriminator(_member),
    BeforeValidator(_known),
]
"""One attack with its parameters, as specs and calls write it."""

_ATTACK: TypeAdapter[AttackSettings] = TypeAdapter(Attack)


def attack_of(method: str, **parameters: Any) -> AttackSettings:
    """An attack by its method's name and parameters, such as ``attack_of("pgd", steps=40, step_size="0.1 eps")``.

    Raises:
        UserError: an unknown method, or parameters that the method cannot honour.
    """
    try:
        return _ATTACK.validate_python({"method": method, **parameters})
    except ValidationError as error:
        raise UserError(f"attack: {describe(error)}") from error
