"""The spec of accuracy under attack."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from assay.attacks.methods import METHODS, check_settings, find_method
from assay.attacks.settings import AttackSettings, LossName, MomentumNorm, Norm
from assay.common.errors import UserError
from assay.common.fields import IDENTITY, Rational, StepSize
from assay.common.validation import StrictModel
from assay.specs.task_spec import TaskSpec
from assay.tasks.adversarial.protocols import AUTOATTACK, Protocol, Version, version_unless_given

MetricName = Literal["robust_accuracy", "robust_accuracy_of_correct", "worst_case", "median_eps"]
Backend = Literal["assay", "foolbox"]
Curve = Literal["each", "ascending", "bisect"]


HEADLINE = "worst:mean_radius"


class AttackSpec(StrictModel):
    """One attack and its parameters; ``steps`` and ``step_size`` have no defaults where a method needs them.

    Attributes:
        loss: what it climbs. ``cross_entropy`` is the papers', and its gradient turns with the logits' scale, which
            changes no decision; ``margin`` and ``dlr`` point the same way at every scale, so a figure that ranks
            should rest on them.
        method: a method of ours, or with ``backend: foolbox`` also the name of any attack of foolbox.
        name: what the attack's figures are called; the method's name when left out.
        backend: whose code runs it.
        options: the constructor's arguments of an attack that only foolbox has.
        transfer_from: the model that is attacked; the model under test then only scores the images.
        draws: passes that each gradient is the mean of, for networks that are random at test time.
    """

    method: Annotated[str, IDENTITY]
    name: Annotated[str, IDENTITY] = Field(default="", pattern=r"^[A-Za-z0-9_-]*$", max_length=40)
    steps: Annotated[int | None, IDENTITY] = Field(default=None, ge=1)
    step_size: Annotated[StepSize | None, IDENTITY] = None
    restarts: Annotated[int, IDENTITY] = Field(default=1, ge=1)
    momentum: Annotated[Rational | None, IDENTITY] = None
    momentum_norm: Annotated[MomentumNorm | None, IDENTITY] = None
    loss: Annotated[LossName, IDENTITY] = "cross_entropy"
    targeted: Annotated[Literal["no", "least_likely", "dataset"], IDENTITY] = "no"
    backend: Annotated[Backend, IDENTITY] = "assay"
    options: Annotated[dict[str, Any], IDENTITY] = Field(default_factory=dict)
    transfer_from: Annotated[str | None, IDENTITY] = None
    draws: Annotated[int, IDENTITY] = Field(default=1, ge=1, exclude_if=lambda draws: draws == 1)

    @model_validator(mode="after")
    def _complete(self) -> "AttackSpec":
        if self.only_foolbox_has:
            self._check_foreign()
            return self
        try:
            method = find_method(self.method)
        except UserError as error:
            raise ValueError(str(error)) from error
        if self.options:
            raise ValueError(
                f"{self.method} takes no `options`; they belong to attacks that only foolbox has"
            )
        if not method.single_step and self.steps is None:
            raise ValueError(f"{self.method} needs `steps`")
        if self.method != "mim" and (self.momentum is not None or self.momentum_norm is not None):
            raise ValueError(
                f"{self.method} has no momentum; remove `momentum` and `momentum_norm`, or use mim"
            )
        if self.leaves_ball and self.transfer_from:
            raise ValueError(
                f"{self.method} ends at the boundary of the network that it attacks, where another one need not err; "
                "leave `transfer_from` out, or use bim"
            )
        return self

    def _check_foreign(self) -> None:
        # Not `model_fields_set`: a spec that is stored has every field, and is read again.
        ours = ("steps", "step_size", "restarts", "momentum", "momentum_norm", "loss", "draws")
        given = [name for name in ours if getattr(self, name) != type(self).model_fields[name].default]
        if given:
            raise ValueError(
                f"{self.method} is foolbox's own attack: give {', '.join(given)} by foolbox's names "
                "in `options`"
            )

    @property
    def only_foolbox_has(self) -> bool:
        """Whether the method is an attack of foolbox that has no equal here."""
        return self.backend == "foolbox" and self.method not in METHODS

    @property
    def single_step(self) -> bool:
        """Whether it is one step by definition, so that a larger radius may well be a weaker attack."""
        return self.method in METHODS and METHODS[self.method].single_step

    @property
    def white_box(self) -> bool:
        """Whether it climbs the gradient of the very model that is scored, away from the label, within the ball."""
        known = METHODS.get(self.method)
        climbs = known is not None and known.uses_gradient and not known.leaves_ball
        return climbs and self.targeted == "no" and not self.transfer_from

    @property
    def aims_at_runners_up(self) -> bool:
        """Whether each start aims at another of the most likely wrong classes."""
        return self.method in METHODS and METHODS[self.method].aims_at_runners_up

    @property
    def leaves_ball(self) -> bool:
        """Whether it is one of ours that looks for the nearest adversarial image, whatever the radius."""
        return self.method in METHODS and METHODS[self.method].leaves_ball

    @property
    def climbs_gradient(self) -> bool:
        """Whether it follows the gradient of the very model that is scored."""
        known = METHODS.get(self.method)
        return known is not None and known.uses_gradient and not self.transfer_from

    @property
    def series(self) -> str:
        """What its figures are called: ``name``, or the method, with ``_targeted`` where it is."""
        return self.name or self.method + ("" if self.targeted == "no" else f"_{self.targeted}")

    def settings(self, eps: Fraction, norm: Norm, top_k: int = 1) -> AttackSettings:
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
            top_k=top_k,
            # An image that fools the attacked model at once need not fool the one that scores it.
            early_stop=self.transfer_from is None,
            draws=self.draws,
        )


def _listed(fields: Mapping[str, Any]) -> tuple[AttackSpec, ...]:
    """The attacks of a spec that names none: those of its protocol's version, if any."""
    return tuple(AttackSpec.model_validate(one) for one in AUTOATTACK.get(fields.get("version") or "", ()))


class AdversarialSpec(TaskSpec):
    """Accuracy under attack: which ball, which radii, which attacks. Radii are in units of pixels in [0, 1].

    Attributes:
        protocol: a list of attacks that others have agreed on, in place of ``attacks``; in turn, radii ascending.
        version: which of the protocol's lists, AutoAttack's ``standard`` when left out.
        curve: ``each`` attacks every image at every radius; ``ascending`` carries on what fell at a smaller
            one; ``bisect`` finds each image's smallest radius by binary search.
            Attacks that look for the nearest adversarial image (fab, fab_t, some of foolbox) give the whole curve
            at once, whatever ``curve`` is; in turn, they are made at each radius.
        in_turn: each attack meets only images that all attacks before it left standing at the same radius
            (AutoAttack's protocol); a curve is then that of the attacks up to this one together.
        top_k: an image counts as correct while its label is among the ``top_k`` highest logits.
        certified: also prove a lower bound of the accuracy, where the network allows it.
        probe_queries: forward passes of the random search that checks what stands at the largest radius.
        save_adversarial: keep every adversarial image as an 8-bit PNG, and score it after rounding.
        sheets: for how many images, from the first, a sheet of their adversarial images is drawn.
        chunk_units: images that are computed and stored together: small ones are attacked up to three times as fast
            a hundred at once, large ones are better kept often.
    """

    family: Annotated[Literal["adversarial"], IDENTITY]
    norm: Annotated[Norm, IDENTITY] = "linf"
    eps: Annotated[tuple[Rational, ...], IDENTITY] = Field(min_length=1)
    protocol: Annotated[Protocol | None, IDENTITY] = Field(default=None, exclude_if=lambda name: name is None)
    version: Annotated[Version | None, IDENTITY] = Field(
        default_factory=version_unless_given, exclude_if=lambda name: name is None
    )
    curve: Annotated[Curve, IDENTITY] = Field(
        default_factory=lambda fields: "ascending" if fields.get("protocol") else "each"
    )
    in_turn: Annotated[bool, IDENTITY] = Field(default_factory=lambda fields: bool(fields.get("protocol")))
    top_k: Annotated[int, IDENTITY] = Field(default=1, ge=1)
    attacks: Annotated[tuple[AttackSpec, ...], IDENTITY] = Field(default_factory=_listed, min_length=1)
    certified: Annotated[bool, IDENTITY] = False
    probe_queries: Annotated[int, IDENTITY] = Field(default=50, ge=0)
    save_adversarial: Annotated[bool, IDENTITY] = False
    sheets: Annotated[int, IDENTITY] = Field(default=3, ge=0, le=20)
    chunk_units: Annotated[int, IDENTITY] = Field(default=10, ge=1, le=1000)
    metrics: Annotated[tuple[MetricName, ...], IDENTITY] = (
        "robust_accuracy",
        "robust_accuracy_of_correct",
        "worst_case",
        "median_eps",
    )

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.specs.task_spec.TaskSpec.metric_keys`."""
        series = [*(attack.series for attack in self.attacks), "worst"]
        wanted = [name for name in ("robust_accuracy", "robust_accuracy_of_correct") if name in self.metrics]
        keys = [HEADLINE, "worst:curve_area", "worst:stands_at_largest", "clean_accuracy"]
        keys += [f"{one}:{name}@{eps}" for one in series[:-1] for name in wanted for eps in self.eps]
        if "worst_case" in self.metrics:
            keys += [f"worst:robust_accuracy@{eps}" for eps in self.eps]
        if "median_eps" in self.metrics:
            keys += [f"{one}:median_eps" for one in series]
        if self.certified:
            keys += [f"certified_accuracy@{eps}" for eps in self.eps]
        return tuple(keys)

    @property
    def expects_randomness(self) -> bool:
        """Whether its attacks average over a network's own randomness, so that passes may differ."""
        return any(attack.draws > 1 for attack in self.attacks)

    @property
    def radii(self) -> tuple[Fraction, ...]:
        """The radii, smallest first."""
        return tuple(sorted(self.eps))

    @model_validator(mode="after")
    def _as_the_protocol_says(self) -> "AdversarialSpec":
        if self.protocol is None or self.version is None:
            if self.version is not None:
                raise ValueError("version: belongs to a protocol; add `protocol: autoattack`")
            if not self.attacks:
                raise ValueError("attacks: name at least one, or a `protocol`")
            return self
        if self.attacks != _listed({"version": self.version}) or not self.in_turn:
            raise ValueError(
                "attacks: `protocol: autoattack` names its own, each on what the last ones left; leave `attacks` and "
                "`in_turn` out, or leave `protocol` out"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "AdversarialSpec":
        for eps in self.eps:
            if eps < 0 or (self.norm == "linf" and eps > 1):
                raise ValueError(f"eps: expected radii from 0 to 1 in pixel units such as 4/255, found {eps}")
        if len(set(self.eps)) != len(self.eps):
            raise ValueError("eps: a radius is given twice")
        if max(self.eps) == 0:
            raise ValueError("eps: 0 alone attacks nothing; add a radius such as 4/255")
        if self.in_turn and self.curve == "bisect":
            raise ValueError(
                "curve: bisect takes each attack alone, so it does not go with in_turn; use ascending"
            )
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
            if attack.only_foolbox_has:
                continue
            try:
                for eps in self.eps:
                    settings = attack.settings(eps, self.norm, self.top_k)
                    check_settings(attack.method, settings, targeted=attack.targeted != "no")
            except UserError as error:
                raise ValueError(f"attacks: {error}") from error
