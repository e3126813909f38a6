"""Hashes what a network does besides its weights: its modules, their settings and the code behind them.

Two networks of equal weights are different networks where a layer, a setting, a hook or a line of their own code
differs. The hash is the same on every machine: it holds no addresses, no paths and nothing of the interpreter.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping, Set
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from assay.common.canonical import canonical_sha256

_KNOWN_PACKAGES = frozenset(
    {"assay", "builtins", "captum", "numpy", "onnx2torch", "timm", "torch", "torchvision"}
)
"""Packages whose code counts by its pinned version (in the provenance), not by its text."""

_OF_TORCH = frozenset({
    "training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook",
    "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs", "_compiled_call_impl",
})  # fmt: skip
"""What every module keeps for PyTorch's own sake; forward hooks, which change answers, are not among them."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_DEEPEST = 40


def structure_sha256(net: nn.Module, code: Iterable[str] = ()) -> str:
    """SHA-256 (hex) of what ``net`` does, its parameters and saved buffers left out (``weights_sha256`` has those).

    It covers every module's name, class and attributes (numbers, tensors outside the state dict, functions with what
    they close over, objects with theirs), and forward hooks. It also covers the text of every file of code outside
    Python and :data:`_KNOWN_PACKAGES`, and of the files that such a file takes functions from.

    Args:
        net: it is not run.
        code: further modules of Python whose text counts, such as that of the network's factory.
    """
    return canonical_sha256(_Description(code).of_network(net))


class _Description:
    """Describes one network; keeps which objects were met, and whose code they run."""

    def __init__(self, code: Iterable[str]) -> None:
        self._met: dict[int, int] = {}
        self._kept: list[object] = []  # keeps what was met alive, so that no two share an id
        self._registered: dict[int, str] = {}
        self._modules = set(code)

    def of_network(self, net: nn.Module) -> dict[str, Any]:
        modules = list(net.named_modules(remove_duplicate=False))
        self._registered = {id(module): name for name, module in reversed(modules)}
        described = [[name, self._module(module)] for name, module in modules]
        return {"modules": described, "code": _code_files(self._modules)}

    def _module(self, module: nn.Module) -> Any:
        if isinstance(module, fx.GraphModule):
            state = {
                name: _tensor(value) for name, value in vars(module).items() if isinstance(value, Tensor)
            }
            return {
                "class": "GraphModule",
                "code": module.code,
                "state": state,
                "unsaved": self._unsaved(module),
            }
        state = {
            name: self.of(value, 1)
            for name, value in sorted(vars(module).items())
            if name not in _OF_TORCH and name not in _HOOKS
        }
        for name in _HOOKS:  # by their order: their keys count all hooks of the process
            if vars(module).get(name):
                state[name] = [self.of(hook, 1) for hook in vars(module)[name].values()]
        return {"class": self._class(type(module)), "state": state, "unsaved": self._unsaved(module)}

    def _unregistered(self, network: nn.Module) -> Any:
        """A network that a plain list or object holds: its weights are in no state dict."""
        modules = [[name, self._module(module)] for name, module in network.named_modules()]
        return ["network", modules, {name: _tensor(value) for name, value in network.state_dict().items()}]

    def _unsaved(self, module: nn.Module) -> dict[str, Any]:
        """The buffers that a state dict leaves out."""
        names = sorted(module._non_persistent_buffers_set)
        return {name: self.of(module._buffers.get(name), 1) for name in names}

    def of(self, value: object, depth: int) -> Any:
        """Anything that a module may hold, as plain JSON."""
        if value is None or isinstance(value, bool | int | str):
            return value if not isinstance(value, enum.Enum) else [self._class(type(value)), value.name]
        if isinstance(value, float | complex | torch.dtype | torch.device | torch.Size | PurePath | range):
            return [type(value).__name__, repr(value) if not isinstance(value, PurePath) else value.name]
        if isinstance(value, bytes | bytearray):
            return ["bytes", hashlib.sha256(value).hexdigest()]
        if isinstance(value, Tensor):
            return _tensor(value)
        if isinstance(value, np.ndarray | np.generic):
            array = np.ascontiguousarray(value)
            digest = hashlib.sha256(array.tobytes() if array.dtype != object else repr(array).encode())
            return ["array", str(array.dtype), list(array.shape), digest.hexdigest()]
        if isinstance(value, enum.Enum):
            return [self._class(type(value)), value.name]
        if isinstance(value, type):
            return ["class", self._class(value)]
        if isinstance(value, types.ModuleType):
            self._modules.add(value.__name__)
            return ["module", value.__name__]
        # From here on values can hold others, or themselves: an object is described once, then only referred to.
        if id(value) in self._registered:
            return ["registered", self._registered[id(value)]]
        if id(value) in self._met:
            return ["again", self._met[id(value)]]
        if depth > _DEEPEST:
            return ["deeper"]
        self._met[id(value)] = len(self._met)
        # Kept alive, so that no later object gets its id.
        self._kept.append(value)
        return self._object(value, depth + 1)

    def _object(self, value: object, depth: int) -> Any:
        if isinstance(value, nn.Module):
            return self._unregistered(value)
        if isinstance(value, functools.partial):
            return [
                "partial",
                self.of(value.func, depth),
                self.of(value.args, depth),
                self.of(value.keywords, depth),
            ]
        if isinstance(value, types.MethodType):
            return ["method", self.of(value.__func__, depth), self.of(value.__self__, depth)]
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, types.BuiltinFunctionType):
            return ["builtin", value.__module__, value.__qualname__]
        if isinstance(value, torch.Generator):
            return ["generator", value.initial_seed()]
        if isinstance(value, Mapping):
            pairs = [[self.of(key, depth), self.of(item, depth)] for key, item in value.items()]
            return ["mapping", self._class(type(value)), pairs]
        if isinstance(value, Set):
            return ["set", sorted((self.of(item, depth) for item in value), key=repr)]
        if isinstance(value, list | tuple):
            return [self._class(type(value)), [self.of(item, depth) for item in value]]
        return self._plain_object(value, depth)

    def _plain_object(self, value: object, depth: int) -> Any:
        slots = [name for kind in type(value).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
        state = {
            name: getattr(value, name) for name in slots if hasattr(value, name) and name != "__weakref__"
        }
        state |= getattr(value, "__dict__", {})
        if not state:
            shown = repr(value)
            return [self._class(type(value)), shown if " at 0x" not in shown else ""]
        return [
            self._class(type(value)),
            {name: self.of(item, depth) for name, item in sorted(state.items())},
        ]

    def _class(self, kind: type) -> str:
        """A class by its name; the text of its own file counts, or its bytecode where it has none."""
        made_in_memory = [
            base for base in kind.__mro__ if not _is_known(base.__module__) and not self._noted(base)
        ]
        name = f"{kind.__module__}.{kind.__qualname__}"
        return (
            f"{name} {canonical_sha256(sorted(map(_bytecode, made_in_memory)))}" if made_in_memory else name
        )

    def _noted(self, kind: type) -> bool:
        """Whether the class has a file, which is kept in mind."""
        self._modules.add(kind.__module__)
        return _file_of(kind.__module__) is not None

    def _function(self, function: types.FunctionType, depth: int) -> Any:
        """A function by where its text stands, and by what it closes over."""
        self._modules.add(function.__module__ or "")
        code, module = function.__code__, function.__module__
        first = None if _is_known(module or "") else next(iter(code.co_positions()), None)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        return [
            "function", module, function.__qualname__, list(first or ()),
            [] if _is_known(module or "") or _file_of(module) else _code_names(code),
            self.of(cells, depth), self.of(function.__defaults__, depth), self.of(function.__kwdefaults__, depth),
        ]  # fmt: skip


def _tensor(value: Tensor) -> Any:
    plain = value.detach().cpu().contiguous()
    if plain.is_quantized or plain.layout != torch.strided:
        return ["tensor", str(value.dtype), list(value.shape), repr(plain)]
    content = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return ["tensor", str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]


def _names(slots: str | Iterable[str]) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _bytecode(kind: type) -> list[list[Any]]:
    functions = (value for value in vars(kind).values() if isinstance(value, types.FunctionType))
    return [[function.__qualname__, *_code_names(function.__code__)] for function in functions]


def _code_names(code: types.CodeType) -> list[str]:
    """Code that has no file: its bytes and constants, the same for one version of Python."""
    constants = [repr(part) for part in code.co_consts if not isinstance(part, types.CodeType)]
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return [
        code.co_code.hex(),
        *constants,
        *code.co_names,
        *(name for part in inner for name in _code_names(part)),
    ]


def _is_known(module: str) -> bool:
    package = module.split(".")[0]
    return package in _KNOWN_PACKAGES or (package in sys.stdlib_module_names and package != "__main__")


def _file_of(module: str | None) -> Path | None:
    """The file of a module outside Python and the known packages; None where there is none."""
    if not module or _is_known(module):
        return None
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def _code_files(modules: Iterable[str]) -> list[str]:
    """SHA-256 of every file of code behind ``modules``, sorted: theirs, and those that they take names from.

    Files of installed packages count where a module or a function of the network is of them, and are not followed:
    what they need is fixed by their version.
    """
    waiting, files = set(modules), {}
    installed = tuple(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in files:
            continue
        files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if str(path).startswith(installed):
            continue
        for value in vars(sys.modules[name]).values():
            taken = (
                value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            )
            if isinstance(taken, str) and not str(_file_of(taken) or "").startswith(installed):
                waiting.add(taken)
    return sorted(files.values())
