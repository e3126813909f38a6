"""Recipes: what is trained, on what, and how; strict, versioned and hashable (no torch)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.fields import IDENTITY, RUNTIME, identity_of
from assay.common.validation import StrictModel
from assay.models.architectures import ARCHITECTURES
from assay.models.info import Interpolation, Preprocessing, Resize, Size
from assay.training.methods import Method, Salient, TeacherSaliency

_MOST = 2**31  # of images and epochs: torch counts in 64 bits
_MOST_SEED = 2**63 - 1
_HIGHEST = 1e30  # what an optimiser multiplies by must fit 32-bit floating point

Rate = Annotated[float, Field(gt=0, le=_HIGHEST, allow_inf_nan=False), IDENTITY]
Decay = Annotated[float, Field(ge=0, le=_HIGHEST, allow_inf_nan=False), IDENTITY]
Fraction_ = Annotated[float, Field(ge=0, lt=1), IDENTITY]


class Sgd(StrictModel):
    """Stochastic gradient descent with Nesterov's or plain momentum."""

    name: Annotated[Literal["sgd"], IDENTITY]
    lr: Rate
    momentum: Fraction_ = 0.0
    nesterov: Annotated[bool, IDENTITY] = False
    weight_decay: Decay = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum greater than 0")
        return self


class Adam(StrictModel):
    """Adam (Kingma and Ba 2015)."""

    name: Annotated[Literal["adam"], IDENTITY]
    lr: Rate
    betas: Annotated[tuple[Fraction_, Fraction_], IDENTITY] = (0.9, 0.999)
    weight_decay: Decay = 0.0


class Adadelta(StrictModel):
    """Adadelta (Zeiler 2012), with torch's defaults."""

    name: Annotated[Literal["adadelta"], IDENTITY]
    lr: Rate
    rho: Fraction_ = 0.9
    weight_decay: Decay = 0.0


Optimiser = Annotated[Sgd | Adam | Adadelta, Field(discriminator="name")]


class Constant(StrictModel):
    """The same rate throughout."""

    name: Annotated[Literal["constant"], IDENTITY] = "constant"

    def factor(self, progress: float) -> float:
        """What the rate is multiplied by, ``progress`` in [0, 1) through the training."""
        return 1.0


class Drops(StrictModel):
    """The rate is multiplied by ``factor`` at each of the parts ``at`` of the training, each in (0, 1)."""

    name: Annotated[Literal["drops"], IDENTITY]
    at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1), IDENTITY]
    by: Annotated[float, Field(gt=0, lt=1), IDENTITY] = 0.1

    def factor(self, progress: float) -> float:
        """See :meth:`Constant.factor`."""
        return float(self.by ** sum(progress >= place for place in self.at))


class Cosine(StrictModel):
    """Half a cosine from the full rate to 0, after a linear rise over the first ``warmup`` of the training."""

    name: Annotated[Literal["cosine"], IDENTITY]
    warmup: Annotated[float, Field(ge=0, lt=1), IDENTITY] = 0.0

    def factor(self, progress: float) -> float:
        """See :meth:`Constant.factor`."""
        if progress < self.warmup:
            return progress / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


Schedule = Annotated[Constant | Drops | Cosine, Field(discriminator="name")]


class Selection(StrictModel):
    """Some of a data set's images, in its order.

    Attributes:
        manifest: its name or file; on the runtime side because the hash of the data is in the training's key.
        skip: how many are left out at the beginning.
        per_class: how many of each class are taken at most.
        first: how many are taken at most of those.
    """

    manifest: Annotated[str, RUNTIME]
    skip: Annotated[int, Field(ge=0), IDENTITY] = 0
    per_class: Annotated[int | None, Field(ge=1), IDENTITY] = None
    first: Annotated[int | None, Field(ge=1), IDENTITY] = None


class Data(StrictModel):
    """The images to train on, and those that clean accuracy is measured on after each epoch."""

    train: Annotated[Selection, IDENTITY]
    test: Annotated[Selection, IDENTITY]


class Input(StrictModel):
    """How an image becomes the network's input, as in :class:`assay.models.info.Preprocessing`.

    ``levels`` is the greatest value of the data's own scale, where that is below 255. Pixels are rounded to multiples
    of 1/levels, as they were before they were spread over 0 to 255. This is done in training alone.
    """

    resize: Annotated[Resize, IDENTITY] = None
    crop: Annotated[tuple[Size, Size], IDENTITY]
    interpolation: Annotated[Interpolation, IDENTITY] = "bilinear"
    mean: Annotated[tuple[float, ...], IDENTITY]
    std: Annotated[tuple[float, ...], IDENTITY]
    levels: Annotated[int | None, Field(ge=1, lt=255, exclude_if=lambda levels: levels is None), IDENTITY] = (
        None
    )

    @model_validator(mode="after")
    def _is_preprocessing(self) -> Input:
        _ = self.preprocessing
        return self

    @property
    def preprocessing(self) -> Preprocessing:
        """The same for a model's card."""
        return Preprocessing(
            resize=self.resize,
            crop=self.crop,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


def _known(name: str) -> str:
    if name not in ARCHITECTURES:
        raise ValueError(f"expected one of {', '.join(ARCHITECTURES)}")
    return name


class Recipe(StrictModel):
    """One training.

    Attributes:
        schema_version: written ``schema: 1``.
        title: one line.
        description: prose: what the paper says, what it leaves open, what was chosen.
        method: a block of :mod:`assay.training.methods`, chosen by its ``name``.
        architecture: a name in :data:`assay.models.architectures.ARCHITECTURES`.
        start_from: a network of the zoo, of the same architecture, whose weights the training begins with; its last
            layer is left out where it has other classes. A path in its name starts at the recipe's folder. The weights'
            hash is in the training's key, the name is not.
        input: size and normalisation.
        data: what is trained and tested on.
        optimiser: ``sgd``, ``adam`` or ``adadelta``.
        schedule: of the learning rate.
        epochs: passes over the training images.
        batch_size: images per step; the last step of an epoch takes what is left.
        seed: of the first weights, the order and everything random.
        precision: what the training calculates in; the weights are stored in float32. In float64 it uses one thread,
            and one seed gives one network. Other processors sum in another order, which changes sums by some 1e-15;
            rounding to float32 hides this, except for a rare weight's last bit. In float32 they grow within three
            epochs to differences of 0.1 in a weight.
        generators: ``one_per_epoch``, or ``one`` from which first the weights and then each epoch's order are drawn.
    """

    schema_version: Annotated[Literal[1], IDENTITY] = Field(alias="schema")
    title: Annotated[str, RUNTIME]
    description: Annotated[str, RUNTIME] = ""
    method: Annotated[Method, IDENTITY]
    architecture: Annotated[str, AfterValidator(_known), IDENTITY]
    start_from: Annotated[str | None, RUNTIME] = None
    input: Annotated[Input, IDENTITY]
    data: Annotated[Data, IDENTITY]
    optimiser: Annotated[Optimiser, IDENTITY]
    schedule: Annotated[Schedule, IDENTITY] = Constant()
    epochs: Annotated[int, Field(ge=1, le=_MOST), IDENTITY]
    batch_size: Annotated[int, Field(ge=1, le=_MOST), IDENTITY]
    seed: Annotated[int, Field(ge=0, le=_MOST_SEED), IDENTITY] = 0
    # Fields that are younger than published networks: left out of a key where they say what was always done.
    precision: Annotated[
        Literal["float32", "float64"], Field(exclude_if=lambda name: name == "float32"), IDENTITY
    ] = "float32"
    generators: Annotated[
        Literal["one_per_epoch", "one"], Field(exclude_if=lambda name: name == "one_per_epoch"), IDENTITY
    ] = "one_per_epoch"

    @property
    def sha256(self) -> str:
        """Hash of the identity side."""
        return canonical_sha256(identity_of(self))

    @property
    def teacher(self) -> str | None:
        """The network whose saliency the method follows, where it has one by name."""
        block = self.method
        if isinstance(block, Salient) and isinstance(block.saliency, TeacherSaliency):
            return block.saliency.teacher
        return None

    def with_seed(self, seed: int) -> Recipe:
        """The same recipe with another seed.

        Raises:
            UserError: it is negative or too large.
        """
        if not 0 <= seed <= _MOST_SEED:
            raise UserError(
                f"{self.title}: a seed is a number from 0 to {_MOST_SEED}, not {seed}; choose one of these"
            )
        return self.model_copy(update={"seed": seed})

    def with_teacher(self, teacher: str) -> Recipe:
        """The same recipe with saliency from the network called ``teacher``.

        Raises:
            UserError: the method follows no teacher.
        """
        block = self.method
        if not (isinstance(block, Salient) and isinstance(block.saliency, TeacherSaliency)):
            raise UserError(
                f"{self.title}: the method {block.name} takes no saliency from a teacher; leave out the teacher"
            )
        saliency = block.saliency.model_copy(update={"teacher": teacher})
        return self.model_copy(update={"method": block.model_copy(update={"saliency": saliency})})
