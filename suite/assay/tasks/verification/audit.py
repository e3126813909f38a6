"""A check of the finished subdivision by other means: points, run through the layers one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.layer import Layer
from assay.tasks.verification.linear import in_windows
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.subdivide import pattern_keys
from assay.tasks.verification.table import CellTable


@dataclass(frozen=True)
class Points:
    """Single images, run through the layers without any cell.

    Attributes:
        keys: `(N,)` int64 patterns as in `CellTable.keys`.
        clear: `(N,)` bool: no gate is within rounding of opening or shutting, so the key is certain.
        logits: `(N, classes)`.
    """

    keys: Tensor
    clear: Tensor
    logits: Tensor


def run_points(layers: tuple[Layer, ...], pixels: Tensor) -> Points:
    """Run images `(N, inputs)` float64 through the layers (with clamping, where Theta clamps)."""
    keys = torch.zeros(len(pixels), dtype=torch.int64)
    clear = torch.ones(len(pixels), dtype=torch.bool)
    values = pixels
    for depth, layer in enumerate(layers):
        band = 1e-13 * layer.magnitude(values.abs().amax(0))
        values = layer.linear(values) + layer.bias
        on = layer.open_gates(values)
        keys += pattern_keys(on, layer.splits, depth)
        clear &= _plain(values, layer, band).all(1)
        values = values * on
    return Points(keys, clear, values)


def _plain(values: Tensor, layer: Layer, band: Tensor) -> Tensor:
    """Whether each gate is certain, up to the band `(n,)` of rounding: `(N, n)`.

    By convention, for cells and points, an exact zero shuts a ReLU and exact ties go to the first entry.
    """
    if not layer.window:
        return (values.abs() > band) | (values == 0) | ~layer.splits
    behind = in_windows(values[:, : layer.gates], layer.window)
    behind = behind.amax(2, keepdim=True) - behind
    widest = in_windows(band[: layer.gates], layer.window).amax(1, keepdim=True)
    return layer.with_ungated(((behind == 0) | (behind > 2 * widest)).flatten(1))


def missed_points(
    layers: tuple[Layer, ...], image: Tensor, theta: Theta, table: CellTable, label: int, seed: int
) -> int:
    """Count audit points that contradict the table.

    128 random points of Theta must have a listed pattern. The 64 smallest cells, which a line slightly out
    of place would miss first, and 64 random ones must show their pattern at their centre and their margin at
    its corner.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(128, theta.dimension, generator=generator, dtype=torch.float64)
    scattered = theta.lower + spread * (theta.upper - theta.lower)
    points = run_points(layers, perturbed_rows(image, theta, scattered))
    missed = points.clear & ~torch.isin(points.keys, table.keys)
    smallest = torch.where(table.volumes > 0, table.volumes, torch.inf).topk(
        min(64, len(table)), largest=False
    )
    chosen = torch.cat([smallest.indices, torch.randperm(len(table), generator=generator)[:64]])
    centres = run_points(layers, perturbed_rows(image, theta, table.cells.centres[chosen]))
    wrong = centres.clear & (centres.keys != table.keys[chosen])
    logits = run_points(layers, perturbed_rows(image, theta, table.theta_margin[chosen])).logits
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], 1)
    margin, listed = logits[:, label] - others.amax(1), table.margin_min[chosen]
    wrong |= (margin - listed).abs() > 1e-9 * logits.abs().amax()
    return int(missed.sum() + wrong.sum())


def perturbed_rows(image: Tensor, theta: Theta, points: Tensor) -> Tensor:
    """The images g(theta, x) at points `(N, d)`, unclamped and flattened: `(N, inputs)`."""
    rows = points.new_empty(len(points), image.numel())
    ones = torch.cat([points.new_ones(len(points), 1), points], 1)
    homes = theta.pieces_of(points)
    for piece in theta.pieces:
        here = torch.tensor([home is piece for home in homes])
        rows[here] = ones[here] @ piece.image_forms(image).flatten(1)
    return rows
