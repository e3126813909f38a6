"""A check of the finished subdivision by other means: points, run through the layers one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.tasks.verification.network import Layer
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.subdivide import pattern_keys
from assay.tasks.verification.table import CellTable


def point_keys(layers: tuple[Layer, ...], pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Activation patterns of single images, computed without any cell.

    Args:
        layers: the network (with clamping, where Theta clamps).
        pixels: `(N, inputs)` float64.

    Returns:
        `(N,)` int64 keys as in `CellTable.keys`, and `(N,)` bool: no neuron is within rounding of zero.
    """
    keys = torch.zeros(len(pixels), dtype=torch.int64)
    clear = torch.ones(len(pixels), dtype=torch.bool)
    values = pixels
    for depth, layer in enumerate(layers[:-1]):
        band = 1e-13 * layer.magnitude(values.abs().amax(0))
        values = layer.linear(values) + layer.bias
        on = (values > 0) | ~layer.splits
        keys += pattern_keys(on, layer.splits, depth)
        # an exact zero is inactive by convention, for cells and points alike
        clear &= ((values.abs() > band) | (values == 0) | ~layer.splits).all(1)
        values = values * on
    return keys, clear


def missed_points(layers: tuple[Layer, ...], image: Tensor, theta: Theta, table: CellTable, seed: int) -> int:
    """Count audit points that contradict the table.

    128 random points of Theta must have a listed pattern; the centres of 128 random cells must have their cell's.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(128, theta.dimension, generator=generator, dtype=torch.float64)
    points = theta.lower + spread * (theta.upper - theta.lower)
    keys, clear = point_keys(layers, perturbed_rows(image, theta, points))
    missed = clear & ~torch.isin(keys, table.keys)
    chosen = torch.randperm(len(table), generator=generator)[:128]
    chosen = chosen[table.volumes[chosen] > 0]
    at_centres, clear_there = point_keys(layers, perturbed_rows(image, theta, table.cells.centres[chosen]))
    wrong = clear_there & (at_centres != table.keys[chosen])
    return int(missed.sum() + wrong.sum())


def perturbed_rows(image: Tensor, theta: Theta, points: Tensor) -> Tensor:
    """The images g(theta, x) at points `(N, d)`, unclamped and flattened: `(N, inputs)`."""
    forms = {piece: piece.image_forms(image).flatten(1) for piece in theta.pieces}
    rows = []
    for point in points:
        form = forms[theta.piece_of(point)]
        rows.append(form[0] + point @ form[1:])
    return torch.stack(rows) if rows else image.new_zeros(0, image.numel())
