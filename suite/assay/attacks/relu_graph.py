"""Networks as graphs of affine layers, ReLUs and sums, read off torch modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.attacks.affine_layers import Shape
from assay.attacks.images import Model
from assay.common.errors import UserError
from assay.models.chain import (
    ONNX_FLATTENS,
    JoinedStep,
    NotAChainError,
    Step,
    joined_steps_of,
    steps_of,
    with_normalisation_as_layer,
)

_KNOWN = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.Flatten, nn.Unflatten)
_AT_REST = (nn.Identity, nn.Dropout)
_RELUS = (torch.relu, nn.functional.relu, "relu")
_FLATTENS = (torch.flatten, "flatten")
_SAME = 1e-4  # of the largest logit: what another order of sums may change


class Add(nn.Module):
    """The sum of two values (a residual add)."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Both (N, ...) of one shape."""
        return first + second


@dataclass(frozen=True)
class ReluGraph:
    """A network that can be bounded; its values are the image, then what each layer gives.

    Attributes:
        layers: Linear, Conv2d, BatchNorm in eval mode, ReLU, Flatten, Unflatten and :class:`Add`, ordered so that each
            reads earlier values; from pixels in [0, 1] to logits.
        inputs: which values each layer reads: 0 is the image, k + 1 what layer k gives.
        shapes: the shape of each value, without the batch.
    """

    layers: tuple[nn.Module, ...]
    inputs: tuple[tuple[int, ...], ...]
    shapes: tuple[Shape, ...]

    @property
    def is_affine(self) -> bool:
        """Whether it has no ReLU."""
        return not any(isinstance(layer, nn.ReLU) for layer in self.layers)

    def before(self, layer: int) -> Shape:
        """The shape of what a layer reads."""
        return self.shapes[self.inputs[layer][0]]


@torch.no_grad()
def chain_of(model: Model, images: Tensor) -> ReluGraph:
    """A model's layers in order, a normalisation in front and ONNX graphs included.

    Args:
        model: Pixels in [0, 1] to logits, in eval mode.
        images: (N, C, H, W); the chain must answer them as the model does. One is enough.

    Raises:
        UserError: The model is no chain, has a layer that cannot be bounded (named), or answers otherwise.
    """
    try:
        steps = steps_of(with_normalisation_as_layer(_module(model)), (*_KNOWN, *_AT_REST))
    except NotAChainError as error:
        raise UserError(f"bounds: {error}") from error
    return _graph([(step, (number,)) for number, step in enumerate(steps)], model, images)


@torch.no_grad()
def relu_graph_of(model: Model, images: Tensor) -> ReluGraph:
    """As :func:`chain_of`, of models too that branch and add up again (residual networks)."""
    try:
        steps = joined_steps_of(with_normalisation_as_layer(_module(model)), (*_KNOWN, *_AT_REST))
    except NotAChainError as error:
        raise UserError(f"bounds: {error}") from error
    return _graph(steps, model, images)


def _module(model: Model) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise UserError("bounds: the model is no torch module, so that its layers cannot be read")
    return model


def _graph(steps: Sequence[JoinedStep], model: Model, images: Tensor) -> ReluGraph:
    """The steps as a graph that answers as the model does."""
    layers: list[nn.Module] = []
    inputs: list[tuple[int, ...]] = []
    values = [images[:1]]
    number = {0: 0}  # by the steps' numbering, which counts layers at rest too
    try:
        for position, (step, read) in enumerate(steps, start=1):
            if isinstance(step[1], _AT_REST):
                number[position] = number[read[0]]
                continue
            layers.append(_layer(step, len(read)))
            inputs.append(tuple(number[each] for each in read))
            values.append(layers[-1](*(values[each] for each in inputs[-1])))
            number[position] = len(layers)
    except RuntimeError as error:  # a reshape that does not flatten
        raise UserError(
            f"bounds: the network is not the plain chain that its layers make ({error})"
        ) from error
    logits = model(images[:1])
    same = values[-1].shape == logits.shape and number[len(steps)] == len(layers)
    if not same or not (values[-1] - logits).abs().max() <= _SAME * logits.abs().max():
        raise UserError("bounds: the chain of the network's layers does not answer as the network does")
    return ReluGraph(tuple(layers), tuple(inputs), tuple(tuple(value.shape[1:]) for value in values))


def _layer(step: Step, reads: int) -> nn.Module:
    name, what = step
    if reads == 2:
        return Add()
    if isinstance(what, nn.Module):
        if type(what).__name__ in ONNX_FLATTENS:
            return nn.Flatten()
        if isinstance(what, nn.ReLU):  # never in place: another layer may read the same value
            return nn.ReLU()
        if isinstance(what, _KNOWN) and _is_plain(what):
            return what
    elif what in _RELUS:
        return nn.ReLU()
    elif what in _FLATTENS:
        return nn.Flatten()
    kind = type(what).__name__ if isinstance(what, nn.Module) else name
    raise UserError(
        f"bounds: cannot bound a layer {kind}: only chains of Linear, Conv2d with zero padding, BatchNorm with "
        "running statistics, ReLU and Flatten"
    )


def _is_plain(layer: nn.Module) -> bool:
    """Whether it is affine at evaluation, and alike at every place."""
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return layer.running_mean is not None and not layer.training
    return True
