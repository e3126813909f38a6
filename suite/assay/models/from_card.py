"""From a model card to the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import nn

from assay.common.errors import UserError
from assay.models.adapters import in_layout
from assay.models.build import assemble
from assay.models.card_file import CardFile, file_of, trained_on_of
from assay.models.card_parts import Kind
from assay.models.check import LogitsCountError
from assay.models.checkpoints import StateDict
from assay.models.entries import timm_names, torchvision_names, user_factory
from assay.models.image_shape import Shape, image_shape
from assay.models.info import PLAIN_OUTPUT, UNSTATED, Card, OutputChoice, Preprocessing
from assay.models.loaded import LoadedModel
from assay.models.onnx_graph import network as onnx_network
from assay.models.program_file import read_program
from assay.models.superclasses import grouped
from assay.models.weights import file_sha256, files_sha256, load_weights


@dataclass(frozen=True)
class CardNetwork:
    """What a card's ``network`` and ``weights`` are.

    Attributes:
        module: takes normalised (N, C, H, W), channels in the card's order; returns what the network returns.
        weights_sha256: of all files that hold its weights.
        architecture: the network without its weights.
        preprocessing: as its own source says, for what the card leaves out; None where it says nothing.
        label_space: as its own source says.
        output: which of its outputs are the logits, as the card says and as far as ``module`` does not obey it already.
        code: modules of Python whose text decides what the network does.
        notes: what a reader must know of how it was read.
    """

    module: nn.Module
    weights_sha256: str
    architecture: str
    preprocessing: Preprocessing | None
    label_space: str = UNSTATED
    output: OutputChoice = PLAIN_OUTPUT
    code: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A library of architectures, as a module of :mod:`assay.models.entries` knows it; errors are UserErrors."""

    def card_of(self, asked: str) -> Card:
        """What the library says of the network with its published weights."""

    def build(self, asked: str, num_classes: int | None = None) -> nn.Module:
        """The network with fresh weights, of as many classes as the published ones where ``num_classes`` is None."""

    def published(self, asked: str) -> Path:
        """The file of the published weights."""

    def current_names(self, state: StateDict) -> StateDict:
        """Published tensors under the names of ``build``."""


def load_card(path: Path, card: CardFile) -> LoadedModel:
    """The model that the card at ``path`` describes, on the CPU.

    Raises:
        UserError: a file is missing or of another network, or the network is not what the card says.
    """
    if card.network.zoo is not None and card.superclasses is not None:
        return grouped(_renamed(path, card), card.superclasses, str(path))
    found = network_of(path, card)
    preprocessing = card.input.preprocessing(found.preprocessing, str(path))
    label_space = card.label_space if isinstance(card.label_space, str) else UNSTATED
    described = Card(
        name=card.name,
        source=card.source,
        licence=card.licence,
        architecture=found.architecture,
        label_space=label_space if "label_space" in card.model_fields_set else found.label_space,
        num_classes=card.class_count,
        preprocessing=preprocessing,
        clean_accuracy=card.clean_accuracy,
        classes=card.classes,
        output=found.output,
        notes=found.notes,
        trained_on=trained_on_of(card.trained_on, path),
    )
    try:
        model = assemble(found.module, described, found.weights_sha256, found.code)
    except LogitsCountError as error:
        card.check_count(error.found, str(path))
        raise
    return model if card.superclasses is None else grouped(model, card.superclasses, str(path))


def _renamed(path: Path, card: CardFile) -> LoadedModel:
    """A network of the zoo under the card's name; what the card says of source, licence and training counts."""
    from assay.models.foreign import NOBODY, load_named

    name = card.network.value
    if not NOBODY.allows(name):
        raise UserError(
            f"{path}: `network.zoo` names {name!r}, which the zoo does not have; see `assay list models`"
        )
    model = load_named(name, str(path))
    said: dict[str, object] = {
        key: getattr(card, key) for key in ("source", "licence") if key in card.model_fields_set
    }
    if card.trained_on is not None:
        said["trained_on"] = trained_on_of(card.trained_on, path)
    return replace(model, info=model.info.model_copy(update={"name": card.name, **said}))


def network_of(path: Path, card: CardFile) -> CardNetwork:
    """The network that a card names, in the card's layout; what the card says of values and classes is left aside.

    Raises:
        UserError: a file is missing or of another network, or the layout contradicts the network.
    """
    return _NETWORKS[card.network.kind](path, card)


def _onnx(path: Path, card: CardFile) -> CardNetwork:
    file = file_of(path, card.network.value)
    found = onnx_network(file, layout=card.input.layout, output=card.output.tensor, card=path)
    _check_size(path, card, found.shape)
    channels, *size = found.shape
    plain = Preprocessing(
        resize="direct",
        crop=(size[0], size[1]),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        layout=found.layout,
    )
    rest = card.output.model_copy(update={"tensor": None})  # the graph has the one that was chosen
    return CardNetwork(found.module, files_sha256(found.files), "onnx", plain, output=rest, notes=found.notes)


def _check_size(path: Path, card: CardFile, shape: Shape) -> None:
    """Refuse another size than a file fixes."""
    said, own = card.input.size, shape[1:]
    if said not in (None, own):
        raise UserError(
            f"{path}: `input.size` {list(said or ())} contradicts the network's input, whose height and width are "
            f"{list(own)}; correct it"
        )


def _program(path: Path, card: CardFile) -> CardNetwork:
    file = file_of(path, card.network.value)
    program = read_program(file)
    shape, layout = image_shape(program.shape, card.input.layout, str(path))
    _check_size(path, card, shape)
    module = in_layout(program.module, layout)
    plain = Preprocessing(crop=shape[1:], mean=(0.0,) * shape[0], std=(1.0,) * shape[0], layout=layout)
    return CardNetwork(module, file_sha256(file), "torch.export", plain, output=card.output)


def _of_library(source: Source, path: Path, card: CardFile) -> CardNetwork:
    """An architecture of a library, with its published weights or the card's."""
    name = card.network.value
    published = source.card_of(name)
    logits = None if card.class_count is None else card.class_count + len(card.output.drop)
    trained_anew = logits not in (None, published.num_classes)
    if card.weights is None and trained_anew:
        raise UserError(
            f"{path}: the published weights of {name} are of {published.num_classes} classes, not {logits}; name the "
            "fine-tuned ones by `weights: {file: …}`"
        )
    file = file_of(path, card.weights.file) if card.weights else source.published(name)
    module = source.build(name, logits)
    taken = load_weights(module, file, card.weights.key if card.weights else None, source.current_names)
    return CardNetwork(
        in_layout(module, card.input.layout or "nchw"),
        taken.sha256,
        published.architecture,
        published.preprocessing,
        UNSTATED if trained_anew else published.label_space,
        card.output,
        notes=taken.notes,
    )


def _timm(path: Path, card: CardFile) -> CardNetwork:
    return _of_library(timm_names, path, card)


def _torchvision(path: Path, card: CardFile) -> CardNetwork:
    return _of_library(torchvision_names, path, card)


def _factory(path: Path, card: CardFile) -> CardNetwork:
    """A factory's network; what it says of itself counts where the card says nothing."""
    name = card.network.value
    made = user_factory.made_by(name)
    weights = card.weights
    taken = made.weights(file_of(path, weights.file), weights.key) if weights else made.weights()
    said = made.preprocessing
    return CardNetwork(
        in_layout(made.module, card.input.layout or (said.layout if said else "nchw")),
        taken.sha256,
        made.architecture,
        said,
        made.fields.label_space if isinstance(made.fields.label_space, str) else UNSTATED,
        card.output if card.output != PLAIN_OUTPUT else made.fields.output,
        made.code,
        taken.notes,
    )


def _known(path: Path, card: CardFile) -> CardNetwork:
    """Nobody has to find out how a network of the zoo wants its pictures."""
    raise UserError(f"{path}: input and output of {card.network.value} are known; ask of it by its own name")


_NETWORKS: Mapping[Kind, Callable[[Path, CardFile], CardNetwork]] = {
    "onnx": _onnx,
    "program": _program,
    "timm": _timm,
    "torchvision": _torchvision,
    "factory": _factory,
    "zoo": _known,
}
