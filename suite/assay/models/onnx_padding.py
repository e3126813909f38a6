"""Padding and average pools of an ONNX graph in forms that the converter takes, in place; answers stay."""

import math

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from assay.models.onnx_rewrite import (
    constants_of,
    drop_attribute,
    put_in_place_of,
    settings_of,
    shapes_of,
    version_of,
)


def explicit_padding(model: ModelProto) -> None:
    """``auto_pad`` of convolutions and pools becomes the pads that it means for the graph's own sizes."""
    shapes = shapes_of(model)
    constants = constants_of(model)
    for node in model.graph.node:
        settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        mode = settings.get("auto_pad", b"NOTSET").decode()
        if node.op_type not in {"Conv", "MaxPool", "AveragePool"} or mode == "NOTSET":
            continue
        sizes = shapes.get(node.input[0], ())[2:]
        if not sizes or None in sizes:
            continue
        kernel = settings.get("kernel_shape") or constants[node.input[1]].shape[2:]
        strides = settings.get("strides") or [1] * len(kernel)
        gaps = settings.get("dilations") or [1] * len(kernel)
        pads = [
            _same(int(size or 0), one, stride, gap, mode) if mode != "VALID" else (0, 0)
            for size, one, stride, gap in zip(sizes, kernel, strides, gaps, strict=True)
        ]
        drop_attribute(node, "auto_pad")
        drop_attribute(node, "pads")
        node.attribute.append(
            helper.make_attribute("pads", [low for low, _ in pads] + [high for _, high in pads])
        )


def _same(size: int, kernel: int, stride: int, gap: int, mode: str) -> tuple[int, int]:
    """Pads before and after, so that as many windows fit as there are strides (ONNX's SAME_UPPER, SAME_LOWER)."""
    missing = max((-(-size // stride) - 1) * stride + (kernel - 1) * gap + 1 - size, 0)
    small, large = missing // 2, missing - missing // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def even_average_pools(model: ModelProto) -> None:
    """Average pools whose pads differ before and after, which the converter does not take, in three steps.

    The map is padded with zeros, then pooled without padding; where padding does not count, each mean is multiplied
    with the window's size over the number of its places inside the map.
    """
    shapes = shapes_of(model)
    version = version_of(model)
    for node in list(model.graph.node):
        settings = settings_of(node)
        pads, kernel = settings.get("pads", []), settings.get("kernel_shape", [])
        half, sizes = len(pads) // 2, shapes.get(node.input[0] if node.input else "", ())[2:]
        if (
            node.op_type != "AveragePool"
            or pads[:half] == pads[half:]
            or None in sizes
            or settings.get("ceil_mode")
        ):
            continue
        strides = settings.get("strides") or [1] * half
        padded, pooled = f"{node.output[0]}: padded", f"{node.output[0]}: pooled"
        # Pads of images and channels, then of the sides; before, then after.
        around = [0, 0, *pads[:half], 0, 0, *pads[half:]]
        pool = helper.make_node("AveragePool", [padded], [pooled], kernel_shape=kernel, strides=strides)
        counts = inside_counts([int(size or 0) for size in sizes], kernel, strides, pads, [1] * half)
        weights = (
            math.prod(kernel) / counts if not settings.get("count_include_pad") else np.ones_like(counts)
        )
        factor = f"{node.output[0]}: factor"
        model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), factor))
        steps = [_pad_node(model, node.input[0], padded, around, version), pool]
        steps.append(helper.make_node("Mul", [pooled, factor], list(node.output), name=node.name))
        put_in_place_of(node, steps, model)


def inside_counts(
    sizes: list[int], kernel: list[int], strides: list[int], pads: list[int], gaps: list[int]
) -> NDArray[np.float64]:
    """How many pixels of each window lie inside the map."""
    half = len(pads) // 2
    lines = []
    for axis in range(half):
        inside = np.zeros(pads[axis] + sizes[axis] + pads[half + axis])
        inside[pads[axis] : pads[axis] + sizes[axis]] = 1
        # A window is a product of its ranges along the axes, and so is its count.
        reach, gap = (kernel[axis] - 1) * gaps[axis] + 1, gaps[axis]
        starts = range(0, len(inside) - reach + 1, strides[axis])
        lines.append(np.array([inside[start : start + reach : gap].sum() for start in starts]))
    counts: NDArray[np.float64] = np.multiply.outer(lines[0], lines[1]) if half == 2 else lines[0]
    return counts


def _pad_node(model: ModelProto, given: str, padded: str, around: list[int], version: int) -> NodeProto:
    if version < 11:
        return helper.make_node("Pad", [given], [padded], pads=around)
    name = f"{padded}: sizes"
    model.graph.initializer.append(numpy_helper.from_array(np.array(around, dtype=np.int64), name))
    return helper.make_node("Pad", [given, name], [padded])
