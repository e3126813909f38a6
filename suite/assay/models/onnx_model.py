"""ONNX files as protocol buffers: read with the files that their weights lie in, and one output chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import onnx
from onnx import ModelProto, TensorProto, external_data_helper

from assay.common.errors import UserError
from assay.models.file_kinds import refuse_page

_PROBABILITIES = {"Softmax", "Sigmoid"}


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file with its external data.

    Attributes:
        model: with all weights inside.
        files: the file itself, then those of its external data.
    """

    model: ModelProto
    files: tuple[Path, ...]


def read(path: Path) -> OnnxFile:
    """The ONNX file at ``path`` and its external data.

    Raises:
        UserError: one of them is missing, damaged, a pointer or a page in its place, or lies outside the folder.
    """
    if not path.is_file():
        raise UserError(f"onnx:{path}: there is no such file; check the path")
    refuse_page(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's decoding error has no typed name
        raise _not_valid(path, error) from error
    beside = tuple(path.parent / name for name in _external(model, path))
    missing = next((file for file in beside if not file.is_file()), None)
    if missing is not None:
        raise UserError(f"{path}: its weights lie in {missing.name}, which is not beside it; put it there")
    for file in beside:
        refuse_page(file)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except Exception as error:  # a wrong graph, or data of the wrong length, may raise anything
        raise _not_valid(path, error) from error
    return OnnxFile(model, (path, *beside))


def _not_valid(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(f"{path}: is not a valid ONNX file ({reason}); export it again")


def _external(model: ModelProto, path: Path) -> list[str]:
    """The names of the files that hold external data, sorted."""
    names = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(names):
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name:
            raise UserError(f"{path}: its external data {name!r} leave its folder; export it again")
    return sorted(names)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def keep_output(model: ModelProto, chosen: int | str | None, path: Path) -> None:
    """Keep one output of the graph and the nodes that it needs; in place.

    Args:
        model: the graph.
        chosen: the output's place or name; None where the graph has only one.
        path: for messages.

    Raises:
        UserError: there is no such output, several and none is chosen, or it is probabilities.
    """
    outputs = {value.name: value for value in model.graph.output}
    shown = ", ".join(
        f"{place}: {name} {_shape(value)}" for place, (name, value) in enumerate(outputs.items())
    )
    if chosen is None and len(outputs) > 1:
        raise UserError(
            f"{path}: the graph has {len(outputs)} outputs ({shown}); choose the logits in a card, "
            "such as `output: {tensor: 0}`"
        )
    names = list(outputs)
    found = chosen if isinstance(chosen, str) else names[chosen or 0] if (chosen or 0) < len(names) else None
    if found not in outputs:
        raise UserError(f"{path}: there is no output {chosen!r}; the graph has {shown}")
    del model.graph.output[:]
    model.graph.output.append(outputs[found])
    drop_unused(model)
    last = next((node for node in model.graph.node if found in node.output), None)
    while last is not None and last.op_type == "Identity":
        last = next((node for node in model.graph.node if last.input[0] in node.output), None)
    if last is not None and last.op_type in _PROBABILITIES:
        raise UserError(
            f"{path}: the graph ends in a {last.op_type} and returns probabilities; attacks and margins need logits: "
            "export the network without it"
        )


def _shape(value: onnx.ValueInfoProto) -> str:
    sizes = (dim.dim_value or dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim)
    return f"({', '.join(map(str, sizes))})"


def drop_unused(model: ModelProto) -> None:
    """Remove the nodes and constants that no output needs, in place."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    nodes = list(reversed(kept))
    constants = [constant for constant in model.graph.initializer if constant.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
