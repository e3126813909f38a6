"""Rewritings of an ONNX graph that leave its answers as they are, all in place.

They bring graphs as exporters write them into the form that the converter takes and that readers of layers know.
Constants become initializers, and the batch size is left open. Arithmetic with constants becomes a batch norm, and a
product with a constant matrix a fully connected layer. Padding and pools: :mod:`assay.models.onnx_padding`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from assay.models.onnx_model import drop_unused

Array = NDArray[np.generic]
Shapes = dict[str, tuple[int | None, ...]]

TO_FIRST = [0, 3, 1, 2]  # (N, H, W, C) to (N, C, H, W)
_TO_LAST = [0, 2, 3, 1]
_CONSTANT_ATTRIBUTES = ("value_float", "value_int", "value_floats", "value_ints")


def lift_constants(model: ModelProto) -> None:
    """Constant nodes become initializers."""
    lifted = []
    for node in list(model.graph.node):
        if node.op_type == "Constant" and not node.domain and len(node.attribute) == 1:
            value = _constant(node.attribute[0])
            if value is not None:
                lifted.append(numpy_helper.from_array(value, node.output[0]))
                model.graph.node.remove(node)
    model.graph.initializer.extend(lifted)


def _constant(attribute: onnx.AttributeProto) -> Array | None:
    if attribute.name == "value":
        value: Array = numpy_helper.to_array(attribute.t)
        return value
    if attribute.name in _CONSTANT_ATTRIBUTES:
        plain = np.asarray(helper.get_attribute_value(attribute))
        return plain.astype(np.float32 if plain.dtype.kind == "f" else np.int64)
    return None


def constants_of(model: ModelProto) -> dict[str, Array]:
    """The graph's constants by name."""
    return {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}


def set_batch(model: ModelProto, size: int | None) -> None:
    """Write the number of images into the graph's input and outputs; None leaves it open."""
    for value in (_images(model), *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 1:
            dims[0].Clear()
            if size is None:
                dims[0].dim_param = "batch"
            else:
                dims[0].dim_value = size
    del model.graph.value_info[:]


def free_batch(model: ModelProto, size: int) -> None:
    """Let the graph take any number of images: Reshapes to ``size`` images take as many as there are.

    Args:
        model: the graph, its constants lifted.
        size: the number of images that was written into it; 0 where it was open.
    """
    set_batch(model, None)
    constants = constants_of(model)
    for number, node in enumerate(model.graph.node):
        if node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] in constants:
            target = constants[node.input[1]].astype(np.int64).copy()
            if size and target.size > 1 and target[0] == size and (target[1:] != 0).all():
                target[0] = 0  # copied from the input
            node.input[1] = f"{node.input[1]} of Reshape {number}"
            model.graph.initializer.append(numpy_helper.from_array(target, node.input[1]))
    drop_unused(model)


def drop_allowzero(model: ModelProto) -> None:
    """Drop ``allowzero`` of a Reshape where no size is 0: there it makes no difference."""
    constants = constants_of(model)
    for node in model.graph.node:
        if node.op_type == "Reshape" and (constants.get(node.input[1], np.zeros(1)) != 0).all():
            drop_attribute(node, "allowzero")


def _images(model: ModelProto) -> onnx.ValueInfoProto:
    """The graph's input that is no constant."""
    constants = {constant.name for constant in model.graph.initializer}
    return next(value for value in model.graph.input if value.name not in constants)


def version_of(model: ModelProto) -> int:
    """The version of ONNX's own operators in a graph."""
    return next((opset.version for opset in model.opset_import if not opset.domain), 1)


def settings_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes; texts as str."""
    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def put_in_place_of(node: NodeProto, steps: Sequence[NodeProto], model: ModelProto) -> None:
    """Replace a node of the graph by others, at its place and in their order."""
    place = list(model.graph.node).index(node)
    model.graph.node.remove(node)
    for step in reversed(steps):
        model.graph.node.insert(place, step)


def drop_attribute(node: NodeProto, name: str) -> None:
    """Remove one attribute of a node, in place."""
    for attribute in list(node.attribute):
        if attribute.name == name:
            node.attribute.remove(attribute)


def shapes_of(model: ModelProto) -> Shapes:
    """The sizes of every value as far as they can be inferred; None for one that is open."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }


def plain_layers(model: ModelProto) -> None:
    """Arithmetic with constants, products with matrices and channels-last flattening become plain layers."""
    _channels_first(model)
    _fully_connected(model)
    _flattened_first(model)
    _constant_arithmetic(model)
    drop_unused(model)


def _channels_first(model: ModelProto) -> None:
    """Where an input (N, H, W, C) is only turned to (N, C, H, W), let the graph take (N, C, H, W)."""
    image = _images(model)
    readers = [node for node in model.graph.node if image.name in node.input]
    dims = image.type.tensor_type.shape.dim
    if len(dims) != 4 or not readers or any(_permutation(node) != TO_FIRST for node in readers):
        return
    sizes = [dims[place].dim_value for place in TO_FIRST[1:]]
    for dim, size in zip(dims[1:], sizes, strict=True):
        dim.dim_value = size
    for node in readers:
        _replace(model, node.output[0], image.name)
        model.graph.node.remove(node)


def _permutation(node: NodeProto) -> list[int] | None:
    if node.op_type != "Transpose":
        return None
    return next((list(one.ints) for one in node.attribute if one.name == "perm"), None)


def _replace(model: ModelProto, old: str, new: str) -> None:
    """Let every reader of ``old`` read ``new``."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def _fully_connected(model: ModelProto) -> None:
    """A product of rows with a constant matrix, and the constant that is added to it, become one Gemm."""
    shapes, constants, readers = shapes_of(model), constants_of(model), _readers(model)
    for node in list(model.graph.node):
        matrix = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if matrix is None or matrix.ndim != 2 or len(shapes.get(node.input[0], ())) != 2:
            continue
        inputs, output = list(node.input), node.output[0]
        following = readers.get(output, [])
        if len(following) == 1 and following[0].op_type == "Add":
            other = next((name for name in following[0].input if name != output), "")
            bias = constants.get(other)
            if bias is not None and bias.size == matrix.shape[1] and bias.shape[-1:] == (bias.size,):
                name = f"{other} of {output}"
                model.graph.initializer.append(numpy_helper.from_array(bias.reshape(-1), name))
                inputs.append(name)
                output = following[0].output[0]
                model.graph.node.remove(following[0])
        put_in_place_of(node, [helper.make_node("Gemm", inputs, [output], name=node.name)], model)


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _flattened_first(model: ModelProto) -> None:
    """Flatten maps as they are where they are turned to channels last only to be flattened for a Gemm.

    The matrix's rows are put into the order of channels first.
    """
    shapes, constants, readers = shapes_of(model), constants_of(model), _readers(model)
    for turn in list(model.graph.node):
        flatten = _only(readers, turn)
        gemm = _only(readers, flatten)
        shape = shapes.get(turn.input[0], ())
        if _permutation(turn) != _TO_LAST or flatten is None or gemm is None or None in shape[1:]:
            continue
        matrix = (
            constants.get(gemm.input[1])
            if gemm.op_type == "Gemm" and gemm.input[0] in flatten.output
            else None
        )
        values = math.prod(int(size or 0) for size in shape[1:])
        if matrix is None or not _flattens(flatten, shapes, values):
            continue
        across = _is_set(gemm, "transB")
        rows = matrix.T if across else matrix
        channels, height, width = (int(size or 0) for size in shape[1:])
        # Row i of the matrix meets value i of the flattened map, so its rows move as the values do.
        ordered = rows.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(values, -1)
        name = f"{gemm.input[1]} for channels first"
        kept = np.ascontiguousarray(ordered.T if across else ordered)
        model.graph.initializer.append(numpy_helper.from_array(kept, name))
        gemm.input[1], flatten.input[0] = name, turn.input[0]
        model.graph.node.remove(turn)


def _only(readers: dict[str, list[NodeProto]], node: NodeProto | None) -> NodeProto | None:
    """The one node that reads the output of ``node``; None where there are none or several."""
    found = readers.get(node.output[0], []) if node is not None else []
    return found[0] if len(found) == 1 else None


def _flattens(node: NodeProto, shapes: Shapes, values: int) -> bool:
    return node.op_type in {"Reshape", "Flatten"} and shapes.get(node.output[0], ())[1:] == (values,)


def _is_set(node: NodeProto, name: str) -> bool:
    return any(one.name == name and one.i for one in node.attribute)


def _constant_arithmetic(model: ModelProto) -> None:
    """``x + c``, ``x - c``, ``x * c`` and ``x / c`` with a constant per channel become a batch norm."""
    shapes, constants, written = shapes_of(model), constants_of(model), Counter[str]()
    for node in list(model.graph.node):
        for name, value in _as_batch_norm(node, shapes, constants):
            written[node.output[0]] += 1
            model.graph.initializer.append(numpy_helper.from_array(value, f"{node.output[0]}: {name}"))
        if written[node.output[0]]:
            images = next(name for name in node.input if name not in constants)
            given = [images, *(f"{node.output[0]}: {name}" for name in ("scale", "bias", "mean", "var"))]
            norm = helper.make_node(
                "BatchNormalization", given, list(node.output), name=node.name, epsilon=0.0
            )
            put_in_place_of(node, [norm], model)


def _as_batch_norm(
    node: NodeProto, shapes: Shapes, constants: dict[str, Array]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Scale, bias, mean and variance, one value per channel; nothing where the node is other arithmetic."""
    if node.op_type not in {"Add", "Sub", "Mul", "Div"} or len(node.attribute) > 0:
        return
    known = [name for name in node.input if name in constants]
    shape = shapes.get(next((name for name in node.input if name not in constants), ""), ())
    if len(known) != 1 or len(shape) not in (2, 4) or shape[1] is None:
        return
    constant, first = constants[known[0]], node.input[0] == known[0]
    value = _per_channel(constant, shape)
    if (
        value is None
        or (first and node.op_type == "Div")
        or (node.op_type == "Div" and not (value != 0).all())
    ):
        return
    one, nought = np.ones_like(value), np.zeros_like(value)
    scale, bias, mean = {
        "Add": (one, value, nought),
        "Sub": (-one, value, nought) if first else (one, nought, value),
        "Mul": (value, nought, nought),
        "Div": (np.sign(value), nought, nought),
    }[node.op_type]
    yield from (("scale", scale), ("bias", bias), ("mean", mean))
    yield "var", np.square(value) if node.op_type == "Div" else one


def _per_channel(constant: Array, shape: tuple[int | None, ...]) -> NDArray[np.float32] | None:
    """The constant as one value per channel of maps of ``shape``, or None where it is something else."""
    channels = int(shape[1] or 0)
    if constant.dtype.kind != "f":
        return None
    wanted = (1, channels, *(1,) * (len(shape) - 2))
    if constant.ndim > len(shape):
        return None
    padded = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    if any(size not in (1, full) for size, full in zip(padded.shape, wanted, strict=True)):
        return None
    return np.broadcast_to(padded.astype(np.float32), wanted).reshape(channels).copy()
