"""Model cards: a YAML file that brings a network in without Python, and the fields that a factory may say (no torch).

::

    schema: 1
    name: resnet_2b
    network: {onnx: resnet_2b.onnx}       # or timm, torchvision, factory, program
    input: {mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616]}

Files are named relative to the card's folder.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from assay.common.errors import UserError
from assay.common.validation import StrictModel, read_yaml, validate
from assay.data.manifest import PUBLIC_LABEL_SPACES
from assay.models.info import (
    UNSTATED,
    Channels,
    Interpolation,
    Layout,
    OutputChoice,
    Preprocessing,
    Resize,
    Size,
    StatedAccuracy,
    TrainedOn,
)
from assay.models.places import find_weights, weight_folders

SUFFIXES = (".yaml", ".yml")
KEY = "network"
"""The key that tells a model card from any other document."""

Prose = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", name):
        raise ValueError("expected 1 to 80 letters, digits and . _ + -, a letter or digit first")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Classes = Annotated[tuple[Annotated[int, Field(ge=0)] | Prose, ...], Field(strict=False, min_length=1)]
Kind = Literal["onnx", "timm", "torchvision", "factory", "program"]
_KINDS: tuple[Kind, ...] = ("onnx", "timm", "torchvision", "factory", "program")
_WITH_WEIGHTS = ("onnx", "program")


class NetworkPart(StrictModel):
    """Where the network comes from; exactly one of these.

    Attributes:
        onnx: an ONNX file.
        timm: the name of one of timm's architectures.
        torchvision: the name of one of torchvision's classifiers.
        factory: ``package.module:function``, as on the command line.
        program: a file that ``torch.export.save`` wrote (``.pt2``).
    """

    onnx: Prose | None = None
    timm: Prose | None = None
    torchvision: Prose | None = None
    factory: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    program: Prose | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"network names {' and '.join(given) or 'nothing'}; give exactly one of {', '.join(_KINDS)}"
            )
        return self

    @property
    def kind(self) -> Kind:
        """Which kind is given."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def value(self) -> str:
        """The file's or the network's name."""
        return str(getattr(self, self.kind))


class WeightsPart(StrictModel):
    """The weight file of a network that does not hold its own.

    Attributes:
        file: a state dict, ``.safetensors`` or a PyTorch checkpoint.
        key: which of several state dicts in the file, such as ``state_dict_ema``.
    """

    file: Prose
    key: Prose | None = None


class ResizePart(StrictModel):
    """The resize before the centre crop to ``size``.

    Attributes:
        shorter: the shorter side in pixels; the aspect ratio is kept.
        exact: (height, width) in pixels, whatever the aspect ratio.
        interpolation: Pillow's filter.
    """

    shorter: Size | None = None
    exact: tuple[Size, Size] | None = None
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.shorter is None) == (self.exact is None):
            raise ValueError("resize takes exactly one of `shorter` and `exact`")
        return self

    @property
    def smallest(self) -> tuple[int, int]:
        """The least (height, width) that comes out."""
        return self.exact or (self.shorter or 0, self.shorter or 0)


def _resize_kind(value: object) -> str:
    return "word" if isinstance(value, str) else "way"


# Chosen by hand, so that an error message speaks of the kind that was meant, not of both.
ResizeSaid = Annotated[
    Annotated[ResizePart, Tag("way")] | Annotated[Literal["none"], Tag("word")], Discriminator(_resize_kind)
]


class InputPart(StrictModel):
    """How a picture becomes the network's input; what is left out is as the network's own source says.

    Attributes:
        size: (height, width) in pixels.
        layout: ``nchw`` or ``nhwc``, of what the network takes.
        range: of the pixels that mean and std are said in, [0, 1] or [0, 255].
        channels: ``rgb``, ``bgr`` or ``grey``.
        mean: one value per channel, in the range's unit, in the network's order of channels; 0 where left out.
        std: as `mean`; 1 where left out.
        resize: before the centre crop to ``size``; the word ``none`` for the crop alone.
    """

    size: tuple[Size, Size] | None = None
    layout: Layout | None = None
    range: tuple[float, float] = (0, 1)
    channels: Channels | None = None
    mean: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    std: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    resize: ResizeSaid | None = None

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.range not in ((0, 1), (0, 255)):
            raise ValueError(
                f"range {list(self.range)} is neither [0, 1] nor [0, 255]; say another by `mean` and `std`"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            wanted = self._channel_count
            if values is not None and wanted is not None and len(values) != wanted:
                raise ValueError(
                    f"{name} has {len(values)} values for {wanted} channels; give one per channel"
                )
        if any(value <= 0 for value in self.std or ()):
            raise ValueError(f"std {list(self.std or ())} is a divisor; give values above 0")
        if self.size and (fault := self._too_small(self.size)):
            raise ValueError(fault)
        return self

    def _too_small(self, size: tuple[int, int]) -> str | None:
        """What is wrong with a resize to less than the crop, or None."""
        if not isinstance(self.resize, ResizePart) or not any(map(int.__lt__, self.resize.smallest, size)):
            return None
        shown = self.resize.shorter or list(self.resize.smallest)
        return f"resize {shown} is smaller than the crop to size {list(size)}; make it as large"

    @property
    def _channel_count(self) -> int | None:
        """How many channels this part states; None where it states none."""
        if self.channels is not None:
            return 1 if self.channels == "grey" else 3
        return next((len(values) for values in (self.mean, self.std) if values is not None), None)

    def preprocessing(self, default: Preprocessing | None, where: str) -> Preprocessing:
        """From picture to input, in full.

        Args:
            default: what the network's own source says, for what is left out; None where it says nothing. Mean and
                std, resize and crop each are taken from one source.
            where: of the card, for messages.

        Raises:
            UserError: the size is nowhere, or it contradicts the network's own.
        """
        if default is None and self.size is None:
            raise UserError(f"{where}: `input.size` is missing, and the network does not say it; give it")
        size = self.size or (default.crop if default else (1, 1))
        known = len(default.mean) if default else None
        channels = self._channel_count or known or 3
        if known is not None and channels != known:
            raise UserError(
                f"{where}: `input` speaks of {channels} channels where the network takes {known}; correct "
                "`channels`, `mean` and `std`"
            )
        mean, std = self._normalisation(default, channels)
        resize, interpolation = self._resize(default, size)
        if fault := self._too_small(size):
            raise UserError(f"{where}: `input.resize`: {fault}")
        return Preprocessing(
            resize=resize,
            crop=size,
            interpolation=interpolation,
            mean=mean,
            std=std,
            channels="bgr" if self.channels == "bgr" else "rgb",
            layout=self.layout or (default.layout if default else "nchw"),
        )

    def _normalisation(
        self, default: Preprocessing | None, channels: int
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std in [0, 1] units, in the pictures' order of channels."""
        unsaid = self.mean is None and self.std is None and self.range == (0, 1) and self.channels is None
        if default is not None and unsaid:
            return default.mean, default.std
        unit = self.range[1]
        mean = tuple(value / unit for value in self.mean or (0.0,) * channels)
        std = tuple(value / unit for value in self.std or (1.0,) * channels)
        return (mean[::-1], std[::-1]) if self.channels == "bgr" else (mean, std)

    def _resize(self, default: Preprocessing | None, size: tuple[int, int]) -> tuple[Resize, Interpolation]:
        if self.resize is None:
            if default is not None and self.size in (None, default.crop):
                return default.resize, default.interpolation
            return None, "bilinear"
        if self.resize == "none":
            return None, "bilinear"
        resize: Resize = self.resize.shorter or self.resize.exact
        return "direct" if resize == size else resize, self.resize.interpolation


class CardFields(StrictModel):
    """What a card, or a factory in the dictionary beside its network, says of a network.

    Attributes:
        num_classes: the number of logits, dropped classes not counted.
        label_space: what the logits' indices mean: a name, or the list of the model's own class names.
        input: from picture to input.
        output: which of the network's outputs are the logits.
        clean_accuracy: as the network's maker states it.
        source: who made the weights.
        licence: as they state it.
        paper: where the network is described.
        trained_on: a data set (its name, or a manifest's path) all of whose pictures the network was trained on, or a
            list of hashes as `assay train` writes it (``trained_on.txt``).
    """

    num_classes: Size | None = None
    label_space: Prose | Annotated[tuple[Prose, ...], Field(min_length=2)] = UNSTATED
    input: InputPart = InputPart()
    output: OutputChoice = OutputChoice()
    clean_accuracy: StatedAccuracy | None = None
    source: Prose = UNSTATED
    licence: Prose = UNSTATED
    paper: Prose | None = None
    trained_on: Prose | None = None

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        if isinstance(self.label_space, str):
            public = PUBLIC_LABEL_SPACES.get(self.label_space)
            if public is not None and self.num_classes not in (None, public):
                raise ValueError(
                    f"label space {self.label_space} has {public} classes, not {self.num_classes}; correct one"
                )
        elif len(set(self.label_space)) < len(self.label_space):
            twice = next(name for name in self.label_space if self.label_space.count(name) > 1)
            raise ValueError(f"label_space names the class {twice!r} twice; rename one")
        elif self.num_classes not in (None, len(self.label_space)):
            raise ValueError(
                f"label_space lists {len(self.label_space)} classes where `num_classes` is {self.num_classes}"
            )
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's own class names; () where it lists none."""
        return () if isinstance(self.label_space, str) else self.label_space

    @property
    def class_count(self) -> int | None:
        """The number of classes; None where it is not stated."""
        return len(self.classes) if self.classes else self.num_classes

    def check_count(self, num_classes: int, where: str) -> None:
        """Refuse another number of logits than is stated.

        Raises:
            UserError: with both numbers.
        """
        said = self.class_count
        if said is not None and said != num_classes:
            key = "label_space" if self.classes else "num_classes"
            raise UserError(
                f"{where}: `{key}` speaks of {said} classes, but the network returns {num_classes} logits; "
                "correct it, or say by `output: {drop: [0]}` which logits are none"
            )


class CardFile(CardFields):
    """A model card.

    Attributes:
        schema_version: written ``schema: 1``.
        name: under which results are filed.
        network: where the network comes from.
        weights: its weight file; None for the published weights, or those that the network holds.
        superclasses: name to the classes in it, by index, name or WordNet id; the network is then asked about these,
            and all other classes are one more, ``other``.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    network: NetworkPart
    weights: WeightsPart | None = None
    superclasses: Annotated[dict[Name, Classes], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights is not None and self.network.kind in _WITH_WEIGHTS:
            raise ValueError(f"network {self.network.kind} has its weights inside; leave out `weights`")
        return self

    @property
    def file_names(self) -> dict[str, str]:
        """Key to name of every file that the card names."""
        named = (
            {f"network.{self.network.kind}": self.network.value} if self.network.kind in _WITH_WEIGHTS else {}
        )
        named |= {"weights.file": self.weights.file} if self.weights else {}
        return named | (
            {"trained_on": self.trained_on} if self.trained_on and is_hash_list(self.trained_on) else {}
        )


def is_hash_list(trained_on: str) -> bool:
    """Whether ``trained_on`` names a list of hashes, and no data set."""
    return trained_on.endswith(".txt")


def trained_on_of(said: str | None, path: Path | None = None) -> TrainedOn | None:
    """What is known of the training pictures from what a card, or a factory where ``path`` is None, says of them.

    Raises:
        UserError: the list that it names is nowhere.
    """
    if said is None or not is_hash_list(said):
        return None if said is None else TrainedOn(data=said)
    file = file_of(path, said) if path else Path(said).expanduser().resolve()
    return TrainedOn(data=file.name, file=str(file))


def read_card_file(path: Path, *, confined: bool = False) -> CardFile:
    """The card in a YAML file; the files that it names need not be there.

    Args:
        path: of the card.
        confined: refuse files outside the card's folder, as for a card that a stranger wrote.

    Raises:
        UserError: it is missing or malformed, names itself, or leaves its folder where that is refused.
    """
    document = read_yaml(path)
    card = validate(CardFile, document, str(path))
    for key, name in card.file_names.items():
        if confined:
            refuse_outside(path, key, name)
        if (path.parent / Path(name).expanduser()).resolve() == path.resolve():
            raise UserError(f"{path}: `{key}` names the card itself; name the network's file")
    return card


def refuse_outside(path: Path, key: str, name: str) -> None:
    """Refuse the name of a file that does not lie in the folder of the card ``path``, or is a link out of it.

    Raises:
        UserError: it does not.
    """
    inside = path.parent.resolve()
    if (
        Path(name).is_absolute()
        or "\\" in name
        or name.startswith("~")
        or not (inside / name).resolve().is_relative_to(inside)
    ):
        raise UserError(
            f"{path}: `{key}` names {name!r}, which leaves the card's folder; name a file inside it"
        )


def file_of(path: Path, name: str) -> Path:
    """Where a file lies that the card ``path`` names: beside the card, or else in a folder of weights.

    Raises:
        UserError: it is nowhere; says where it was looked for.
    """
    beside = path.parent / Path(name).expanduser()
    found = beside if beside.is_file() else find_weights(name)
    if found is None:
        folders = ", ".join(str(folder) for folder in weight_folders())
        raise UserError(f"{path}: names {name}, which is neither at {beside} nor in {folders}; put it there")
    return found


def check_describes(path: Path, card: CardFile, file: Path) -> None:
    """Refuse a card that lies beside the ONNX file ``file`` and is of another network.

    Raises:
        UserError: it is.
    """
    named = card.network.onnx
    if named is None or (path.parent / named).resolve() != file.resolve():
        raise UserError(
            f"{path}: is taken for the card of {file.name} beside it, but names {named or card.network.value}; "
            "correct `network`, or rename the card"
        )


def is_card(path: Path) -> bool:
    """Whether a YAML file means to be a model card, valid or not."""
    if path.suffix not in SUFFIXES:
        return False
    try:
        return KEY in read_yaml(path)
    except UserError:
        return False


def as_card_fields(said: dict[str, Any], where: str) -> CardFields:
    """The fields of a card in a dictionary that a program made.

    Raises:
        UserError: a field is wrong.
    """
    return validate(CardFields, said, where)
