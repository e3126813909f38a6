"""ONNX graphs as PyTorch networks that take a batch of images of any size."""

import math
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from onnx2torch import convert
from onnx2torch.node_converters import get_converter
from torch import nn

from assay.errors import UserError

_PROBES = 3


def network(path: Path) -> tuple[nn.Module, tuple[int, int, int], int]:
    """The network of an ONNX file.

    Returns:
        The module (pixels to logits), its input's (channels, height, width), and its number of classes.

    Raises:
        UserError: no ONNX file, several inputs, an operator that cannot be converted (named), or a graph that
            answers one image differently when others are in the batch.
    """
    model = _read(path)
    _refuse_unsupported(model, path)
    shape = _input_shape(model, path)
    _free_batch(model)
    try:
        graph = convert(model)
    except Exception as error:  # the converter raises whatever the first node that it cannot take raises
        raise UserError(f"{path}: the graph cannot be converted to PyTorch ({error})") from error
    image_shape = _image_shape(shape, path)
    net = graph if shape == image_shape else nn.Sequential(nn.Flatten(), nn.Unflatten(1, shape), graph)
    return net, image_shape, _num_classes(net.eval(), image_shape, path)


def _read(path: Path) -> ModelProto:
    if not path.is_file():
        raise UserError(f"onnx:{path}: there is no such file; check the path")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's decoding error has no typed name
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: is not a valid ONNX file ({reason}); export it again") from error
    return model


def _refuse_unsupported(model: ModelProto, path: Path) -> None:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    unsupported = sorted({node.op_type for node in model.graph.node if not _is_supported(node, versions)})
    if unsupported:
        raise UserError(
            f"{path}: the ONNX operator {', '.join(unsupported)} cannot be converted to PyTorch; export the "
            "network without it, or load it by a factory of your own (package.module:factory)"
        )


def _is_supported(node: NodeProto, versions: dict[str, int]) -> bool:
    try:
        get_converter(domain=node.domain, operation_type=node.op_type, version=versions.get(node.domain, 1))
    except NotImplementedError:
        return False
    return True


def _input_shape(model: ModelProto, path: Path) -> tuple[int, ...]:
    """The shape of one image in the graph's own layout, without the batch."""
    constants = {constant.name for constant in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise UserError(f"{path}: the graph has {len(inputs)} inputs; a classifier has one, the image")
    sizes = tuple(int(dim.dim_value) for dim in inputs[0].type.tensor_type.shape.dim)[1:]
    if not sizes or min(sizes) < 1:
        raise UserError(f"{path}: the graph does not fix its input's size; export it for one image size")
    return sizes


def _image_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """(channels, height, width) of a graph's input: its own, or the square image of as many values."""
    if len(shape) == 3 and shape[0] in {1, 3}:
        return shape[0], shape[1], shape[2]
    values = math.prod(shape)
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if channels * side * side == values:
            return channels, side, side
    raise UserError(
        f"{path}: its input {shape} is no image and no square one of 1 or 3 channels laid out in a row; load "
        "it by a factory of your own (package.module:factory)"
    )


def _free_batch(model: ModelProto) -> None:
    """Frees the batch size written into the graph's input, output and Reshape constants, in place."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if batch and len(dims) > 1 and dims[0].dim_value == batch:
            dims[0].dim_param = "batch"
    del model.graph.value_info[:]
    if not batch:
        return
    targets = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for constant in model.graph.initializer:
        if constant.name in targets:
            constant.CopyFrom(_with_free_first(constant, batch))


def _with_free_first(constant: onnx.TensorProto, batch: int) -> onnx.TensorProto:
    """A Reshape's target whose first size is the batch, with that size copied from the input (ONNX's 0)."""
    sizes = numpy_helper.to_array(constant).copy()
    if sizes.size > 1 and sizes[0] == batch:
        sizes[0] = 0
    return numpy_helper.from_array(sizes, constant.name)


def _num_classes(net: nn.Module, shape: tuple[int, int, int], path: Path) -> int:
    """The number of logits, after a check that a batch is answered as its images alone are."""
    pixels = torch.rand((_PROBES, *shape), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            together = net(pixels)
            alone = torch.cat([net(image[None]) for image in pixels])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: the graph does not take a batch of images ({reason}); export it so"
        ) from error
    if together.ndim != 2 or together.shape != alone.shape or not torch.allclose(together, alone, atol=1e-4):
        raise UserError(
            f"{path}: the graph does not answer a batch as it does its images alone; export it so"
        )
    return int(together.shape[1])
