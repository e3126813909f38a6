"""Exported programs (``.pt2``) as PyTorch networks: only PyTorch's own tensor operators, in the file's order."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from assay.common.errors import UserError
from assay.models.adapters import FixedBatch
from assay.models.program_archive import DTYPES, ProgramArchive, read_archive

_OPERATORS = "torch.ops.aten."
_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in (
        "add",
        "sub",
        "mul",
        "floordiv",
        "truediv",
        "mod",
        "neg",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "getitem",
    )
}
_KEYWORD = 2  # the archive's number for an argument that is given by its name
_ASSERTIONS = ("_assert", "sym_constrain_range")
_WORDS = {"padding", "approximate", "mode", "rounding_mode", "equation", "indexing", "side", "reduce"}
"""The arguments that may be words; no other operator's words (a file's name, say) are known to be harmless."""
_TRAINING = {"train", "training"}
_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_EXPORT_AGAIN = "export it again in eval mode, with one image tensor as its input"


@dataclass(frozen=True)
class Program:
    """A network that was exported.

    Attributes:
        module: a batch of any size to what the program returns.
        shape: of one image in the program's own layout.
    """

    module: nn.Module
    shape: tuple[int, ...]


def read_program(path: Path) -> Program:
    """The network in a file that ``torch.export.save`` wrote.

    Raises:
        UserError: as :func:`read_archive`; or it has other inputs than one image, changes its own state, or uses an
            operator that is not PyTorch's own on tensors.
    """
    archive = read_archive(path)
    try:
        return _Reader(archive, path).program()
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path}: its graph cannot be read ({type(error).__name__}: {error}); {_EXPORT_AGAIN}"
        ) from error


class _Reader:
    """Builds one graph from its JSON to :mod:`torch.fx`."""

    def __init__(self, archive: ProgramArchive, path: Path) -> None:
        self._module = archive.program["graph_module"]
        self._tensors = archive.tensors
        self._path = path
        self._graph = fx.Graph()
        self._root = nn.Module()
        self._nodes: dict[str, fx.Node] = {}
        self._state: set[fx.Node] = set()

    def program(self) -> Program:
        """The whole network.

        Raises:
            UserError: as :func:`read_program`.
        """
        graph = self._module["graph"]
        sizes = self._inputs(graph)
        for node in graph["nodes"]:
            self._node(node)
        self._output(graph)
        module: nn.Module = fx.GraphModule(self._root, self._graph).eval()
        batch, *image = sizes
        if any("as_int" not in size for size in image):
            raise UserError(f"{self._path}: does not fix its input's size; export it for one image size")
        if "as_int" in batch:
            module = FixedBatch(module, batch["as_int"])
        return Program(module, tuple(size["as_int"] for size in image))

    def _inputs(self, graph: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Takes in weights and the image; returns the image's sizes."""
        images = []
        for index, spec in enumerate(self._module["signature"]["input_specs"]):
            kind, said = _only(spec)
            if kind == "user_input":
                _, argument = _only(said["arg"])
                images.append(argument["name"])
                self._nodes[argument["name"]] = self._graph.placeholder("pixels")
            elif kind in ("parameter", "buffer", "tensor_constant"):
                tensor = self._tensors[said[f"{kind}_name"]]
                name = f"tensor_{index}"
                if kind == "parameter":
                    self._root.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
                else:
                    self._root.register_buffer(name, tensor)
                node = self._nodes[said["arg"]["name"]] = self._graph.get_attr(name)
                self._state.add(node)
            else:
                raise UserError(f"{self._path}: takes a {kind} as its input; {_EXPORT_AGAIN}")
        if len(images) != 1:
            raise UserError(
                f"{self._path}: takes {len(images)} inputs where a classifier has one; {_EXPORT_AGAIN}"
            )
        sizes: Sequence[Mapping[str, Any]] = graph["tensor_values"][images[0]]["sizes"]
        return sizes

    def _node(self, node: Mapping[str, Any]) -> None:
        target = node["target"]
        if target.removeprefix(_OPERATORS).startswith(_ASSERTIONS):
            return  # checks of sizes: where they do not hold, the operators themselves fail
        function = self._function(target)
        if any(each["name"] in _TRAINING and each["arg"].get("as_bool") for each in node["inputs"]):
            raise UserError(f"{self._path}: {target} is in training mode, as exported; {_EXPORT_AGAIN}")
        positional = [self._argument(each["arg"]) for each in node["inputs"] if each["kind"] != _KEYWORD]
        named = {
            each["name"]: self._argument(each["arg"]) for each in node["inputs"] if each["kind"] == _KEYWORD
        }
        if target.startswith(_OPERATORS) and _writes_into(function, positional) & self._state:
            raise UserError(
                f"{self._path}: {target} changes a weight or a buffer when it runs; {_EXPORT_AGAIN}"
            )
        made = self._graph.call_function(function, tuple(positional), named)
        self._name(made, node["outputs"])

    def _function(self, target: str) -> Callable[..., Any]:
        """The operator of a node: only PyTorch's own on tensors, and plain arithmetic.

        Raises:
            UserError: it is another.
        """
        if target in _ARITHMETIC:
            return _ARITHMETIC[target]
        name, dot, overload = target.removeprefix(_OPERATORS).partition(".")
        found = None
        if target.startswith(_OPERATORS) and dot and name.isidentifier() and overload.isidentifier():
            found = getattr(getattr(torch.ops.aten, name, None), overload, None)
        if not isinstance(found, torch._ops.OpOverload) or not _is_harmless(found):
            raise UserError(
                f"{self._path}: uses {target!r}, which is no PyTorch operator on tensors; export a network "
                "without it, or load it by a factory of your own (package.module:factory)"
            )
        return found

    def _name(self, made: fx.Node, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Notes under which names later nodes know what a node returns."""
        if len(outputs) == 1 and "as_tensors" in outputs[0]:
            outputs = [{"as_tensor": each} for each in outputs[0]["as_tensors"]]
        elif len(outputs) == 1:
            self._nodes[_name_of(outputs[0])] = made
            return
        for index, output in enumerate(outputs):
            if "as_none" not in output:
                self._nodes[_name_of(output)] = self._graph.call_function(operator.getitem, (made, index))

    def _output(self, graph: Mapping[str, Any]) -> None:
        kinds = [_only(spec)[0] for spec in self._module["signature"]["output_specs"]]
        if set(kinds) != {"user_output"}:
            other = next(kind for kind in kinds if kind != "user_output")
            raise UserError(f"{self._path}: changes its own state when it runs ({other}); {_EXPORT_AGAIN}")
        found = tuple(self._argument(output) for output in graph["outputs"])
        self._graph.output(found if len(found) > 1 else found[0])

    def _argument(self, argument: Mapping[str, Any]) -> Any:
        kind, value = _only(argument)
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._nodes[value["name"]]
        if kind == "as_tensors":
            return [self._nodes[each["name"]] for each in value]
        if kind in ("as_optional_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return [self._argument(each) for each in value]
        if kind in ("as_optional_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._argument(value)
        if kind == "as_name":
            return self._nodes[value]
        if kind in ("as_int", "as_float", "as_bool", "as_string"):
            return value
        if kind in ("as_ints", "as_floats", "as_bools"):
            return list(value)
        if kind == "as_scalar_type":
            return DTYPES[value]
        if kind == "as_memory_format":
            return _FORMATS[value]
        if kind == "as_layout":
            return torch.strided
        if kind == "as_device":
            return torch.device(value["type"])
        raise UserError(
            f"{self._path}: an operator takes {kind.removeprefix('as_')}, which is not read; {_EXPORT_AGAIN}"
        )


def _only(union: Mapping[str, Any]) -> tuple[str, Any]:
    """The one key of a union, and its value."""
    ((kind, value),) = union.items()
    return kind, value


def _name_of(output: Mapping[str, Any]) -> str:
    kind, value = _only(output)
    return str(value["name"] if kind == "as_tensor" else _only(value)[1])


def _is_harmless(found: Any) -> bool:
    """Whether an operator only computes: the only words it takes are names of ways to compute."""
    words = [argument.name for argument in found._schema.arguments if "str" in str(argument.type)]
    return set(words) <= _WORDS


def _writes_into(found: Any, positional: Sequence[Any]) -> set[fx.Node]:
    """The nodes among an operator's arguments that it changes in place."""
    changed = (
        argument.alias_info is not None and argument.alias_info.is_write
        for argument in found._schema.arguments
    )
    return {
        value
        for value, writes in zip(positional, changed, strict=False)
        if writes and isinstance(value, fx.Node)
    }
