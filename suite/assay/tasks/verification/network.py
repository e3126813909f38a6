"""A network of torch layers read as affine blocks, ReLUs and max pooling in float64.

The verifier sees a network as `layers`: an affine block, then gates on its outputs, and so on; the last block has
none. A ReLU opens a gate where its output is positive. Max pooling becomes three parts: an affine block copies the
entries of each window side by side, gates pass the largest entry alone, and the next block sums over each window. Ties
go to the first entry of a window, as in torch. Values that a later block reads too, such as the skipped branch of a
residual block, are outputs without a gate (see `blocks`).
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from assay.common.errors import UserError
from assay.models.chain import NotAChainError, graph_of
from assay.tasks.verification.blocks import AffineValue, Blocks
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.nodes import LAYERS, GraphNode, UnsupportedLayerError, read_node

Shape = tuple[int, int, int]
_SAME = 1e-9  # of the largest logit: what another order of sums may change


@dataclass(frozen=True)
class PiecewiseNetwork:
    """A piecewise linear classifier.

    Attributes:
        layers: the blocks, float64; the last has no splits.
        input_shape: (channels, height, width) of one image.
        module: the network itself in float64, evaluation mode, for confirmation by automatic differentiation.
    """

    layers: tuple[Layer, ...]
    input_shape: Shape
    module: nn.Module

    @property
    def neurons(self) -> int:
        """Number of ReLUs (max-pooling comparisons included)."""
        return sum(layer.neurons for layer in self.layers)

    @property
    def pools(self) -> bool:
        """Whether it has max pooling."""
        return any(layer.window for layer in self.layers)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return len(self.layers[-1].bias)

    def logits(self, images: Tensor) -> Tensor:
        """The network itself on images `(N, channels, height, width)` float64: `(N, classes)`.

        Run one image at a time: a graph read from ONNX may have its batch size fixed at one.
        """
        return torch.cat([self.module(image[None]).reshape(1, -1) for image in images])


def read_network(module: nn.Module, input_shape: Shape) -> PiecewiseNetwork:
    """Read a torch module as a piecewise linear network.

    Args:
        module: any graph of the layers and functions that `nodes` reads, pixels in [0, 1] to logits. It is copied, put
            in evaluation mode and in float64.
        input_shape: (channels, height, width).

    Raises:
        UnsupportedLayerError: a node of the graph is of another kind or one too many (the error names it), or the graph
            cannot be read off the module.
        UserError: a weight is NaN or infinite.
    """
    module = exact_copy(module)
    network = PiecewiseNetwork(read_layers(module, input_shape), input_shape, module)
    _check_answers(network)
    return network


def exact_copy(module: nn.Module) -> nn.Module:
    """A float64 copy in evaluation mode; raises UserError for weights that are not finite."""
    module = copy.deepcopy(module).cpu().double().eval().requires_grad_(False)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(
                f"the weights {name} hold NaN or infinite values: use a network with finite weights"
            )
    return module


def read_layers(module: nn.Module, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The blocks of a module in float64 whose input has this shape (without the batch)."""
    module = nn.Sequential(module) if type(module) in LAYERS else module
    try:
        graph = graph_of(module, LAYERS)
    except NotAChainError as error:
        raise UnsupportedLayerError(error.layer, error.why) from error
    blocks = Blocks()
    unread = {node: set(node.users) for node in graph.nodes}
    sizes: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = [each for each in node.all_input_nodes if each.name in blocks.values]
        if node.op == "placeholder":
            blocks.values[node.name] = AffineValue((), None, shape)
        elif node.op == "output":
            return blocks.finish(_values_of(node, blocks)[0])
        elif _gives_a_size(node, sizes):
            sizes.add(node)
        elif node.op != "get_attr":  # constants of an ONNX graph (the shape of a reshape)
            graph_node = _graph_node(node, module, blocks)
            # A value goes once its last reader is read, so that no block carries it further.
            for each in inputs:
                unread[each].discard(node)
                if not unread[each]:
                    del blocks.values[each.name]
            blocks.values[node.name] = read_node(graph_node, blocks)
    raise UnsupportedLayerError(type(module).__name__, "its graph has no output")


def _gives_a_size(node: fx.Node, sizes: set[fx.Node]) -> bool:
    """Whether a node gives (a part of) the shape of a value, which no picture changes."""
    of_a_value = node.target == "size" or (node.target is getattr and node.args[1] == "shape")
    return bool(of_a_value) or (node.target is operator.getitem and node.args[0] in sizes)


def _graph_node(node: fx.Node, module: nn.Module, blocks: Blocks) -> GraphNode:
    values = _values_of(node, blocks)
    settings = [each for each in node.args if not any(_is_value(part, blocks) for part in _flat(each))]
    if node.op == "call_module":
        what: Any = module.get_submodule(str(node.target))
        label = f"{node.target} ({type(what).__name__})"
    else:
        what = node.target
        label = f"{node.name} ({getattr(what, '__name__', what)})"
    return GraphNode(label, what, tuple(values), tuple(settings), dict(node.kwargs))


def _values_of(node: fx.Node, blocks: Blocks) -> list[AffineValue]:
    """The inputs of a node that depend on the picture, in order, one that is read twice twice."""
    return [blocks.values[each.name] for each in _flat(node.args) if _is_value(each, blocks)]


def _is_value(argument: object, blocks: Blocks) -> TypeGuard[fx.Node]:
    return isinstance(argument, fx.Node) and argument.name in blocks.values


def _flat(arguments: object) -> Iterator[object]:
    """Arguments, those in lists one by one."""
    for each in arguments if isinstance(arguments, tuple | list) else [arguments]:
        if isinstance(each, tuple | list):
            yield from _flat(each)
        else:
            yield each


def _check_answers(network: PiecewiseNetwork) -> None:
    """Refuse a network that answers otherwise than the layers of its graph (as when it changes a value in place)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, *network.input_shape, generator=generator, dtype=torch.float64)
    rows = images.flatten(1)
    for layer in network.layers:
        rows = layer.linear(rows) + layer.bias
        rows = rows * layer.open_gates(rows)
    logits = network.logits(images)
    if rows.shape != logits.shape or not (rows - logits).abs().max() <= _SAME * logits.abs().max():
        raise UnsupportedLayerError(
            type(network.module).__name__, "the layers of its graph do not answer as the network does"
        )
