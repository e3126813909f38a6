"""ONNX graphs as PyTorch networks that take a batch of images of any size."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, NodeProto, version_converter
from onnx2torch import convert
from onnx2torch.node_converters import get_converter
from onnx2torch.node_converters.registry import _CONVERTER_REGISTRY
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models import onnx_padding, onnx_rewrite
from assay.models.adapters import FixedBatch, in_layout
from assay.models.check import quoted
from assay.models.image_shape import Shape, image_shape
from assay.models.info import Layout
from assay.models.onnx_lower import lower
from assay.models.onnx_model import keep_output, read

_PROBES = 3
_OPSET = 17  # the newest version with all operators known to the converter
_SAME = 1e-4


@dataclass(frozen=True)
class OnnxNetwork:
    """A network from an ONNX file.

    Attributes:
        module: (N, C, H, W) pixels, for any N, to (N, classes).
        shape: (channels, height, width) of its input.
        num_classes: the number of its logits.
        layout: of the graph's own input.
        files: every file that its weights lie in.
        notes: what a reader of its figures must know.
    """

    module: nn.Module
    shape: Shape
    num_classes: int
    layout: Layout
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def network(
    path: Path, *, layout: Layout | None = None, output: int | str | None = None, card: Path | None = None
) -> OnnxNetwork:
    """The network in an ONNX file.

    Args:
        path: of the file; external data lie beside it.
        layout: of the input, where its shape leaves it open.
        output: the place or the name of the logits among several outputs.
        card: that says them, for messages.

    Raises:
        UserError: no ONNX file; several inputs or outputs to choose from; a layout that contradicts the input; an
            operator that cannot be converted (named with its version); or a graph whose answer to an image depends on
            the batch.
    """
    file = read(path)
    model = file.model
    sizes = _input_sizes(model, path)
    keep_output(model, output, path)
    shape, found = _image_shape(sizes[1:], layout, path, str(card or path))
    module = _converted(model, sizes, shape, found, path)
    num_classes = _num_classes(module.eval(), shape, path)
    return OnnxNetwork(module, shape, num_classes, found, file.files)


def _input_sizes(model: ModelProto, path: Path) -> tuple[int, ...]:
    """The sizes of the graph's input in its own layout; the batch is 0 where it is free."""
    constants = {constant.name for constant in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise UserError(f"{path}: the graph has {len(inputs)} inputs; a classifier has one, the image")
    _check_type(inputs[0], path)
    sizes = tuple(int(dim.dim_value) for dim in inputs[0].type.tensor_type.shape.dim)
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        raise UserError(f"{path}: the graph does not fix its input's size; export it for one image size")
    return sizes


def _check_type(image: onnx.ValueInfoProto, path: Path) -> None:
    """Refuse an input that is not float32: gradients need real numbers, and pixels are given as float32."""
    kind = image.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower()
        raise UserError(
            f"{path}: its input is {name}, and a network is given its pixels as float32; export it with an input of "
            "float32"
        )


def _image_shape(
    sizes: tuple[int, ...], layout: Layout | None, path: Path, card: str
) -> tuple[Shape, Layout]:
    """(channels, height, width) and layout of one image: its own, or the square image of as many values in a row."""
    if len(sizes) == 3:
        return image_shape(sizes, layout, str(path), card)
    values = math.prod(sizes)
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if channels * side * side == values:
            if layout == "nhwc" and channels > 1:
                raise UserError(
                    f"{card}: `layout` nhwc contradicts the network's input {sizes}, a row of values; leave it out"
                )
            return (channels, side, side), "nchw"
    raise UserError(
        f"{path}: its input {sizes} is no image and no square one of 1 or 3 channels laid out in a row; load "
        "it by a factory of your own (package.module:factory)"
    )


def _converted(
    model: ModelProto, sizes: tuple[int, ...], shape: Shape, layout: Layout, path: Path
) -> nn.Module:
    """The graph as a module for any batch. Where its batch size cannot be changed, it runs in groups of that size."""
    batch = sizes[0]
    onnx_rewrite.lift_constants(model)
    model = lower(model, _is_known_at_all, path)
    onnx_rewrite.drop_allowzero(model)
    model = _in_known_opset(model, batch or 1, path)
    fixed = copy.deepcopy(model)
    onnx_rewrite.free_batch(model, batch)
    try:
        module = _module(model, sizes[1:], shape, layout, path)
    except UserError:  # shapes cannot be inferred where sizes fit no other batch
        if not batch:
            raise
    else:
        if not batch or _answers(module.eval(), shape) is not None:
            return module
    return FixedBatch(_module(fixed, sizes[1:], shape, layout, path), batch)


def _module(model: ModelProto, sizes: tuple[int, ...], shape: Shape, layout: Layout, path: Path) -> nn.Module:
    onnx_padding.explicit_padding(model)
    onnx_padding.even_average_pools(model)
    onnx_rewrite.plain_layers(model)
    try:
        graph: nn.Module = convert(model)
    except Exception as error:  # the converter passes on any error of the first node that it cannot take
        raise UserError(
            f"{path}: the graph cannot be converted to PyTorch ({_words(model, error)}); export it with fixed sizes, "
            "or load it by a factory of your own (package.module:factory)"
        ) from error
    turned = _input_sizes(model, path)[1:] != sizes  # a graph that began by turning its input no longer does
    if len(sizes) == 3:
        return graph if turned else in_layout(graph, layout)
    return graph if sizes == shape else nn.Sequential(nn.Flatten(), nn.Unflatten(1, sizes), graph)


def _words(model: ModelProto, error: Exception) -> str:
    """The converter's message. Where it lacks the shape of a value, the operator that gives it is named too."""
    missed = str(error.args[0]) if isinstance(error, KeyError) and error.args else None
    maker = next((node.op_type for node in model.graph.node if missed in node.output), None)
    return f"the shape of what its {maker} gives is open" if maker else quoted(error)


def _in_known_opset(model: ModelProto, batch: int, path: Path) -> ModelProto:
    """The graph with operators of versions that the converter knows.

    Args:
        model: the graph.
        batch: a number of images that it takes; versions cannot be changed where a size is open.
        path: for messages.

    Raises:
        UserError: names each operator that it does not know, and the version where that is what it does not know.
    """
    unknown = _unknown(model)
    if not unknown:
        return model
    version = onnx_rewrite.version_of(model)
    never = sorted({node.op_type for node in unknown if not _is_known_at_all(node)})
    if never:
        raise UserError(
            f"{path}: the ONNX operator {', '.join(never)} cannot be converted to PyTorch; export the "
            "network without it, or load it by a factory of your own (package.module:factory)"
        )
    onnx_rewrite.set_batch(model, batch)
    try:
        moved = _renumbered(model) if version > _OPSET else version_converter.convert_version(model, _OPSET)
        onnx.checker.check_model(
            moved
        )  # the converter keeps settings that the older version does not have, and does not warn
    except Exception as error:  # the converter's errors have no type of their own
        reason = " ".join(str(error).split())[-160:]
        raise _other_version(path, unknown, version, reason) from error
    if still := _unknown(moved):
        raise _other_version(path, still, version, f"opset {_OPSET} has another version too")
    return moved


def _renumbered(model: ModelProto) -> ModelProto:
    """The graph under the version that the converter knows.

    What newer versions added was replaced before, or is a setting or an input that the checker then refuses; other
    than these they differ in the types of numbers alone.
    """
    moved = copy.deepcopy(model)
    for opset in moved.opset_import:
        if not opset.domain:
            opset.version = _OPSET
    moved.ir_version = min(moved.ir_version, 10)
    return moved


def _other_version(path: Path, nodes: list[NodeProto], version: int, reason: str) -> UserError:
    names = ", ".join(sorted({node.op_type for node in nodes}))
    return UserError(
        f"{path}: the ONNX operator {names} of opset {version} cannot be converted to PyTorch, other versions of it "
        f"can ({reason}); export the network with opset {_OPSET}"
    )


def _unknown(model: ModelProto) -> list[NodeProto]:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    return [node for node in model.graph.node if not _is_known(node, versions)]


def _is_known(node: NodeProto, versions: dict[str, int]) -> bool:
    try:
        get_converter(domain=node.domain, operation_type=node.op_type, version=versions.get(node.domain, 1))
    except NotImplementedError:
        return False
    return True


def _is_known_at_all(node: NodeProto) -> bool:
    return any(
        (known.domain, known.operation_type) == (node.domain, node.op_type) for known in _CONVERTER_REGISTRY
    )


def _answers(net: nn.Module, shape: Shape) -> Tensor | None:
    """Logits of some images in a batch; None where the network fails, or answers them differently one by one."""
    pixels = torch.rand((_PROBES, *shape), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            together = net(pixels)
            alone = torch.cat([net(image[None]) for image in pixels])
    except (RuntimeError, IndexError, ValueError):
        return None
    close = together.shape == alone.shape and torch.allclose(together, alone, atol=_SAME)
    return together if close else None


def _num_classes(net: nn.Module, shape: Shape, path: Path) -> int:
    """The number of logits, after a check that images get the same answers in a batch and alone."""
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
    if together.ndim != 2 or together.shape != alone.shape or not torch.allclose(together, alone, atol=_SAME):
        raise UserError(
            f"{path}: the graph does not answer a batch as it does its images alone; export it so"
        )
    return int(together.shape[1])
