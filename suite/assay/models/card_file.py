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

from pydantic import AfterValidator, Field, model_validator

from assay.common.errors import UserError
from assay.common.validation import StrictModel, read_yaml, validate
from assay.data.manifest import PUBLIC_LABEL_SPACES
from assay.models.card_parts import InputPart, NetworkPart, Prose, WeightsPart
from assay.models.info import UNSTATED, OutputChoice, Size, StatedAccuracy, TrainedOn
from assay.models.places import find_weights, weight_folders

SUFFIXES = (".yaml", ".yml")
KEY = "network"
"""The key that tells a model card from any other document."""


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", name):
        raise ValueError("expected 1 to 80 letters, digits and . _ + -, a letter or digit first")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Classes = Annotated[tuple[Annotated[int, Field(ge=0)] | Prose, ...], Field(strict=False, min_length=1)]
_WITH_WEIGHTS = ("onnx", "program")
_KNOWN_OF_ZOO = {"input", "output", "label_space", "num_classes", "weights", "clean_accuracy"}


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

    @model_validator(mode="after")
    def _of_zoo(self) -> Self:
        if self.network.zoo is None:
            return self
        if self.superclasses is None:
            raise ValueError(
                f"network zoo is for `superclasses`; without them name the model itself: --model {self.network.zoo}"
            )
        known = sorted(self.model_fields_set & _KNOWN_OF_ZOO)
        if known:
            raise ValueError(f"`{known[0]}` of a network of the zoo is known; leave it out")
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
