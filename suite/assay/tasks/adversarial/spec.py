"""The spec of accuracy under attack, and AutoAttack's lists of attacks by name. Without torch."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from assay.attacks.methods import Attack
from assay.attacks.settings import AttackSettings, Norm, check_success
from assay.common.errors import UserError
from assay.common.fields import IDENTITY, Rational
from assay.results.tables import in_255ths
from assay.tasks.shared.own_answers import Labels, as_agreement
from assay.tasks.task_spec import TaskSpec

MetricName = Literal["robust_accuracy", "robust_accuracy_of_correct", "worst_case", "median_eps"]
Curve = Literal["each", "ascending", "bisect", "exact"]
Protocol = Literal["autoattack"]
Version = Literal["standard", "plus", "rand"]
Proofs = Literal["first"]

HEADLINE = "worst:mean_radius"

_DRAWS = 20
_TARGETS = 9

_APGD_CE = {"name": "apgd_ce", "method": "apgd", "steps": 100}
_APGD_DLR = {"name": "apgd_dlr", "method": "apgd", "steps": 100, "loss": "dlr"}
_APGD_T = {"method": "apgd_t", "steps": 100, "restarts": _TARGETS, "loss": "dlr"}
_FAB = {"method": "fab", "steps": 100, "restarts": 5, "loss": "margin"}
_FAB_T = {"method": "fab_t", "steps": 100, "restarts": _TARGETS, "loss": "margin"}
_SQUARE = {"method": "square", "steps": 5000, "loss": "margin"}

AUTOATTACK: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "standard": (_APGD_CE, _APGD_T, _FAB_T, _SQUARE),
    "plus": ({**_APGD_CE, "restarts": 5}, {**_APGD_DLR, "restarts": 5}, _FAB, _SQUARE, _APGD_T, _FAB_T),
    "rand": ({**_APGD_CE, "draws": _DRAWS}, {**_APGD_DLR, "draws": _DRAWS}),
}
"""AutoAttack's versions (Croce and Hein 2020): its attacks in its authors' order, with their budgets.

Restarts of the targeted attacks are target classes, one start each. ``rand`` is for networks that are random at test
time: each gradient is the mean over 20 passes. In L1 :func:`autoattack` has other numbers of starts.
"""

_ATTACKS: TypeAdapter[tuple[Attack, ...]] = TypeAdapter(tuple[Attack, ...])


def _version_unless_given(fields: Mapping[str, Any]) -> Version | None:
    """The version of a spec that names none; ``fields`` are those before it."""
    return "standard" if fields.get("protocol") else None


def autoattack(version: Version, norm: Norm) -> tuple[Attack, ...]:
    """AutoAttack's attacks in a norm.

    In L1 ``standard`` takes five starts on the cross-entropy and aims at five classes, as its authors have it: their
    APGD takes the most of its budget there.
    """
    listed = AUTOATTACK[version]
    if norm == "l1" and version == "standard":
        listed = ({**_APGD_CE, "restarts": 5}, {**_APGD_T, "restarts": 5}, *listed[2:])
    return _ATTACKS.validate_python(tuple(listed))


def _listed(fields: Mapping[str, Any]) -> tuple[Attack, ...]:
    """The attacks of a spec that names none: its protocol's version's, if any."""
    version: Version | None = fields.get("version")
    return () if version is None else autoattack(version, fields.get("norm", "linf"))


class AdversarialSpec(TaskSpec):
    """Accuracy under attack: which ball, which radii, which attacks. Radii are in units of pixels in [0, 1].

    Attributes:
        protocol: a list of attacks that others have agreed on, in place of ``attacks``; in turn, radii ascending.
        version: which of the protocol's lists, AutoAttack's ``standard`` when left out.
        curve: ``each`` attacks every image at every radius; ``ascending`` carries on what fell at a smaller one;
            ``bisect`` finds each image's smallest radius by binary search. ``exact`` finds the distance of its nearest
            adversarial image, not a radius of ``eps`` but up to the largest; the mean radius then rests on it. Attacks
            that look for the nearest adversarial image (fab, fab_t, some of foolbox) give the whole curve at once for
            every ``curve``; with ``in_turn`` they are made at each radius.
        in_turn: each attack meets only images that all attacks before it left standing at the same radius
            (AutoAttack's protocol); a curve is then that of the attacks up to this one together.
        top_k: an image counts as correct while its label is among the ``top_k`` highest logits.
        certified: also prove a lower bound of the accuracy, where the network allows it.
        proofs: ``first``: what is proved at a radius is not attacked there, and what a quick attack breaks is not
            bounded, so that every image is broken, proved or undecided. The quick attack counts as one of the list.
        branches: with ``proofs``, how many parts of an image's ball may be bounded where the ball as a whole can not be
            proved (branch and bound); 0 leaves such images undecided.
        probe_queries: forward passes of the random search that checks what stands at the largest radius.
        save_adversarial: keep every adversarial image as an 8-bit PNG, and score it after rounding.
        labels: ``data``: the images' own; ``predicted``: the network's clean answer, for images without labels. Then
            figures say up to which radius the answer stays the same, right or wrong.
        count_passes: say for every image, attack and radius how many forward passes (a black box's queries) and
            backward passes it took.
        sheets: for how many images, from the first, a sheet of their adversarial images is drawn.
        chunk_units: images that are computed and stored together: small ones are attacked up to three times as fast
            a hundred at once, large ones are better kept often.
    """

    family: Annotated[Literal["adversarial"], IDENTITY]
    norm: Annotated[Norm, IDENTITY] = "linf"
    eps: Annotated[tuple[Rational, ...], IDENTITY] = Field(min_length=1)
    protocol: Annotated[Protocol | None, IDENTITY] = Field(default=None, exclude_if=lambda name: name is None)
    version: Annotated[Version | None, IDENTITY] = Field(
        default_factory=_version_unless_given, exclude_if=lambda name: name is None
    )
    curve: Annotated[Curve, IDENTITY] = Field(
        default_factory=lambda fields: "ascending" if fields.get("protocol") else "each"
    )
    in_turn: Annotated[bool, IDENTITY] = Field(default_factory=lambda fields: bool(fields.get("protocol")))
    top_k: Annotated[int, IDENTITY] = Field(default=1, ge=1)
    attacks: Annotated[tuple[Attack, ...], IDENTITY] = Field(default_factory=_listed, min_length=1)
    certified: Annotated[bool, IDENTITY] = False
    proofs: Annotated[Proofs | None, IDENTITY] = Field(default=None, exclude_if=lambda how: how is None)
    branches: Annotated[int, IDENTITY] = Field(default=0, ge=0, le=100_000, exclude_if=lambda most: not most)
    probe_queries: Annotated[int, IDENTITY] = Field(default=50, ge=0)
    save_adversarial: Annotated[bool, IDENTITY] = False
    count_passes: Annotated[bool, IDENTITY] = Field(default=False, exclude_if=lambda count: not count)
    sheets: Annotated[int, IDENTITY] = Field(default=3, ge=0, le=20)
    chunk_units: Annotated[int, IDENTITY] = Field(default=10, ge=1, le=1000)
    labels: Annotated[Labels, IDENTITY] = Field(default="data", exclude_if=lambda labels: labels == "data")
    metrics: Annotated[tuple[MetricName, ...], IDENTITY] = (
        "robust_accuracy",
        "robust_accuracy_of_correct",
        "worst_case",
        "median_eps",
    )

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.tasks.task_spec.TaskSpec.metric_keys`."""
        series = [*(attack.series for attack in self.attacks), "worst"]
        wanted = [name for name in ("robust_accuracy", "robust_accuracy_of_correct") if name in self.metrics]
        radii = [in_255ths(str(eps)) for eps in self.eps]
        keys = [HEADLINE, "worst:curve_area", "worst:stands_at_largest"]
        keys += [] if self.predicted else ["clean_accuracy"]
        keys += [f"{one}:{name}@{eps}" for one in series[:-1] for name in wanted for eps in radii]
        if "worst_case" in self.metrics:
            keys += [f"worst:robust_accuracy@{eps}" for eps in radii]
        if self.curve == "exact":
            keys += ["worst:median_distance"]
        if "median_eps" in self.metrics:
            keys += [f"{one}:median_eps" for one in series]
        if self.proves:
            keys += [f"certified_accuracy@{eps}" for eps in radii]
        if self.proofs is not None:
            keys += [f"undecided@{eps}" for eps in radii]
        return tuple(as_agreement(key) for key in keys) if self.predicted else tuple(keys)

    @property
    def predicted(self) -> bool:
        """Whether the network's own clean answers stand in for labels."""
        return self.labels == "predicted"

    @property
    def proves(self) -> bool:
        """Whether records say what is proved."""
        return self.certified or self.proofs is not None

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
        if self.norm == "l1" and self.version == "plus":
            raise ValueError(
                "version: AutoAttack's authors have no `plus` for `norm: l1`; leave `version` out for standard"
            )
        if self.attacks != autoattack(self.version, self.norm) or not self.in_turn:
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
        if self.in_turn and self.curve in ("bisect", "exact"):
            raise ValueError(
                f"curve: {self.curve} takes each attack alone, so it does not go with in_turn; use ascending"
            )
        if self.curve == "exact" and any(
            each.backend != "assay" or each.transfer_from for each in self.attacks
        ):
            raise ValueError(
                "curve: exact goes with attacks of Assay's own on the network itself; use ascending"
            )
        series = [attack.series for attack in self.attacks]
        for name in series:
            if series.count(name) > 1 or name == "worst":
                raise ValueError(
                    f"attacks: two curves would be called {name!r}; give one a `name` of its own"
                )
        self._check_attacks()
        return self

    @model_validator(mode="after")
    def _proofs_come_first(self) -> "AdversarialSpec":
        if self.proofs is None:
            if self.branches:
                raise ValueError("branches: belongs to proofs; add `proofs: first`")
            return self
        if not self.in_turn:
            raise ValueError(
                "proofs: `first` judges an image for the whole list, so it needs `in_turn: true`"
            )
        if self.certified:
            raise ValueError("proofs: `first` proves what can be proved already; leave `certified` out")
        if self.top_k != 1 or self.expects_randomness:
            raise ValueError(
                "proofs: `first` proves the one highest logit of a network that is not random, so it goes with neither "
                "`top_k` above 1 nor `draws` above 1"
            )
        if any(attack.only_foolbox_has or attack.targeted != "no" for attack in self.attacks):
            raise ValueError(
                "proofs: `first` goes with attacks of Assay's own that aim at no given class; leave the others out, "
                "or leave `proofs` out"
            )
        return self

    def _check_attacks(self) -> None:
        for attack in self.attacks:
            if attack.only_foolbox_has:
                continue
            try:
                check_success(attack, self.top_k, targets=attack.targeted != "no")
            except UserError as error:
                raise ValueError(f"attacks: {error}") from error

    def fitted(self, classes: int) -> "AdversarialSpec":
        """The spec as it runs on a network of so many classes; a spec without a protocol does not change.

        AutoAttack's DLR loss divides by the gap to the third logit, towards a target by that to the third and fourth,
        and its targeted attacks aim at nine wrong classes. The original warns where a network has fewer, and then
        fails. Here the attack climbs the margin, the same difference undivided, and aims at every wrong class.
        """
        if self.protocol is None:
            return self
        return self.model_copy(update={"attacks": tuple(_fitted(each, classes) for each in self.attacks)})

    def fitting_changes(self, classes: int) -> Iterator[str]:
        """What :meth:`fitted` changes, one phrase per change."""
        for asked, run in zip(self.attacks, self.fitted(classes).attacks, strict=True):
            if run.loss != asked.loss:
                yield f"{asked.series} climbs the {run.loss} instead of {asked.loss}"
            if run.restarts != asked.restarts:
                yield f"{asked.series} aims at {run.restarts} wrong classes instead of {asked.restarts}"


def _fitted(attack: AttackSettings, classes: int) -> AttackSettings:
    aims = attack.aims_at_runners_up
    short = attack.loss == "dlr" and classes < (4 if aims else 3)
    return attack.model_copy(
        update={
            "loss": "margin" if short else attack.loss,
            "restarts": min(attack.restarts, classes - 1) if aims else attack.restarts,
        }
    )
