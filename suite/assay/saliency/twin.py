"""A network's twin: the same weights in memory, made for attribution, so that the network itself is not touched."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from assay.common.errors import UserError

_RELU_CALLS = frozenset(
    {
        functional.relu, functional.relu_, functional.relu6,
        torch.relu, torch.relu_, Tensor.relu, Tensor.relu_,
    }
)  # fmt: skip


class _Clamped(nn.Module):
    """ReLU6 as the minimum of a ReLU and 6, so that its ReLU is one that guided backprop knows."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        positive: Tensor = self.relu(inputs)
        return positive.clamp(max=6)


def twin_of(network: nn.Module) -> nn.Module:
    """A copy in eval mode that shares the network's weights, which need no gradient in it.

    Hooks set on it, its mode and its layers are its own. Nothing in it works in place: what a hook has seen
    would be overwritten.
    """
    shared: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for parameter in network.parameters():
        shared[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    twin = copy.deepcopy(network, shared).eval()
    for module in twin.modules():
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010 (an attribute that not every module declares)
    return twin


def guidable_twin_of(network: nn.Module, image: Tensor) -> nn.Module:
    """A twin with ReLUs that Captum's guided backprop can all guide.

    Captum guides the modules of class ``nn.ReLU``: a ``nn.ReLU6`` is therefore taken apart, and a ReLU that is
    called as a function would keep its plain gradient, so it is refused.

    Args:
        network: the network.
        image: (1, C, H, W), to see what it calls.

    Raises:
        UserError: the network has no ReLU module, or calls ReLUs as functions.
    """
    twin = twin_of(network)
    for parent in list(twin.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, nn.ReLU6):
                parent._modules[name] = _Clamped()
    has_relu = any(isinstance(module, nn.ReLU) for module in twin.modules())
    plain = _plain_relus(twin, image)
    if has_relu and not plain:
        return twin
    what = f"calls {plain} of its ReLUs as functions" if plain else "has no ReLU"
    raise UserError(
        f"guided backprop changes the gradients of `nn.ReLU` modules, and the network {what}; "
        "choose another method, or a network whose ReLUs are modules"
    )


class _ReluCalls(TorchFunctionMode):
    """Counts the calls of ReLU functions, those that modules make too."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in _RELU_CALLS
        return func(*args, **(kwargs or {}))


def _plain_relus(network: nn.Module, image: Tensor) -> int:
    """How many ReLUs of a forward pass are not modules."""
    runs: list[nn.Module] = []
    relus = [module for module in network.modules() if isinstance(module, nn.ReLU)]
    handles = [relu.register_forward_hook(lambda module, *_: runs.append(module)) for relu in relus]
    try:
        with torch.no_grad(), _ReluCalls() as calls:
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return int(calls.count) - len(runs)
