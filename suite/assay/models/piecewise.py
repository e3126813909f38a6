"""Whether a network is piecewise linear, read off its traced graph: only if every operation is."""

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

_LAYERS: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Unflatten,
    nn.Dropout, nn.Dropout2d, nn.Identity, nn.ZeroPad2d,
)  # fmt: skip
_FOREIGN_LAYERS = {
    "timm": {"Conv2dSame", "BatchNormAct2d", "SelectAdaptivePool2d", "FastAdaptiveAvgPool", "MaxPool2dSame"},
    "onnx2torch": {
        "OnnxFlatten",
        "OnnxReshape",
        "OnnxTranspose",
        "OnnxConstant",
        "OnnxPadStatic",
        "OnnxPadDynamic",
        "OnnxGlobalAveragePool",
        "OnnxGlobalAveragePoolWithKnownInputShape",
        "OnnxCopyIdentity",
    },
}
_FUNCTIONS = {
    torch.add, torch.sub, torch.flatten, torch.relu, torch.cat, torch.reshape, operator.add, operator.iadd,
    operator.sub, functional.relu, functional.relu6, functional.leaky_relu, functional.max_pool2d,
    functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.dropout,
}  # fmt: skip
_METHODS = {
    "flatten",
    "view",
    "reshape",
    "relu",
    "relu_",
    "squeeze",
    "unsqueeze",
    "size",
    "add",
    "add_",
    "flip",
    "permute",
}


class _LayerTracer(fx.Tracer):
    """Sees known layers of other libraries as one operation each."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _is_foreign_layer(m) or super().is_leaf_module(m, module_qualified_name)


def is_piecewise_linear(net: nn.Module) -> bool:
    """Whether ``net`` in eval mode is certainly piecewise linear in its input.

    False where the network cannot be traced or holds an operation that is not on the list: never a false yes.
    """
    try:
        graph = _LayerTracer().trace(net)
    except Exception:  # a foreign forward may fail in any way on symbolic values
        return False
    layers = dict(net.named_modules())
    return all(_node_is_piecewise_linear(node, layers) for node in graph.nodes)


def _node_is_piecewise_linear(node: fx.Node, layers: dict[str, Any]) -> bool:
    if node.op == "call_module":
        return all(_layer_is_piecewise_linear(layer) for layer in layers[str(node.target)].modules())
    if node.op == "call_function":
        return node.target in _FUNCTIONS
    if node.op == "call_method":
        return node.target in _METHODS
    return node.op in {"placeholder", "get_attr", "output"}


def _layer_is_piecewise_linear(layer: nn.Module) -> bool:
    if getattr(layer, "track_running_stats", True) is False:
        return False  # a batch norm that divides by the batch's own deviation, in eval mode too
    return type(layer) in _LAYERS or _is_foreign_layer(layer)


def _is_foreign_layer(layer: nn.Module) -> bool:
    package = type(layer).__module__.split(".")[0]
    return type(layer).__name__ in _FOREIGN_LAYERS.get(package, ())
