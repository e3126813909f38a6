"""Reads a network as a graph of layers, and as a plain chain of them; ONNX graphs too."""

import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn

from assay.common.errors import UserError
from assay.models.loaded import Normalised

ONNX_FLATTENS = frozenset({"OnnxFlatten", "OnnxReshape"})
"""Layers of onnx2torch that classifiers flatten with. A reader checks that its chain gives the same answers."""

Step = tuple[str, object]
"""A layer's name, and the layer, the function or the name of the method that is called."""


JoinedStep = tuple[Step, tuple[int, ...]]
"""A step, and which values it reads: 0 is the image, k + 1 what the k-th step gives."""

_ADDS = (operator.add, operator.iadd, torch.add, "add")


class NotAChainError(UserError):
    """The network cannot be traced, or branches or joins where a chain is asked; ``layer`` is where."""

    def __init__(self, layer: str, why: str) -> None:
        super().__init__(f"{layer}: {why}")
        self.layer, self.why = layer, why


class _StepTracer(fx.Tracer):
    """Looks into modules that hold known layers; every other module is one step."""

    def __init__(self, known: Collection[type[nn.Module]]) -> None:
        super().__init__()
        self._known = known

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) in self._known:
            return True
        return not isinstance(m, nn.Sequential | fx.GraphModule) and not any(
            type(part) in self._known for part in m.modules()
        )


def with_normalisation_as_layer(module: nn.Module) -> nn.Module:
    """The same function, whose normalisation (see :class:`Normalised`) is a batch norm that no batch changes."""
    if not isinstance(module, Normalised):
        return module
    norm = nn.BatchNorm2d(len(module.mean), eps=0.0, affine=False).eval()
    norm.running_mean, norm.running_var = module.mean.flatten().clone(), module.std.flatten().square()
    return nn.Sequential(norm, *(module.net if isinstance(module.net, nn.Sequential) else [module.net]))


def graph_of(module: nn.Module, known: Collection[type[nn.Module]]) -> fx.Graph:
    """The traced graph of a module whose known layers are one node each.

    Args:
        module: from pixels to logits.
        known: the kinds of layers that the caller reads.

    Raises:
        NotAChainError: it cannot be traced.
    """
    try:
        return _StepTracer(known).trace(module)
    except Exception as error:  # torch.fx raises many kinds for data-dependent control flow
        raise NotAChainError(type(module).__name__, f"its graph cannot be traced ({error})") from error


def steps_of(module: nn.Module, known: Collection[type[nn.Module]]) -> list[Step]:
    """The steps of a module in order.

    Args:
        module: from pixels to logits.
        known: the kinds of layers that the caller reads.

    Raises:
        NotAChainError: it is no chain.
    """
    if type(module) in known:
        return [(type(module).__name__, module)]
    nodes = list(graph_of(module, known).nodes)
    steps: list[Step] = []
    previous = nodes[0]
    for node in nodes[1:]:
        if node.op == "output":
            break
        if node.op == "get_attr":  # constants of an ONNX graph (the shape of a reshape)
            continue
        if not node.args or node.args[0] is not previous:
            raise NotAChainError(node.name, "the network is not a chain (it branches or joins here)")
        if node.op == "call_module":
            steps.append((str(node.target), module.get_submodule(str(node.target))))
        else:
            steps.append((node.name, node.target))
        previous = node
    return steps


def joined_steps_of(module: nn.Module, known: Collection[type[nn.Module]]) -> list[JoinedStep]:
    """The steps of a module in order, each with what it reads; two values where it adds them, else one.

    Args:
        module: from pixels to logits, which the last step gives.
        known: the kinds of layers that the caller reads.

    Raises:
        NotAChainError: it cannot be traced, or values are joined in another way than by adding two.
    """
    if type(module) in known:
        return [((type(module).__name__, module), (0,))]
    values: dict[fx.Node, int] = {}
    steps: list[JoinedStep] = []
    for node in graph_of(module, known).nodes:
        if node.op == "placeholder" and not values:
            values[node] = 0
        elif node.op == "output":
            last = node.args[0]
            if not isinstance(last, fx.Node) or values.get(last) != len(steps):
                raise NotAChainError(node.name, "the network gives something else than its last layer")
        elif node.op != "get_attr":  # constants of an ONNX graph (the shape of a reshape)
            what = module.get_submodule(str(node.target)) if node.op == "call_module" else node.target
            # Values count only as direct arguments: one inside a list or keyword (a concatenation) is no chain.
            read = tuple(values[each] for each in node.args if isinstance(each, fx.Node) and each in values)
            plain = len(read) == len([each for each in node.all_input_nodes if each in values])
            added = len(read) == len(node.args) == 2 and not node.kwargs and _adds(what)
            if not (added or (plain and len(read) == 1)):
                raise NotAChainError(node.name, "joins values in another way than by adding two of them")
            steps.append(((str(node.target) if node.op == "call_module" else node.name, what), read))
            values[node] = len(steps)
    return steps


def _adds(what: Any) -> bool:
    """Whether a step with two inputs gives their sum."""
    if type(what).__name__ == "OnnxBinaryMathOperation":
        return bool(what.math_op_function is torch.add)
    return what in _ADDS
