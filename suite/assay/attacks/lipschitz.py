"""How far logits can move in a Euclidean ball: products of the layers' spectral norms.

Loose for deep networks, but the same for every image, so that it costs nothing per image. No norm here is an estimate
that could be too small: power iteration would be one, since it approaches the norm from below.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from assay.attacks.affine_layers import Shape, channel_factor
from assay.attacks.relu_graph import Add, ReluGraph

_SLACK = 1 + 1e-6  # what a decomposition in float64 may be too small by, many times over


@torch.no_grad()
def margin_slopes(graph: ReluGraph) -> Tensor:
    """(K, K) float64: entry (y, j) bounds how fast the margin of class y over class j falls, per unit of L2 distance.

    A margin that is larger than eps times its slope stays positive in the whole L2 ball of radius eps.
    """
    slopes = [1.0]  # of each value of the graph
    for number, (layer, read) in enumerate(zip(graph.layers, graph.inputs, strict=True)):
        before = [slopes[each] for each in read]
        # Two branches that end in a sum may both move it their whole way.
        slopes.append(
            sum(before) if isinstance(layer, Add) else before[0] * _norm(layer, graph.before(number))
        )
    last, classes = graph.layers[-1], graph.shapes[-1][0]
    if isinstance(last, nn.Linear):
        rows, before_it = last.weight.double(), slopes[graph.inputs[-1][0]]
    else:
        rows, before_it = torch.eye(classes, dtype=torch.float64), slopes[-1]
    return torch.cdist(rows, rows) * before_it * _SLACK


def _norm(layer: nn.Module, before: Shape) -> float:
    """A bound of a layer's largest stretch in L2."""
    if isinstance(layer, nn.Linear):
        return float(torch.linalg.matrix_norm(layer.weight.double(), 2)) * _SLACK
    if isinstance(layer, nn.Conv2d):
        return _norm_of_convolution(layer, before)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return float(channel_factor(layer, 1).abs().max()) * _SLACK
    return 1.0  # a ReLU, or the same values in another shape


def _norm_of_convolution(layer: nn.Conv2d, before: Shape) -> float:
    """The spectral norm of the circular convolution on the padded image (Sedghi et al. 2019).

    With zeros around the image and without stride a convolution gives a part of what the circular one gives, and a
    stride only leaves more of it out. Thus its norm is no larger.
    """
    padding = cast(tuple[int, ...], layer.padding)
    sides = [side + 2 * pad for side, pad in zip(before[1:], padding, strict=True)]
    _, inputs, height, width = layer.weight.shape
    spread = layer.weight.new_zeros((len(layer.weight), inputs, *sides), dtype=torch.float64)
    # Sides hold the kernel, gaps included: else there would be no output.
    down, right = layer.dilation
    spread[:, :, : height * down : down, : width * right : right] = layer.weight.double()
    # (rows, columns, groups, outputs of a group, inputs of a group): one matrix per wave and group.
    waves = torch.fft.rfft2(spread).permute(2, 3, 0, 1).unflatten(2, (layer.groups, -1))
    return float(torch.linalg.matrix_norm(waves, 2).max()) * _SLACK
