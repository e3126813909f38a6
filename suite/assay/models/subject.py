"""The network behind a model's name, without any convention, for `assay doctor`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.build import assemble
from assay.models.card_file import SUFFIXES, CardFile, read_card_file
from assay.models.card_parts import InputPart, NetworkPart, WeightsPart
from assay.models.conventions import Convention, described
from assay.models.entries import card_file, onnx_file
from assay.models.from_card import CardNetwork, network_of
from assay.models.info import UNSTATED, Card, Layout, OutputChoice, Preprocessing
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model

_LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc")


@dataclass(frozen=True)
class Subject:
    """A network as it is, and the card that would bring it in.

    Attributes:
        networks: from layout (None where its shape tells) to the network of (N, C, H, W) in its own values and order.
        shape: channels, height, width.
        own: what the model says of itself, or None.
        card: of the network, without input and output; None where no card can name it.
        place: where that card lies, or could lie: its files are relative to its folder.
    """

    networks: dict[Layout | None, nn.Module]
    shape: tuple[int, int, int]
    own: Convention | None
    card: CardFile | None
    place: Path


def open_subject(name: str, weights: Path | None = None) -> Subject:
    """The network of a model's name.

    Raises:
        UserError: as :func:`assay.models.zoo.load_model`; only the input of a card may be wrong.
    """
    if name.endswith(SUFFIXES):
        place = card_file.card_path(name)
        return _of_card(place, read_card_file(place))
    if name.startswith(onnx_file.PREFIX):
        file = Path(name.removeprefix(onnx_file.PREFIX))
        bare = CardFile(schema_version=1, name=_plain(file.stem), network=NetworkPart(onnx=file.name))
        return _of_card(file.with_suffix(SUFFIXES[0]), bare)
    return _of_model(name, load_model(name, weights=weights), weights)


def _of_card(place: Path, card: CardFile) -> Subject:
    """The card's network, in each layout that its shape allows; what the card says of its input is left aside."""
    bare = card.model_copy(
        update={"input": InputPart(size=card.input.size), "output": OutputChoice(tensor=card.output.tensor)}
    )
    whole = bare
    if card.output.drop and card.class_count is not None:  # a head has the dropped classes too
        logits = card.class_count + len(card.output.drop)
        whole = bare.model_copy(update={"num_classes": logits, "label_space": UNSTATED})
    try:
        found: dict[Layout | None, CardNetwork] = {None: network_of(place, whole)}
    except UserError as error:
        found = {}
        for layout in _LAYOUTS:
            try:
                either = InputPart(size=card.input.size, layout=layout)
                found[layout] = network_of(place, whole.model_copy(update={"input": either}))
            except UserError:
                continue
        if not found:
            raise error
    first = next(iter(found.values()))
    said = bare.input.preprocessing(first.preprocessing, str(place))
    shape = (len(said.mean), *said.crop)
    own = (
        described(first.preprocessing)
        if first.preprocessing and card.network.kind in ("timm", "torchvision")
        else None
    )
    return Subject(
        {layout: _logits(each, bare, shape) for layout, each in found.items()}, shape, own, bare, place
    )


def _logits(found: CardNetwork, bare: CardFile, shape: tuple[int, int, int]) -> nn.Module:
    """The network alone, every one of its logits, for any batch."""
    channels, *size = shape
    plain = Preprocessing(crop=(size[0], size[1]), mean=(0.0,) * channels, std=(1.0,) * channels)
    card = Card(
        name=bare.name,
        source=bare.source,
        licence=bare.licence,
        architecture=found.architecture,
        label_space=UNSTATED,
        num_classes=None,
        preprocessing=plain,
        output=found.output,
    )
    return assemble(found.module, card, found.weights_sha256, found.code).module


class _Undone(nn.Module):
    """A model without its normalisation and order of channels."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, values: Tensor) -> Tensor:
        """values: (N, C, H, W) as the network itself takes them; returns logits."""
        preprocessing = self._model.info.preprocessing
        ordered = values.flip(1) if preprocessing.channels == "bgr" else values
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
        logits: Tensor = self._model.module(ordered * std + mean)
        return logits


def _of_model(name: str, model: LoadedModel, weights: Path | None) -> Subject:
    own = described(model.info.preprocessing)
    network = _network_part(name)
    card = None
    if network is not None:
        card = CardFile(
            schema_version=1,
            name=_plain(name),
            network=network,
            weights=WeightsPart(file=str(weights.resolve())) if weights else None,
            source=model.info.source,
            licence=model.info.licence,
        )
    return Subject({None: _Undone(model)}, model.info.input_shape, own, card, Path("card.yaml"))


def _network_part(name: str) -> NetworkPart | None:
    """What a card calls the model, or None."""
    for prefix, kind in (("timm/", "timm"), ("torchvision/", "torchvision")):
        if name.startswith(prefix):
            return NetworkPart(**{kind: name.removeprefix(prefix)})
    module, colon, attribute = name.partition(":")
    if colon and attribute.isidentifier() and module.replace(".", "_").isidentifier():
        return NetworkPart(factory=name)
    from torchvision import models

    return NetworkPart(torchvision=name) if name in models.list_models(module=models) else None


def _plain(name: str) -> str:
    """A name that a card may have."""
    return (
        "".join(letter if letter.isalnum() or letter in "._+-" else "-" for letter in name).strip("-._+")
        or "mine"
    )
