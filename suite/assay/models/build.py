"""A network and its card put together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from assay.models.adapters import AtLeastTwo, OwnInput, ReversedChannels, takes_one
from assay.models.check import LogitsCountError
from assay.models.fingerprint import fingerprint
from assay.models.info import Card, ModelInfo, Preprocessing
from assay.models.loaded import LoadedModel, normalised
from assay.models.outputs import IMAGES, OutputReading, read_output
from assay.models.piecewise import is_piecewise_linear
from assay.models.structure import structure_sha256


def assemble(net: nn.Module, card: Card, weights_sha256: str, code: Sequence[str] = ()) -> LoadedModel:
    """``net`` with its full card, from pixels to logits. This is the one place where a network is wrapped.

    A network that takes RGB pixels and returns logits is left as it is.

    Args:
        net: normalised input (N, C, H, W), its channels in the card's order, to logits (N, classes) or to something
            that holds them.
        card: what is known of it.
        weights_sha256: of its weight file or state dict.
        code: further Python modules whose text decides what the network does, such as its factory's.

    Raises:
        UserError: the network fails, or what it returns holds no logits of the card's number of classes.
    """
    preprocessing = card.preprocessing
    input_shape = (len(preprocessing.mean), *preprocessing.crop)
    net = net.eval().requires_grad_(False)
    images = torch.rand((IMAGES, *input_shape), generator=torch.Generator().manual_seed(0))
    unchanged = images._version  # PyTorch counts what is done in place to a tensor and to its views
    whole = _from_pixels(net, preprocessing)
    with torch.random.fork_rng(devices=[]):  # a network that draws numbers leaves the caller's as they are
        reading = read_output(whole, images, card.name, card.output, card.num_classes)
        _check_count(reading, card)
        module = whole if reading.returns_logits else _from_pixels(reading.of(net), preprocessing)
        module, notes = _for_any_batch(module, images, changed=images._version != unchanged)
    info = ModelInfo(
        name=card.name,
        source=card.source,
        licence=card.licence,
        weights_sha256=weights_sha256,
        architecture=card.architecture,
        label_space=card.label_space,
        num_classes=reading.num_classes,
        input_shape=input_shape,
        preprocessing=preprocessing,
        piecewise_linear=is_piecewise_linear(net),
        max_pooling=any(isinstance(layer, nn.MaxPool2d) for layer in net.modules()),
        structure_sha256=structure_sha256(module, code),
        fingerprint=fingerprint(module, input_shape),
        classes=card.classes,
        clean_accuracy=card.clean_accuracy,
        notes=(*card.notes, *reading.notes, *notes),
        trained_on=card.trained_on,
    )
    return LoadedModel(info, module)


def _from_pixels(net: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    """The network behind its order of channels and its normalisation."""
    return normalised(ReversedChannels(net) if preprocessing.channels == "bgr" else net, preprocessing)


def _check_count(reading: OutputReading, card: Card) -> None:
    """Refuse another number of logits than the card's.

    Raises:
        LogitsCountError: with both numbers.
    """
    if card.num_classes not in (None, reading.num_classes):
        raise LogitsCountError(
            f"{card.name}: {card.num_classes} classes are stated, but it returns {reading.num_classes} logits; "
            "correct the number or the list of classes, or say by `output: {drop: [0]}` which logits are none",
            reading.num_classes,
        )


def _for_any_batch(module: nn.Module, images: Tensor, changed: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """The model, made to take a single image too and to leave its input as it is; and what a reader must know.

    Args:
        module: pixels to logits.
        images: (2, C, H, W).
        changed: whether a pass writes into its input.
    """
    notes: tuple[str, ...] = ()
    if not takes_one(module, images.clone()):
        module = AtLeastTwo(module)
        notes = ("the network takes no single image, so a single one is shown to it twice",)
    return (OwnInput(module) if changed else module), notes
