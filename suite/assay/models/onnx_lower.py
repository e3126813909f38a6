"""Replaces operators that the converter does not know by known ones of the same meaning; all in place.

An operator that ONNX itself defines by others (Gelu, Mish, GroupNormalization, …) is replaced by that definition.
Settings of newer versions go where they change nothing. A Resize between sizes that are known becomes a product with
one matrix per axis, so that every mode means what ONNX says and not what PyTorch's nearest relative does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

from assay.common.errors import UserError
from assay.models.onnx_padding import explicit_padding, inside_counts
from assay.models.onnx_rewrite import (
    Array,
    Shapes,
    constants_of,
    drop_attribute,
    lift_constants,
    put_in_place_of,
    settings_of,
    shapes_of,
    version_of,
)

_DEEPEST = 4  # definitions may hold further definitions
_WAY_OUT = "export the network without it, or load it by a factory of your own (package.module:factory)"


def lower(model: ModelProto, is_known: Callable[[NodeProto], bool], path: Path) -> ModelProto:
    """The graph in operators of older versions, as far as that can be.

    Args:
        model: the graph, its constants lifted; it may be changed.
        is_known: whether the converter knows some version of a node's operator.
        path: for messages.

    Raises:
        UserError: a Resize or a dilated pool that is no fixed mixture of its input's pixels; the setting is named.
    """
    model = _defined_by_others(model, is_known)
    _without_idle_settings(model)
    _reduced_axes(model)
    _splits_with_sizes(model)
    _dilated_pools(model, path)
    _resizes_as_products(model, path)
    return model


def _defined_by_others(model: ModelProto, is_known: Callable[[NodeProto], bool]) -> ModelProto:
    """Functions of the file, and operators that are unknown and defined by others, replaced by their definitions."""
    if model.functions:
        model = inliner.inline_local_functions(model, convert_version=True)
    for _ in range(_DEEPEST):
        unknown = {(node.domain, node.op_type) for node in model.graph.node if not is_known(node)}
        defined = sorted(one for one in unknown if _is_defined(*one, version_of(model)))
        if not defined:
            break
        # some definitions depend on the types of their inputs
        typed = onnx.shape_inference.infer_shapes(model)
        model = inliner.inline_selected_functions(typed, defined, inline_schema_functions=True)
    lift_constants(model)
    return model


def _is_defined(domain: str, name: str, version: int) -> bool:
    try:
        schema = onnx.defs.get_schema(name, version, domain)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _without_idle_settings(model: ModelProto) -> None:
    """Settings of newer versions are dropped where the operator means the same without them."""
    constants = constants_of(model)
    for node in model.graph.node:
        settings = settings_of(node)
        if node.op_type.startswith("Reduce") and "noop_with_empty_axes" in settings:
            # Axes are an attribute or, in newer versions, an input.
            # Without any, all axes are reduced, or none where this setting is on.
            axes = constants.get(node.input[1]) if len(node.input) > 1 and node.input[1] else None
            names_axes = bool(settings.get("axes")) or (axes is not None and axes.size > 0)
            if names_axes or not settings["noop_with_empty_axes"]:
                drop_attribute(node, "noop_with_empty_axes")
            elif axes is not None or len(node.input) < 2 or not node.input[1]:
                del node.input[1:], node.attribute[:]
                node.op_type = "Identity"
        if node.op_type == "AveragePool" and set(settings.get("dilations", ())) == {1}:
            drop_attribute(node, "dilations")


def _reduced_axes(model: ModelProto) -> None:
    """Axes that newer versions take as a constant input become the older ones' attribute; a mean of maps is a pool."""
    shapes, constants = shapes_of(model), constants_of(model)
    for node in list(model.graph.node):
        if not node.op_type.startswith("Reduce") or node.domain or len(node.input) < 2:
            continue
        axes = constants.get(node.input[1])
        # ReduceSum's axes were an input in the converter's versions already
        if axes is None or node.op_type == "ReduceSum":
            continue
        del node.input[1:]
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes.flatten()]))
        of_maps = len(shapes.get(node.input[0], ())) == 4 and {int(axis) % 4 for axis in axes.flatten()} == {
            2,
            3,
        }
        if node.op_type == "ReduceMean" and of_maps:
            _as_pool(model, node)


def _as_pool(model: ModelProto, node: NodeProto) -> None:
    """Write a mean over height and width as a global average pool, which readers of layers know."""
    keeps = settings_of(node).get("keepdims", 1)
    pooled = node.output[0] if keeps else f"{node.output[0]}: pooled"
    steps = [helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name)]
    if not keeps:
        steps.append(helper.make_node("Flatten", [pooled], list(node.output)))
    put_in_place_of(node, steps, model)


def _splits_with_sizes(model: ModelProto) -> None:
    """Write ``num_outputs`` of a Split as equal sizes; the last may be smaller."""
    shapes = shapes_of(model)
    for node in model.graph.node:
        settings = settings_of(node)
        if node.op_type != "Split" or "num_outputs" not in settings or len(node.input) > 1:
            continue
        shape = shapes.get(node.input[0], ())
        size = shape[settings.get("axis", 0)] if shape else None
        if size is None:
            continue
        each = -(-size // settings["num_outputs"])
        sizes = [each] * (settings["num_outputs"] - 1)
        name = f"{node.output[0]}: sizes"
        model.graph.initializer.append(numpy_helper.from_array(np.array([*sizes, size - sum(sizes)]), name))
        node.input.append(name)
        drop_attribute(node, "num_outputs")


def _dilated_pools(model: ModelProto, path: Path) -> None:
    """An average over pixels with gaps between them is a convolution of equal weights, one per channel.

    Where padding does not count, each mean is multiplied with the window's size over its places inside the map.

    Raises:
        UserError: the map's size is open, or the last windows may reach over its edge (`ceil_mode`).
    """
    nodes = [node for node in model.graph.node if node.op_type == "AveragePool"]
    nodes = [node for node in nodes if "dilations" in settings_of(node)]
    if not nodes:
        return
    explicit_padding(model)
    shapes = shapes_of(model)
    for node in nodes:
        settings, shape = settings_of(node), shapes.get(node.input[0], ())
        sizes = [int(size or 0) for size in shape[2:]]
        if len(shape) != 4 or not shape[1] or not all(sizes) or settings.get("ceil_mode"):
            raise UserError(
                f"{path}: the ONNX operator AveragePool with `dilations` {settings['dilations']} of maps "
                f"{_shown(shape)}{' and `ceil_mode`' if settings.get('ceil_mode') else ''} cannot be converted to "
                f"PyTorch; {_WAY_OUT}"
            )
        kernel, gaps = list(settings["kernel_shape"]), list(settings["dilations"])
        strides, pads = list(settings.get("strides", [1, 1])), list(settings.get("pads", [0] * 4))
        counts = inside_counts(sizes, kernel, strides, pads, gaps)
        full = float(np.prod(kernel))
        # The convolution divides by the whole window; the factor makes that the window's part inside the map.
        shares = np.ones_like(counts) if settings.get("count_include_pad") else full / counts
        weighted = bool((shares != 1).any())
        weights, factor, summed = (f"{node.output[0]}: {name}" for name in ("weights", "factor", "summed"))
        summed = summed if weighted else node.output[0]
        kernels = np.full((shape[1], 1, *kernel), 1 / full, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(kernels, weights))
        if weighted:
            model.graph.initializer.append(numpy_helper.from_array(shares.astype(np.float32), factor))
        steps = [helper.make_node(
            "Conv", [node.input[0], weights], [summed], name=node.name, group=shape[1], kernel_shape=kernel,
            dilations=gaps, strides=strides, pads=pads,
        )]  # fmt: skip
        if weighted:
            steps.append(helper.make_node("Mul", [summed, factor], list(node.output)))
        put_in_place_of(node, steps, model)


def _resizes_as_products(model: ModelProto, path: Path) -> None:
    """A Resize or Upsample along an axis is a fixed matrix times that axis: each result is a mean of its neighbours."""
    nodes = [node for node in model.graph.node if node.op_type in {"Resize", "Upsample"} and not node.domain]
    if not nodes:
        return
    shapes, constants = shapes_of(model), constants_of(model)
    for node in nodes:
        matrices = _matrices(node, shapes, constants, version_of(model), path)
        steps, given = [], node.input[0]
        for axis, matrix in matrices.items():
            name = f"{node.output[0]}: axis {axis}"
            # (out, in) @ (…, in, width) for the height; (…, height, in) @ (in, out) for the width
            kept = matrix if axis == 2 else np.ascontiguousarray(matrix.T)
            model.graph.initializer.append(numpy_helper.from_array(kept, f"{name} matrix"))
            order = [f"{name} matrix", given] if axis == 2 else [given, f"{name} matrix"]
            steps.append(helper.make_node("MatMul", order, [name], name=name))
            given = name
        if not steps:
            steps = [helper.make_node("Identity", [given], [given])]
        steps[-1].output[0] = node.output[0]
        put_in_place_of(node, steps, model)


def _matrices(
    node: NodeProto, shapes: Shapes, constants: dict[str, Array], version: int, path: Path
) -> dict[int, NDArray[np.float32]]:
    """The matrix (size after, size before) of each axis whose size changes.

    Raises:
        UserError: there is none, or not known before the network runs.
    """
    settings = settings_of(node)
    before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    scales = _scales(node, settings, constants, len(before))
    problem = None
    if settings.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        problem = "with `coordinate_transformation_mode` tf_crop_and_resize"
    elif settings.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        problem = f"with `keep_aspect_ratio_policy` {settings['keep_aspect_ratio_policy']}"
    elif len(before) != 4 or None in (*before[1:], *after[1:]) or before[1] != after[1]:
        problem = f"of {_shown(before)} to {_shown(after)} (only height and width, from and to sizes that are fixed)"
    if problem is not None:
        raise UserError(
            f"{path}: the ONNX operator {node.op_type} {problem} cannot be converted to PyTorch; {_WAY_OUT}"
        )
    kept = {name: value for name, value in settings.items() if name != "axes"}
    # An axis that keeps its size may still be resampled, by a scale that is not 1.
    return {
        axis: _matrix(
            node.op_type, kept, int(before[axis] or 0), int(after[axis] or 0), scales, axis, version
        )
        for axis in (2, 3)
        if before[axis] != after[axis] or (scales is not None and scales[axis] != 1)
    }


def _scales(
    node: NodeProto, settings: dict[str, Any], constants: dict[str, Array], rank: int
) -> dict[int, float] | None:
    """The factor of each axis, or None where the sizes are given instead."""
    if "scales" in settings:
        given = np.asarray(settings["scales"])
    else:
        place = 1 if len(node.input) == 2 else 2
        found = constants.get(node.input[place]) if len(node.input) > place else None
        if found is None or found.size == 0:
            return None
        given = found.astype(np.float64)
    axes = [axis % rank for axis in settings.get("axes") or range(rank)] if rank else []
    return dict.fromkeys(range(rank), 1.0) | dict(zip(axes, map(float, given), strict=False))


def _matrix(
    kind: str,
    settings: dict[str, Any],
    before: int,
    after: int,
    scales: dict[int, float] | None,
    axis: int,
    version: int,
) -> NDArray[np.float32]:
    """The matrix (after, before) of the operator: its results for the unit vectors, by ONNX's own definition."""
    # One way to place the pixels: nearest takes the pixel before, linear starts at the corner.
    if version < 11:
        settings = {"mode": settings.get("mode", "nearest"), "coordinate_transformation_mode": "asymmetric"}
        settings |= {"nearest_mode": "floor"} if settings["mode"] == "nearest" else {}
    if scales is None:
        constants = {"sizes": np.array([before, after], np.int64)}
        inputs = ["x", "", "", "sizes"]
    else:
        constants = {"scales": np.array([1, scales[axis]], np.float32)}
        inputs = ["x", "", "scales"]
    vectors = [before, before], [before, after]
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **settings)],
        kind,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, vectors[0])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, vectors[1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", min(max(version, 13), 19))
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[opset]))
    (rows,) = evaluator.run(None, {"x": np.eye(before, dtype=np.float32)})
    matrix: NDArray[np.float32] = np.ascontiguousarray(np.asarray(rows, np.float32).T)
    return matrix


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"
