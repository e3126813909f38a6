"""From a model card to the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from assay.errors import UserError
from assay.models.adapters import in_layout
from assay.models.build import assemble
from assay.models.card_file import CardFile, Kind, file_of
from assay.models.image_shape import image_shape
from assay.models.info import UNSTATED, Card, Preprocessing
from assay.models.loaded import LoadedModel
from assay.models.onnx_graph import network as onnx_network
from assay.models.program_file import read_program
from assay.models.weights import file_sha256, files_sha256


@dataclass(frozen=True)
class Network:
    """What a card's ``network`` and ``weights`` are.

    Attributes:
        module: from (N, C, H, W), channels in the card's order and normalised, to logits.
        weights_sha256: of everything its weights lie in.
        architecture: the network without its weights.
        num_classes: the number of its logits.
        preprocessing: as its own source says, for what the card leaves out; None where it says nothing.
    """

    module: nn.Module
    weights_sha256: str
    architecture: str
    num_classes: int
    preprocessing: Preprocessing | None


def load_card(path: Path, card: CardFile) -> LoadedModel:
    """The model that the card at ``path`` describes, on the CPU.

    Raises:
        UserError: a file is missing or of another network, or the network is not what the card says.
    """
    found = network_of(path, card)
    preprocessing = card.input.preprocessing(found.preprocessing, str(path))
    card.check_count(found.num_classes, str(path))
    described = Card(
        name=card.name,
        source=card.source,
        licence=card.licence,
        architecture=found.architecture,
        label_space=card.label_space if isinstance(card.label_space, str) else UNSTATED,
        num_classes=found.num_classes,
        preprocessing=preprocessing,
        clean_accuracy=card.clean_accuracy,
        classes=card.classes,
    )
    return assemble(found.module, described, found.weights_sha256)


def network_of(path: Path, card: CardFile) -> Network:
    """The network that a card names, in the layout that it says, whatever it says of values and classes.

    Raises:
        UserError: a file is missing or of another network, or the layout contradicts the network.
    """
    return _NETWORKS[card.network.kind](path, card)


def _onnx(path: Path, card: CardFile) -> Network:
    file = file_of(path, card.network.value)
    found = onnx_network(file, layout=card.input.layout, output=card.output.tensor)
    channels, *size = found.shape
    plain = Preprocessing(
        resize="direct",
        crop=(size[0], size[1]),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        layout=found.layout,
    )
    return Network(found.module, files_sha256(found.files), "onnx", found.num_classes, plain)


def _program(path: Path, card: CardFile) -> Network:
    file = file_of(path, card.network.value)
    program = read_program(file)
    shape, layout = image_shape(program.shape, card.input.layout, str(path))
    module = in_layout(program.module, layout)
    plain = Preprocessing(crop=shape[1:], mean=(0.0,) * shape[0], std=(1.0,) * shape[0], layout=layout)
    return Network(module, file_sha256(file), "torch.export", _count_logits(module, shape, file), plain)


def _count_logits(module: nn.Module, shape: tuple[int, int, int], file: Path) -> int:
    with torch.no_grad():
        logits = module(torch.full((2, *shape), 0.5))
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise UserError(f"{file}: does not return (images, classes); export a classifier that does")
    return logits.shape[1]


_NETWORKS: Mapping[Kind, Callable[[Path, CardFile], Network]] = {"onnx": _onnx, "program": _program}
