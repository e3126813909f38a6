"""Exact subdivision of a convex piece of Theta into the activation cells of a network.

Every pre-activation is affine in theta on a cell of the layers before it. So each layer cuts each cell by the
zero lines of its neurons; what is left after the last layer is the list of all activation regions (Munakata
et al., section II, fact (i)). All cells of a chunk are cut at once, in rounds: one pending line a cell and
round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.tasks.verification.cells import Cells, concatenate, split
from assay.tasks.verification.network import Layer

_CHUNK_BYTES = 32e6
_ROUNDING = 4 * torch.finfo(torch.float64).eps


class OutOfTimeError(Exception):
    """The deadline passed before the subdivision was complete."""


@dataclass(frozen=True)
class Leaves:
    """Activation cells in which the network is affine in theta.

    Attributes:
        cells: N cells.
        patterns: `(N, n)` bool a layer, which outputs pass; for the layers with splits, in order.
        keys: `(N,)` int64 a layer, hashes of its pattern; their sum names the activation region.
        logits: `(N, 1 + d, classes)` affine forms of the outputs.
    """

    cells: Cells
    patterns: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    logits: Tensor

    def __getitem__(self, index: Tensor) -> Leaves:
        patterns = tuple(each[index] for each in self.patterns)
        keys = tuple(each[index] for each in self.keys)
        return Leaves(self.cells[index], patterns, keys, self.logits[index])


@dataclass(frozen=True)
class Trail:
    """What the layers before have settled for each cell: their patterns and the hashes of these."""

    patterns: tuple[Tensor, ...] = ()
    keys: tuple[Tensor, ...] = ()

    def __getitem__(self, index: Tensor) -> Trail:
        return Trail(tuple(each[index] for each in self.patterns), tuple(each[index] for each in self.keys))


def subdivide(layers: tuple[Layer, ...], cells: Cells, forms: Tensor, deadline: float) -> Iterator[Leaves]:
    """List all activation cells inside the given cells, depth first, in chunks of bounded memory.

    Args:
        layers: the network.
        cells: convex cells on which the input is affine.
        forms: `(N, 1 + d, inputs)` the input as an affine function of theta on each cell, constants first.
        deadline: `time.monotonic()` at which to give up.

    Raises:
        OutOfTimeError: the deadline passed; the leaves listed so far stand.
    """
    yield from _descend(layers, 0, cells, forms, Trail(), deadline)


def _descend(
    layers: tuple[Layer, ...], depth: int, cells: Cells, forms: Tensor, trail: Trail, deadline: float
) -> Iterator[Leaves]:
    layer = layers[depth]
    values = layer.affine(forms)
    if time.monotonic() > deadline:
        raise OutOfTimeError
    if depth == len(layers) - 1:
        yield Leaves(cells, trail.patterns, trail.keys, values)
        return
    tolerance = _ROUNDING * layer.magnitude(_largest(forms, cells))
    first_name = sum(len(each.bias) for each in layers[:depth])
    cells, parent, pattern = _split_layer(
        cells, _Lines(values, layer.splits, tolerance, first_name), deadline
    )
    keys = pattern_keys(pattern, layer.splits, depth)
    chunk = max(64, int(_CHUNK_BYTES / (8 * forms.shape[1] * max(len(each.bias) for each in layers))))
    for index in torch.split(along_a_curve(cells.centres), chunk):
        source, passed = parent[index], pattern[index]
        before = trail[source]
        after = Trail((*before.patterns, passed), (*before.keys, keys[index]))
        yield from _descend(
            layers, depth + 1, cells[index], values[source] * passed[:, None], after, deadline
        )


def along_a_curve(points: Tensor) -> Tensor:
    """An order `(N,)` of points `(N, d)` in which neighbours in the order are near each other (Morton's)."""
    low, high = points.amin(0), points.amax(0)
    steps = ((points - low) / (high - low).clamp(min=1e-300) * (2**20 - 1)).long()
    code = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for bit in range(20):
        for k in range(points.shape[1]):
            code |= ((steps[:, k] >> bit) & 1) << (bit * points.shape[1] + k)
    return code.argsort()


def pattern_keys(pattern: Tensor, splits: Tensor, depth: int) -> Tensor:
    """Hash activation patterns `(N, n)` of one layer to `(N,)` int64; hashes add up over layers."""
    generator = torch.Generator().manual_seed(depth)
    odd = torch.randint(-(2**62), 2**62, (len(splits),), generator=generator).to(pattern.device)
    return torch.where(pattern & splits, odd, 0).sum(1)


def _largest(forms: Tensor, cells: Cells) -> Tensor:
    """`(inputs,)` a bound of each input's absolute value over all cells."""
    reach = torch.cat([forms.new_ones(1), cells.points.abs().amax((0, 1))])
    return reach @ forms.abs().amax(0)


@dataclass(frozen=True)
class _Lines:
    """The zero lines of a layer's neurons on each cell.

    Attributes:
        forms: `(C, 1 + d, n)` pre-activations, affine in theta.
        splits: `(n,)` bool, the outputs that are split.
        tolerance: `(n,)` what rounding can do to a value.
        first_name: facets cut by neuron i are named `first_name + i`.
    """

    forms: Tensor
    splits: Tensor
    tolerance: Tensor
    first_name: int


@dataclass(frozen=True)
class _Work:
    """Cells being cut, and the (cell, neuron) pairs whose zero line may cross the cell, sorted by cell."""

    cells: Cells
    parent: Tensor
    pattern: Tensor
    pair_cell: Tensor
    pair_neuron: Tensor


def _split_layer(cells: Cells, lines: _Lines, deadline: float) -> tuple[Cells, Tensor, Tensor]:
    """Cut cells by all zero lines of a layer's neurons.

    Returns:
        The cells, the index of the cell that each came from, and their patterns `(N, n)`.
    """
    work = _screen(cells, lines)
    done: list[tuple[Cells, Tensor, Tensor]] = []
    while len(work.cells):
        if time.monotonic() > deadline:
            raise OutOfTimeError
        work, values = _settle(work, lines)
        active = torch.zeros(len(work.cells), dtype=torch.bool, device=values.device)
        active[work.pair_cell] = True
        rest = (~active).nonzero().flatten()
        done.append((work.cells[rest], work.parent[rest], work.pattern[rest]))
        work = _cut(work, values, active, lines.first_name)
    batches, parents, patterns = zip(*done, strict=True)
    return concatenate(batches), torch.cat(parents), torch.cat(patterns)


def _screen(cells: Cells, lines: _Lines) -> _Work:
    """Settle the neurons whose sign is plain from a cell's bounding box; the others become pairs."""
    forms, splits = lines.forms, lines.splits
    lower, upper = cells.points.amin(1), cells.points.amax(1)
    centre, radius = (lower + upper) / 2, (upper - lower) / 2
    middle = forms[:, 0] + torch.einsum("nd,ndi->ni", centre, forms[:, 1:])
    reach = torch.einsum("nd,ndi->ni", radius, forms[:, 1:].abs())
    open_ = (middle.abs() <= reach + lines.tolerance) & splits
    # lines in a random order keep the number of rounds near the logarithm of the number of cells
    order = torch.randperm(len(splits), generator=torch.Generator().manual_seed(0)).to(forms.device)
    cell, column = open_[:, order].nonzero(as_tuple=True)
    everything = torch.arange(len(cells), device=forms.device)
    return _Work(cells, everything, (middle > 0) | ~splits, cell, order[column])


def _settle(work: _Work, lines: _Lines) -> tuple[_Work, Tensor]:
    """Evaluate the pairs at the corners; note the sign of those that do not cross, keep the others."""
    form = lines.forms[work.parent[work.pair_cell], :, work.pair_neuron]
    points = work.cells.points[work.pair_cell]
    values = form[:, :1] + (points * form[:, None, 1:]).sum(2)
    snapped = torch.where(values.abs() <= lines.tolerance[work.pair_neuron, None], 0.0, values)
    crossing = (snapped > 0).any(1) & (snapped < 0).any(1)
    total = snapped.sum(1)
    # a cell inside the band of rounding takes the sign of the mean; an exact zero is inactive, as in autograd
    sign = torch.where(total == 0, values.sum(1), total) > 0
    settled = ~crossing
    work.pattern[work.pair_cell[settled], work.pair_neuron[settled]] = sign[settled]
    kept = _Work(work.cells, work.parent, work.pattern, work.pair_cell[crossing], work.pair_neuron[crossing])
    return kept, snapped[crossing]


def _cut(work: _Work, values: Tensor, active: Tensor, first_name: int) -> _Work:
    """Cut each active cell by its first pending line; both children inherit the other lines."""
    index = active.nonzero().flatten()
    number = active.cumsum(0) - 1
    pair_cell = number[work.pair_cell]
    first = torch.ones_like(pair_cell, dtype=torch.bool)
    first[1:] = pair_cell[1:] != pair_cell[:-1]
    neuron = work.pair_neuron[first]
    if not len(index):
        return _Work(work.cells[index], work.parent[index], work.pattern[index], pair_cell, neuron)
    below, above = split(work.cells[index], values[first], first_name + neuron)
    pattern = work.pattern[index].repeat(2, 1)
    count = len(index)
    pattern[torch.arange(count, device=index.device), neuron] = False
    pattern[torch.arange(count, 2 * count, device=index.device), neuron] = True
    rest_cell, rest_neuron = pair_cell[~first], work.pair_neuron[~first]
    return _Work(
        concatenate([below, above]),
        work.parent[index].repeat(2),
        pattern,
        torch.cat([rest_cell, rest_cell + count]),
        rest_neuron.repeat(2),
    )
