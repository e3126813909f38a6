"""Networks from ONNX files."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnx2torch
from torch import Tensor, nn

from assay.errors import UserError
from assay.tasks.verification.network import Network, Shape, exact_copy, read_layers


def read_onnx(path: Path, input_shape: Shape) -> Network:
    """Read an ONNX file as a piecewise linear network.

    Args:
        path: the file.
        input_shape: (channels, height, width) of the images; the graph's own input may have any shape of this
            size.

    Raises:
        UserError: no file there, or not a readable ONNX graph.
        UnsupportedLayerError: as in `read_network`.
    """
    if not path.is_file():
        raise UserError(f"no ONNX file at {path}: give the path of an .onnx file")
    try:
        model = onnx.load(path)
        sides = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        graph = onnx2torch.convert(model)
    except Exception as error:  # the parser's, protobuf's and the converter's errors share no base class
        raise UserError(f"{path} cannot be read as an ONNX network: {error}") from error
    graph, shape = exact_copy(graph), tuple(max(side, 1) for side in sides[1:])
    if math.prod(shape) != math.prod(input_shape):
        raise UserError(f"{path} reads inputs of shape {shape}, not images of shape {input_shape}")
    return Network(read_layers(graph, shape), input_shape, _OnnxInput(graph, shape))


class _OnnxInput(nn.Module):
    """An ONNX graph that takes images of any shape with the right number of values."""

    def __init__(self, graph: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.graph = graph
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        """Reshape `(1, channels, height, width)` to what the graph declares, then run it."""
        logits: Tensor = self.graph(images.reshape(1, *self.shape))
        return logits
