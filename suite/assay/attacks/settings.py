"""What every attack is asked, and what no attack can be asked. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from assay.common.errors import UserError
from assay.common.fields import IDENTITY, Rational, StepSize
from assay.common.validation import StrictModel

Norm = Literal["linf", "l2", "l1"]
LossName = Literal["cross_entropy", "margin", "dlr"]
MomentumNorm = Literal["l1", "l2"]
Backend = Literal["assay", "foolbox"]
Targeted = Literal["no", "least_likely", "dataset"]


class AttackSettings(StrictModel):
    """One attack and its parameters: the base of the union :data:`assay.attacks.methods.Attack`.

    A method narrows the fields that it cannot choose freely; so a spec that asks for something else is not valid. Every
    method has every field, because what is hashed and stored has them all.

    Attributes:
        method: the name that tells the methods apart.
        name: what the attack's figures are called; the method's name when left out.
        steps: number of steps; for a black-box method the number of queries.
        step_size: length of one step (L-infinity: of each pixel); None for methods that choose their own.
        restarts: number of starts; a start after the first is only made for images that stand.
        momentum: what the sum of earlier gradients is multiplied by at each step.
        momentum_norm: the norm that each gradient is divided by before it is added.
        loss: what it climbs. ``cross_entropy`` is the papers'. The direction of its gradient depends on the logits'
            scale, which changes no decision; that of ``margin`` and ``dlr`` does not, so a figure that ranks should
            rest on them.
        targeted: which class it aims at, if any.
        backend: whose code runs it.
        options: the constructor's arguments of an attack that only foolbox has.
        transfer_from: the model that is attacked; the model under test then only scores the images.
        draws: passes whose logits, loss and gradient are averaged at every look, for networks that are random at test
            time (Athalye et al. 2018).
        title: one line for listings, with the source.
        module: the module that implements it, imported when the method is first used.
        single_step: whether it is one step by definition, so that a larger radius may well be a weaker attack.
        uses_gradient: False for black-box methods.
        targetable: whether it can be run towards given target classes.
        aims_at_runners_up: whether each start climbs the loss towards the next most likely wrong class; any
            misclassification is then a success.
        leaves_ball: whether it looks for the nearest adversarial image: its iterates may lie outside the ball, and an
            image falls when one that is misclassified lies within.
        only_foolbox_has: whether it has no equal here.
        usual: parameters for callers that name none.
    """

    method: Annotated[str, IDENTITY]
    name: Annotated[str, IDENTITY] = Field(default="", pattern=r"^[A-Za-z0-9_-]*$", max_length=40)
    steps: Annotated[int | None, IDENTITY] = Field(default=None, ge=1)
    step_size: Annotated[StepSize | None, IDENTITY] = None
    restarts: Annotated[int, IDENTITY] = Field(default=1, ge=1)
    momentum: Annotated[Rational | None, IDENTITY] = Field(default=None, ge=0)
    momentum_norm: Annotated[MomentumNorm | None, IDENTITY] = None
    loss: Annotated[LossName, IDENTITY] = "cross_entropy"
    targeted: Annotated[Targeted, IDENTITY] = "no"
    backend: Annotated[Backend, IDENTITY] = "assay"
    options: Annotated[dict[str, Any], IDENTITY] = Field(default_factory=dict)
    transfer_from: Annotated[str | None, IDENTITY] = None
    draws: Annotated[int, IDENTITY] = Field(default=1, ge=1, exclude_if=lambda draws: draws == 1)

    title: ClassVar[str]
    module: ClassVar[str]
    single_step: ClassVar[bool] = False
    uses_gradient: ClassVar[bool] = True
    targetable: ClassVar[bool] = True
    aims_at_runners_up: ClassVar[bool] = False
    leaves_ball: ClassVar[bool] = False
    only_foolbox_has: ClassVar[bool] = False
    usual: ClassVar[Mapping[str, Any]] = {"steps": 100}

    @property
    def step_count(self) -> int:
        """How many steps one start takes."""
        return self.steps or 1

    def step_at(self, eps: Fraction) -> float:
        """The length of one step at a radius, in units of pixels; the radius itself for methods without a step size."""
        return float(eps) if self.step_size is None else self.step_size.at(eps)

    @property
    def climbs_gradient(self) -> bool:
        """Whether it follows the gradient of the very model that is scored."""
        return self.uses_gradient and not self.transfer_from

    def steps_in(self, norm: Norm) -> int:
        """How many steps one start takes in the balls of a norm."""
        del norm
        return self.step_count

    def may_leave(self, norm: Norm) -> bool:
        """Whether its iterates may lie outside the balls of a norm."""
        del norm
        return self.leaves_ball

    @property
    def white_box(self) -> bool:
        """Whether it climbs the gradient of the very model that is scored, away from the label, within the ball."""
        return self.climbs_gradient and not self.leaves_ball and self.targeted == "no"

    @property
    def series(self) -> str:
        """What its figures are called: ``name``, or the method, with ``_targeted`` where it is."""
        return self.name or self.method + ("" if self.targeted == "no" else f"_{self.targeted}")


def check_ball(attack: AttackSettings, eps: Fraction, norm: Norm) -> None:
    """Refuse a radius that no attack can use.

    Raises:
        UserError: it is negative or, in L-infinity, larger than the range of a pixel.
    """
    if eps < 0:
        raise UserError(f"{attack.method}: eps must be a finite number >= 0, got {float(eps)}")
    if norm == "linf" and eps > 1:
        raise UserError(
            f"{attack.method}: eps is in units of pixels in [0, 1], got {float(eps)}: write 4/255"
        )


def check_success(attack: AttackSettings, top_k: int, *, targets: bool) -> None:
    """Refuse a rule of success that the method cannot pursue; ``targets`` says whether target classes are given.

    Raises:
        UserError: what was expected, and how to mend it.
    """
    if top_k < 1:
        raise UserError(f"{attack.method}: top_k must be at least 1, got {top_k}")
    if attack.leaves_ball and top_k != 1:
        raise UserError(
            f"{attack.method}: looks for where the highest logit changes, so top_k must be 1, got {top_k}"
        )
    if targets and not attack.targetable:
        raise UserError(f"{attack.method}: has no targeted form, leave the targets out")
