"""What a model says of itself: everything that a task, a job key or a table needs to know (no torch)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from assay.common.validation import StrictModel

Size = Annotated[int, Field(gt=0)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Resize = Size | tuple[Size, Size] | Literal["direct"] | None
Fit = Literal["exact", "cover", "contain"]
Brightness = Annotated[int, Field(ge=0, le=255)]
Layout = Literal["nchw", "nhwc"]
Channels = Literal["rgb", "bgr", "grey"]

_LATER_FIELDS = ("fit", "pad", "channels", "layout")
"""Fields that are younger than published results. At their default they are left out of every dump, so of keys."""

IMAGENET = "imagenet-1k"
"""The label space of the 1,000 ImageNet classes in their usual order."""

UNSTATED = "unstated"
"""The label space of a model whose author did not name one; only the number of classes can be compared."""


Fingerprint = tuple[float, ...]
"""Some numbers of a network's answers to seeded pictures, from :func:`assay.models.fingerprint.fingerprint`."""

_TOLERANCE = 1e-3
"""As a share of the largest number: hundreds of times more than machines, threads and libraries differ by."""


def same_answers(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    """Whether two fingerprints belong to networks that give the same answers."""
    if one is None or other is None:
        return one is other
    largest = max((abs(number) for number in (*one, *other)), default=0.0)
    return len(one) == len(other) and all(
        abs(mine - theirs) <= _TOLERANCE * largest for mine, theirs in zip(one, other, strict=True)
    )


class Preprocessing(StrictModel):
    """How an image becomes the network's input; every field is part of a job's identity.

    Attributes:
        resize: the shorter side in pixels before the crop; (height, width), reached as ``fit`` says; ``"direct"`` to
            resize to ``crop`` at any aspect ratio; or None to leave the image as it is.
        crop: (height, width) in pixels of the central crop.
        interpolation: Pillow's filter of the resize.
        mean: one value per channel, in [0, 1] units, subtracted inside the model.
        std: one value per channel, in [0, 1] units; the model divides by it.
        fit: how an image comes to a ``resize`` of (height, width): ``"exact"`` ignores its aspect ratio; the others
            keep it: ``"cover"`` covers that rectangle, ``"contain"`` lies inside it.
        pad: the colour (0 to 255, one value per channel) around an image that is smaller than the crop after the
            resize; None to refuse such an image.
        channels: the network's own order of channels; mean and std are always in the pictures' order.
        layout: of the network's own input.
    """

    resize: Resize = None
    crop: tuple[Size, Size]
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    fit: Fit = "exact"
    pad: tuple[Brightness, ...] | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Layout = "nchw"

    @model_validator(mode="after")
    def _fields_fit(self) -> "Preprocessing":
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} values and std {len(self.std)}; give one per channel"
            )
        if self.pad is not None and len(self.pad) != len(self.mean):
            raise ValueError(
                f"pad has {len(self.pad)} values and mean {len(self.mean)}; give one per channel"
            )
        if self.fit != "exact" and not isinstance(self.resize, tuple):
            raise ValueError(f"fit {self.fit!r} needs a resize to (height, width), not {self.resize!r}")
        if self.resize == self.crop and self.fit == "exact":
            raise ValueError(f"resize {self.resize} is the crop itself; write 'direct'")
        if self.pad is None and self._may_be_smaller_than_the_crop():
            raise ValueError(
                f"resize {self.resize} is smaller than the crop {self.crop}; give `pad`, the colour around it"
                if self.fit != "contain"
                else "fit 'contain' leaves a border; give `pad`, its colour"
            )
        return self

    def _may_be_smaller_than_the_crop(self) -> bool:
        """Whether the resize makes images that are smaller than the crop."""
        if isinstance(self.resize, int):
            return self.resize < min(self.crop)
        if isinstance(self.resize, tuple):
            below = any(side < cropped for side, cropped in zip(self.resize, self.crop, strict=True))
            return below or self.fit == "contain"
        return False

    @model_serializer(mode="wrap")
    def _dumped(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; those in :data:`_LATER_FIELDS` only if they say something."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in dump(self).items()
            if name not in _LATER_FIELDS or getattr(self, name) != fields[name].default
        }


class StatedAccuracy(StrictModel):
    """The clean accuracy that a network's maker states.

    Attributes:
        value: share of images, in (0, 1].
        data: the images it was measured on, such as the name of a data manifest.
        n: how many they were; None where it is not stated.
    """

    value: Annotated[float, Field(gt=0, le=1)]
    data: Annotated[str, Field(min_length=1, max_length=200)]
    n: Size | None = None


class OutputChoice(StrictModel):
    """Which of a network's outputs are its logits.

    Attributes:
        tensor: of several outputs, its place from 0 or its name; None for the only one, or the one that is known.
        drop: places of logits that are no class, such as a background class 0 of 1,001.
    """

    tensor: Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)] | None = None
    drop: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _drops_differ(self) -> "OutputChoice":
        if len(set(self.drop)) < len(self.drop):
            raise ValueError(f"drop {list(self.drop)} names a place twice; name each once")
        return self


class TrainedOn(StrictModel):
    """The pictures that a network was trained on, as far as they are known.

    Attributes:
        data: in words for a reader: the name of their data set, or what else their maker calls them.
        file: a list of their hashes (:mod:`assay.data.contents`); None where they are all pictures of ``data``.
    """

    data: Annotated[str, Field(min_length=1, max_length=200)]
    file: str | None = None


PLAIN_OUTPUT = OutputChoice()
"""Whether the output is left unspecified."""


@dataclass(frozen=True)
class Card:
    """What is known of a model before it is loaded: :class:`ModelInfo` without what only the network shows.

    ``num_classes`` is None where nobody says it, and then what the network returns; ``output`` is what a user says of
    where its logits are.
    """

    name: str
    source: str
    licence: str
    architecture: str
    label_space: str
    num_classes: int | None
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    clean_accuracy: StatedAccuracy | None = None
    output: OutputChoice = PLAIN_OUTPUT
    notes: tuple[str, ...] = ()
    trained_on: TrainedOn | None = None

    def of_user(self) -> "Card":
        """The same network with weights that the user brought."""
        return replace(self, source="the user's weights", licence="unstated", trained_on=None)

    def noting(self, *notes: str) -> "Card":
        """The same network with further notes."""
        return replace(self, notes=(*self.notes, *notes))


class ModelInfo(StrictModel):
    """A model's card.

    Attributes:
        name: the name under which ``load_model`` finds it (no folder of this machine).
        source: who made the weights.
        licence: as its authors state it.
        weights_sha256: of the weight file, or of the state dict where there is no file.
        architecture: the network without its weights.
        label_space: the meaning of the logits' indices, or :data:`UNSTATED`.
        num_classes: the number of logits.
        input_shape: (channels, height, width).
        preprocessing: from image to input.
        piecewise_linear: whether the logits are known to be a piecewise linear function of the pixels.
        max_pooling: whether the network holds 2-D max pooling as a layer.
        structure_sha256: of what the network does beside its weights (:mod:`assay.models.structure`); None in
            documents that are older than this field.
        fingerprint: of its answers (:mod:`assay.models.fingerprint`); None where there are none to compare.
        classes: the model's own names of its classes, in the order of the logits; () where it has none.
        clean_accuracy: as the network's maker states it; a guard compares with it.
        notes: what a reader must know of how the network was read, a sentence each.
        trained_on: its training pictures; a guard looks for them among a task's.
    """

    name: str
    source: str
    licence: str
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    architecture: str
    label_space: str
    num_classes: Annotated[int, Field(gt=0)]
    input_shape: tuple[Size, Size, Size]
    preprocessing: Preprocessing
    piecewise_linear: bool
    max_pooling: bool = False
    structure_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    fingerprint: Fingerprint | None = None
    classes: tuple[str, ...] = ()
    clean_accuracy: StatedAccuracy | None = None
    notes: tuple[str, ...] = ()
    trained_on: TrainedOn | None = None

    @model_validator(mode="after")
    def _shapes_fit(self) -> "ModelInfo":
        channels, *size = self.input_shape
        if len(self.preprocessing.mean) != channels:
            raise ValueError(
                f"{len(self.preprocessing.mean)} means for {channels} channels; give one per channel"
            )
        if tuple(size) != self.preprocessing.crop:
            raise ValueError(
                f"input {tuple(size)} and crop {self.preprocessing.crop} differ; make them equal"
            )
        if self.classes and len(self.classes) != self.num_classes:
            raise ValueError(
                f"names {len(self.classes)} classes where the network has {self.num_classes} logits; make them agree"
            )
        return self

    def with_resize(self, resize: Resize) -> "ModelInfo":
        """The same network behind another resize, such as ``"direct"``, which then is exact."""
        changed = {"resize": resize, "fit": "exact", **({"pad": None} if resize == "direct" else {})}
        return self.model_copy(update={"preprocessing": self.preprocessing.model_copy(update=changed)})

    def identity(self) -> dict[str, Any]:
        """What decides the network's answers, as plain JSON; it is in the key of everything that is made with it."""
        return {
            "architecture": self.architecture,
            "weights_sha256": self.weights_sha256,
            "structure_sha256": self.structure_sha256,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
        }
