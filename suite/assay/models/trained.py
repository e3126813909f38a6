"""The card that lies beside a trained network: what it is, and the hashes of what made it (no torch)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from assay.common.atomic import write_atomically
from assay.common.errors import UserError
from assay.common.validation import StrictModel, read_yaml, validate
from assay.models.info import Card, Preprocessing, TrainedOn

PREFIX = "trained:"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.yaml"
TRAINED_ON_FILE = "trained_on.txt"

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class StatedTraining:
    """What the ``source`` of a trained network's card says of its training; ``str`` writes it, :meth:`read` reads it.

    Attributes:
        title: the recipe's.
        data_sha256: of training and test images and how they were chosen.
        recipe_sha256: of the recipe's identity, its seed included; None where networks of all seeds are meant.
    """

    title: str
    data_sha256: str
    recipe_sha256: str | None

    def __str__(self) -> str:
        recipe = "recipe" if self.recipe_sha256 is None else f"recipe {self.recipe_sha256}"
        return f"trained by Assay: {self.title} ({recipe}, data {self.data_sha256})"

    @classmethod
    def read(cls, source: str) -> StatedTraining | None:
        """What a source says; None where Assay did not train the network."""
        found = _SOURCE.fullmatch(source)
        return None if found is None else cls(found["title"], found["data"], found["recipe"])


_SOURCE = re.compile(
    r"trained by Assay: (?P<title>.+) \(recipe( (?P<recipe>[0-9a-f]{64}))?, data (?P<data>[0-9a-f]{64})\)"
)


class TrainedCard(StrictModel):
    """``model.yaml``.

    Attributes:
        schema_version: written ``schema: 1``.
        title: the recipe's.
        method: the training method's name.
        architecture: one of :data:`assay.models.architectures.ARCHITECTURES`.
        label_space: the meaning of the logits' indices.
        num_classes: the number of logits.
        preprocessing: from image to input.
        seed: of the training.
        epochs: passes over the data.
        accuracy: clean accuracy on the recipe's test images, in [0, 1].
        train_seconds: seconds spent in training steps, evaluation left out.
        train_cpu_seconds: likewise, of the training process; what a comparison on a busy machine should use.
        preparation_seconds: seconds spent on the saliency maps, for this training or an earlier one.
        weights_sha256: of the file ``model.safetensors``.
        recipe_sha256: of the recipe's identity, its seed included.
        data_sha256: of training and test images and how they were chosen.
        training_key: of everything that decides the weights: recipe, data, teacher.
        made_with: versions, device and threads: the same training gives other last bits with others.
        recipe: of the training, with every setting and both selections of images written out; None in cards that are
            older than this field.
        trained_on_sha256: of the file ``trained_on.txt``, the hashes of the training images; None in cards that are
            older than this field.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    title: str
    method: str
    architecture: str
    label_space: str
    num_classes: Annotated[int, Field(gt=0)]
    preprocessing: Preprocessing
    seed: int
    epochs: int
    accuracy: float
    train_seconds: float
    train_cpu_seconds: float
    preparation_seconds: float
    weights_sha256: Hash
    recipe_sha256: Hash
    data_sha256: Hash
    training_key: Hash
    made_with: dict[str, Any]
    recipe: dict[str, Any] | None = None
    trained_on_sha256: Hash | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (len(self.preprocessing.mean), *self.preprocessing.crop)

    def card(self, name: str, folder: Path | None = None) -> Card:
        """The zoo's card of this network.

        Args:
            name: under which it is found.
            folder: where it lies, with the list of its training images; None where nobody asks for them.
        """
        known = folder is not None and self.trained_on_sha256 is not None
        found: Any = self.recipe
        for key in ("data", "train", "manifest"):
            found = found.get(key) if isinstance(found, dict) else None
        data = found if isinstance(found, str) else "its recipe's data"
        return Card(
            name=name,
            source=str(StatedTraining(self.title, self.data_sha256, self.recipe_sha256)),
            licence="unstated",
            architecture=self.architecture,
            label_space=self.label_space,
            num_classes=self.num_classes,
            preprocessing=self.preprocessing,
            trained_on=TrainedOn(data=data, file=str(folder / TRAINED_ON_FILE)) if folder and known else None,
        )


def read_card(folder: Path) -> TrainedCard:
    """The card of the trained network in ``folder``.

    Raises:
        UserError: there is none, or it is malformed.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise UserError(
            f"{folder}: holds no trained network ({CARD_FILE} is missing); train one with "
            f"`assay train RECIPE --out {folder}`"
        )
    return validate(TrainedCard, read_yaml(path), str(path))


def check_weights(folder: Path, card: TrainedCard) -> Path:
    """The weight file in ``folder``, once it and the list of training images are those that the card describes.

    Raises:
        UserError: one of them is missing, cannot be read, is damaged or is of another training.
    """
    if card.trained_on_sha256 is not None:
        _checked(folder, TRAINED_ON_FILE, card.trained_on_sha256, "the hashes of the training images")
    return _checked(folder, WEIGHTS_FILE, card.weights_sha256, "the weights")


def _checked(folder: Path, name: str, expected: str, what: str) -> Path:
    from assay.models.weights import file_sha256

    path = folder / name
    again = f"put the file back, or delete the folder {folder} and train again"
    if not path.is_file():
        raise UserError(f"{path}: {what} of this trained network are missing; {again}")
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
    if sha256 != expected:
        raise UserError(
            f"{path}: is not the file that {CARD_FILE} beside it describes, but damaged or of another training "
            f"(SHA-256 {sha256[:8]}…, expected {expected[:8]}…); {again}"
        )
    return path


def write_card(folder: Path, card: TrainedCard) -> None:
    """Write ``model.yaml``; a folder that has it is a finished training.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    document = card.model_dump(mode="json", by_alias=True)
    write_atomically(folder / CARD_FILE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
