"""The spec of accuracy under attack."""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.attacks.methods import check_settings, find_method
from assay.attacks.settings import AttackSettings, LossName, MomentumNorm, Norm
from assay.errors import UserError
from assay.specs import IDENTITY, Rational, StepSize, TaskSpec
from assay.validation import StrictModel

MetricName = Literal["robust_accuracy", "robust_accuracy_of_correct", "worst_case"]


class AttackSpec(StrictModel):
    """One attack and its parameters; ``steps`` and ``step_size`` have no defaults where a method needs them."""

    method: Annotated[str, IDENTITY]
    name: Annotated[str, IDENTITY] = Field(default="", pattern=r"^[a-z0-9_-]*$", max_length=40)
    steps: Annotated[int | None, IDENTITY] = Field(default=None, ge=1)
    step_size: Annotated[StepSize | None, IDENTITY] = None
    restarts: Annotated[int, IDENTITY] = Field(default=1, ge=1)
    momentum: Annotated[Rational | None, IDENTITY] = None
    momentum_norm: Annotated[MomentumNorm | None, IDENTITY] = None
    loss: Annotated[LossName, IDENTITY] = "cross_entropy"
    targeted: Annotated[Literal["no", "least_likely", "dataset"], IDENTITY] = "no"

    @model_validator(mode="after")
    def _complete(self) -> "AttackSpec":
        try:
            method = find_method(self.method)
        except UserError as error:
            raise ValueError(str(error)) from error
        if not method.single_step and self.steps is None:
            raise ValueError(f"{self.method} needs `steps`")
        if self.method != "mim" and (self.momentum is not None or self.momentum_norm is not None):
            raise ValueError(
                f"{self.method} has no momentum; remove `momentum` and `momentum_norm`, or use mim"
            )
        return self

    @property
    def series(self) -> str:
        """What its figures are called: ``name``, or the method, with ``_targeted`` where it is."""
        return self.name or self.method + ("" if self.targeted == "no" else f"_{self.targeted}")

    def settings(self, eps: Fraction, norm: Norm) -> AttackSettings:
        """The attack's parameters at one ``eps``, in pixel units."""
        return AttackSettings(
            eps=float(eps),
            norm=norm,
            step_size=None if self.step_size is None else self.step_size.at(eps),
            steps=self.steps or 1,
            restarts=self.restarts,
            momentum=1.0 if self.momentum is None else float(self.momentum),
            momentum_norm=self.momentum_norm or "l1",
            loss=self.loss,
        )


class AdversarialSpec(TaskSpec):
    """Accuracy under attack: which ball, which radii, which attacks. Radii are in units of pixels in [0, 1]."""

    family: Annotated[Literal["adversarial"], IDENTITY]
    norm: Annotated[Norm, IDENTITY] = "linf"
    eps: Annotated[tuple[Rational, ...], IDENTITY] = Field(min_length=1)
    attacks: Annotated[tuple[AttackSpec, ...], IDENTITY] = Field(min_length=1)
    metrics: Annotated[tuple[MetricName, ...], IDENTITY] = (
        "robust_accuracy",
        "robust_accuracy_of_correct",
        "worst_case",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "AdversarialSpec":
        for eps in self.eps:
            if eps < 0 or (self.norm == "linf" and eps > 1):
                raise ValueError(f"eps: expected radii from 0 to 1 in pixel units such as 4/255, found {eps}")
        if len(set(self.eps)) != len(self.eps):
            raise ValueError("eps: a radius is given twice")
        series = [attack.series for attack in self.attacks]
        for name in series:
            if series.count(name) > 1 or name == "worst":
                raise ValueError(
                    f"attacks: two curves would be called {name!r}; give one a `name` of its own"
                )
        self._check_attacks()
        return self

    def _check_attacks(self) -> None:
        for attack in self.attacks:
            try:
                for eps in self.eps:
                    check_settings(
                        attack.method, attack.settings(eps, self.norm), targeted=attack.targeted != "no"
                    )
            except UserError as error:
                raise ValueError(f"attacks: {error}") from error
