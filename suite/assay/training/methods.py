"""The training methods' settings, each a block of a recipe (no torch)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from assay.common.fields import IDENTITY, RUNTIME, Rational, StepSize
from assay.common.validation import StrictModel
from assay.saliency.settings import settings_of

Start = Literal["image", "nudged", "uniform", "salient"]
"""Where an inner maximisation begins, or what is added to an image where there is none."""

Eps = Annotated[Rational, Field(ge=0, le=1), IDENTITY]
Steps = Annotated[int, Field(ge=1), IDENTITY]
Share = Annotated[float, Field(ge=0, le=1), IDENTITY]
Weight = Annotated[float, Field(ge=0), IDENTITY]


class TeacherSaliency(StrictModel):
    """Saliency of the training images by another network, for their labels, computed once before the training.

    Methods that give one number per channel give each channel its own sign: the paper's delta has one number per
    component.

    Attributes:
        source: the word ``teacher``.
        teacher: the network, such as ``trained:DIR``; its weights' hash is in the training's key, its name is not.
        method: a name in :data:`assay.saliency.settings.METHODS`.
        settings: of that method.
        threshold: what a component's saliency must exceed to count as salient (+1): 0, or the mean or median of its
            image's components. The paper says only "by using thresholds".
    """

    source: Annotated[Literal["teacher"], IDENTITY]
    teacher: Annotated[str | None, RUNTIME] = None
    method: Annotated[str, IDENTITY]
    settings: Annotated[dict[str, Any], IDENTITY] = Field(default_factory=dict)
    threshold: Annotated[Literal["zero", "mean", "median"], IDENTITY] = "zero"

    @model_validator(mode="after")
    def _is_a_method(self) -> TeacherSaliency:
        settings_of(self.method, self.settings)
        return self


class WeakSaliency(StrictModel):
    """Saliency that the data set itself carries: +1 inside each image's bounding box or mask, -1 outside.

    Images without either have none: their perturbation stays a random sign.
    """

    source: Annotated[Literal["annotation"], IDENTITY]


class ForegroundSaliency(StrictModel):
    """Weak saliency of pictures on a dark ground, which are their own mask: +1 where some channel exceeds ``above``.

    For MNIST and Fashion-MNIST, which have no boxes and no masks.
    """

    source: Annotated[Literal["foreground"], IDENTITY]
    above: Annotated[Rational, Field(ge=0, lt=1), IDENTITY]


Saliency = Annotated[TeacherSaliency | WeakSaliency | ForegroundSaliency, Field(discriminator="source")]


class Salient(StrictModel):
    """What every method with saliency has (Mangla et al.).

    Attributes:
        saliency: where the maps come from.
        alpha: a pixel of the perturbation is a random sign with probability ``alpha ** t``, else minus its saliency.
        t_counts: what t counts. The paper writes "t" of a training step; in epochs the change is spread over the whole
            training, however long it is.
    """

    saliency: Annotated[Saliency, IDENTITY]
    alpha: Annotated[float, Field(gt=0, lt=1), IDENTITY]
    t_counts: Annotated[Literal["steps", "epochs"], IDENTITY] = "epochs"


class Regular(StrictModel):
    """Cross-entropy on the images as they are."""

    name: Annotated[Literal["regular"], IDENTITY]


class SaliencyGuided(StrictModel):
    """Saliency-guided training (Ismail et al. 2021; Karkehabadi, equation 1).

    Attributes:
        name: ``saliency_guided``.
        share: the part of each image's pixels, those of the lowest gradient magnitude, that is replaced.
        weight: lambda, the weight of KL(f(x) || f(x~)); the text gives no value, Ismail et al. use 1.
    """

    name: Annotated[Literal["saliency_guided"], IDENTITY]
    share: Share = 0.5
    weight: Weight = 1.0


class Noise(StrictModel):
    """Cross-entropy on images with uniform noise in [-eps, eps]; Mangla's "Original + Uniform-Noise"."""

    name: Annotated[Literal["noise"], IDENTITY]
    eps: Eps
    start: ClassVar[Start] = "uniform"


class Sat(Salient):
    """Saliency-based adversarial training: cross-entropy on clip(x + eps * delta)."""

    name: Annotated[Literal["sat"], IDENTITY]
    eps: Eps
    start: ClassVar[Start] = "salient"


class InnerAttack(StrictModel):
    """An inner maximisation in the L-infinity ball.

    Attributes:
        eps: radius, in units of pixels in [0, 1].
        steps: gradient steps.
        step_size: ``2/255`` or ``0.25 eps``.
    """

    eps: Eps
    steps: Steps
    step_size: Annotated[StepSize, IDENTITY]


class Pgd(InnerAttack):
    """Adversarial training by PGD (Madry et al. 2018): cross-entropy on the last iterate.

    It starts at the image by default, because the paper has "PGD + uniform noise" beside it; Madry's own starts
    at a uniform random point (``start_at: uniform``).
    """

    name: Annotated[Literal["pgd"], IDENTITY]
    start_at: Annotated[Literal["image", "uniform"], IDENTITY] = "image"

    @property
    def start(self) -> Start:
        """Where the ascent begins."""
        return self.start_at


class PgdNoise(InnerAttack):
    """PGD from a uniform random point of the ball."""

    name: Annotated[Literal["pgd_noise"], IDENTITY]
    start: ClassVar[Start] = "uniform"


class PgdSat(InnerAttack, Salient):
    """PGD from clip(x + eps * delta), which then needs fewer steps."""

    name: Annotated[Literal["pgd_sat"], IDENTITY]
    start: ClassVar[Start] = "salient"


class TradesClimb(InnerAttack):
    """What the TRADES methods share: CE(f(x), y) + weight * KL(f(x) || f(x')), x' climbing that divergence.

    ``weight`` is 1/lambda in Zhang et al. 2019 (6 in their experiments on CIFAR-10; Mangla et al. give none).
    """

    weight: Weight = 6.0


class Trades(TradesClimb):
    """TRADES; it starts at the image plus 0.001 times one standard normal number per pixel, as Zhang et al. do.

    At the image itself the divergence has no slope.
    """

    name: Annotated[Literal["trades"], IDENTITY]
    start: ClassVar[Start] = "nudged"


class TradesNoise(TradesClimb):
    """TRADES from a uniform random point of the ball."""

    name: Annotated[Literal["trades_noise"], IDENTITY]
    start: ClassVar[Start] = "uniform"


class TradesSat(TradesClimb, Salient):
    """TRADES from clip(x + eps * delta)."""

    name: Annotated[Literal["trades_sat"], IDENTITY]
    start: ClassVar[Start] = "salient"


class FgsmAdversarial(StrictModel):
    """Adversarial training with FGSM: clean_weight * CE(x) + (1 - clean_weight) * CE(x*).

    Attributes:
        name: ``fgsm_adversarial``.
        eps: in units of pixels in [0, 1]; the paper's pixels lie in [0, 255], so that its 1 is 1/255 here. The
            text gives the eps of its evaluation (1) and none for its training.
        clean_weight: alpha.
    """

    name: Annotated[Literal["fgsm_adversarial"], IDENTITY]
    eps: Eps
    clean_weight: Share = 0.5


class FgsmConsistent(StrictModel):
    """Dong's consistent loss: ``fgsm_adversarial`` + consistency_weight * ||phi(x) - phi(x*)||_2.

    phi is the last convolution's output. beta weighs features, not pixels: as in the paper it depends on the network,
    and not on the pixels' scale where the network normalises its input.

    Attributes:
        name: ``fgsm_consistent``.
        eps: as in :class:`FgsmAdversarial`.
        clean_weight: alpha.
        consistency_weight: beta.
    """

    name: Annotated[Literal["fgsm_consistent"], IDENTITY]
    eps: Eps
    clean_weight: Share = 0.5
    consistency_weight: Weight = 0.1


Method = Annotated[
    Regular | SaliencyGuided | Noise | Sat | Pgd | PgdNoise | PgdSat | Trades | TradesNoise | TradesSat
    | FgsmAdversarial | FgsmConsistent,
    Field(discriminator="name"),
]  # fmt: skip
