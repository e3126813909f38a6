"""Exact subdivision of a convex piece of Theta into the activation cells of a network.

Every output of a block is affine in theta on a cell of the layers before it. So each layer cuts each cell by the zero
lines of its ReLUs, or by the lines where entries of a pooling window tie. After the last layer the cells are the list
of all activation regions (Munakata et al., section II, fact (i)). All cells of a chunk are cut at once, in rounds: one
pending line per cell and round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from assay.tasks.verification.cells import Cells, concatenate, split
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.lines import CellsToCut, Cuts, Lines, box_bounds, in_random_order
from assay.tasks.verification.pooling import screen_windows, settle_windows

_CHUNK_BYTES = 32e6
_ROUNDING = 4 * torch.finfo(torch.float64).eps


class OutOfTimeError(Exception):
    """The deadline passed before the subdivision was complete."""


@dataclass(frozen=True)
class Leaves:
    """Activation cells: in each, the network is affine in theta.

    Attributes:
        cells: N cells.
        patterns: `(N, n)` bool per layer: which outputs pass; for the layers with splits, in order.
        keys: `(N,)` int64 per layer, hashes of its pattern; their sum names the activation region.
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
    """What the layers before have settled for each cell: their patterns and the hashes of these.

    `tolerance` is what rounding can do to the last layer's outputs, `(n,)`.
    """

    patterns: tuple[Tensor, ...] = ()
    keys: tuple[Tensor, ...] = ()
    tolerance: Tensor | None = None

    def __getitem__(self, index: Tensor) -> Trail:
        patterns = tuple(each[index] for each in self.patterns)
        return Trail(patterns, tuple(each[index] for each in self.keys), self.tolerance)


def subdivide(layers: tuple[Layer, ...], cells: Cells, forms: Tensor, deadline: float) -> Iterator[Leaves]:
    """List all activation cells inside the given cells, depth first, in chunks of bounded memory.

    Args:
        layers: the network.
        cells: convex cells where the input is affine.
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
    tolerance = rounding_of(layer, _largest(forms, cells), trail.tolerance)
    # Lines are numbered through all layers, so a number means one line.
    first_name = sum(len(each.bias) * max(each.window, 1) for each in layers[:depth])
    gates = slice(layer.gates)
    lines = Lines(values[..., gates], layer.splits[gates], tolerance[gates], first_name, layer.window)
    cells, parent, opened = _split_layer(cells, lines, deadline)
    pattern = layer.with_ungated(opened)
    keys = pattern_keys(pattern, layer.splits, depth)
    # Depth first: a chunk goes through all later layers before the next chunk begins, so the cells of the whole network
    # are never held at once.
    chunk = max(64, int(_CHUNK_BYTES / (8 * forms.shape[1] * max(len(each.bias) for each in layers))))
    # Cells of a chunk lie near each other, so the bounds that they share are narrow.
    for index in torch.split(along_a_curve(cells.centres), chunk):
        source, passed = parent[index], pattern[index]
        before = trail[source]
        after = Trail((*before.patterns, passed), (*before.keys, keys[index]), tolerance)
        yield from _descend(
            layers, depth + 1, cells[index], values[source].mul_(passed[:, None]), after, deadline
        )


def rounding_of(layer: Layer, largest: Tensor, before: Tensor | None) -> Tensor:
    """What rounding can do to each output of a block, `(n,)`.

    Args:
        layer: the block.
        largest: `(inputs,)` a bound of each input's absolute value.
        before: `(inputs,)` what rounding can do to each input; None for none.
    """
    tolerance = _ROUNDING * layer.magnitude(largest)
    if before is None or (not layer.window and layer.gates == len(layer.bias)):
        return tolerance
    # what is pooled ties where the sums before it do; what passes by without a gate may be pooled later
    inherited = layer.spread(before)
    return tolerance + (inherited if layer.window else torch.where(layer.splits, 0.0, inherited))


def along_a_curve(points: Tensor) -> Tensor:
    """An order `(N,)` of points `(N, d)` that keeps neighbours in the order near each other (Morton's)."""
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
    return sums_of_marked(pattern, torch.where(splits, odd, 0))


def sums_of_marked(marked: Tensor, numbers: Tensor) -> Tensor:
    """For each row of `(N, n)` bool the sum of the marked int64 numbers `(n,)`, wrapped to int64.

    Halves of 32 bits are added up by a product in float64, which is exact below 2^53 and far faster than int64 sums.
    """
    halves = torch.stack([numbers >> 32, numbers & 0xFFFFFFFF], 1)
    sums = (marked.double() @ halves.double()).long()
    return sums[:, 0] * 2**32 + sums[:, 1]


def _largest(forms: Tensor, cells: Cells) -> Tensor:
    """`(inputs,)` a bound of each input's absolute value over all cells."""
    reach = torch.cat([forms.new_ones(1), cells.points.abs().amax((0, 1))])
    values = forms.numpy()  # NumPy's extremes along the first axis are four times as fast as torch's
    return reach @ torch.from_numpy(np.maximum(values.max(0), -values.min(0)))


def _split_layer(cells: Cells, lines: Lines, deadline: float) -> tuple[Cells, Tensor, Tensor]:
    """Cut cells by all lines along which a layer's gates open and shut.

    Returns:
        The cells, the index of the cell that each came from, and their patterns `(N, n)`.
    """
    screen, settle = (screen_windows, settle_windows) if lines.window else (_screen, _settle)
    work = screen(cells, lines)
    done: list[tuple[Cells, Tensor, Tensor]] = []
    while len(work.cells):
        if time.monotonic() > deadline:
            raise OutOfTimeError
        work, cuts = settle(work, lines)
        active = torch.zeros(len(work.cells), dtype=torch.bool, device=work.parent.device)
        active[work.pair_cell] = True
        rest = (~active).nonzero().flatten()
        done.append((work.cells[rest], work.parent[rest], work.pattern[rest]))
        work = _cut(work, cuts, active)
    batches, parents, patterns = zip(*done, strict=True)
    return concatenate(batches), torch.cat(parents), torch.cat(patterns)


def _screen(cells: Cells, lines: Lines) -> CellsToCut:
    """Settle the ReLUs with a sign that a cell's bounding box shows; the others become pairs."""
    middle, reach = box_bounds(cells, lines)
    open_ = (middle.abs() <= reach + lines.tolerance) & lines.splits
    open_ &= (middle != 0) | (reach != 0)  # zero throughout is inactive, as in autograd
    cell, neuron = in_random_order(open_)
    everything = torch.arange(len(cells), device=open_.device)
    return CellsToCut(
        cells, everything, (middle > 0) | ~lines.splits, cell, neuron, open_.new_empty(len(cell), 0)
    )


def _settle(work: CellsToCut, lines: Lines) -> tuple[CellsToCut, Cuts]:
    """Evaluate the pairs at the corners; note the sign of those that do not cross, keep the others."""
    values = work.values(lines)[..., 0]
    snapped = torch.where(values.abs() <= lines.tolerance[work.pair_unit, None], 0.0, values)
    crossing = (snapped > 0).any(1) & (snapped < 0).any(1)
    total = snapped.sum(1)
    # a cell inside the band of rounding takes the sign of the mean; an exact zero is inactive, as in autograd
    sign = torch.where(total == 0, values.sum(1), total) > 0
    settled = ~crossing
    work.pattern[work.pair_cell[settled], work.pair_unit[settled]] = sign[settled]
    kept = work.pairs(crossing)
    return kept, Cuts(snapped[crossing], lines.first_name + kept.pair_unit)


def _cut(work: CellsToCut, cuts: Cuts, active: Tensor) -> CellsToCut:
    """Cut each active cell by its first pending line; both children inherit the other lines."""
    index = active.nonzero().flatten()
    # Pairs name cells by number; inactive cells leave, so the others get new numbers.
    number = active.cumsum(0) - 1
    work = CellsToCut(
        work.cells[index],
        work.parent[index],
        work.pattern[index],
        number[work.pair_cell],
        work.pair_unit,
        work.rivals,
    )
    if not len(index):
        return work
    # Pairs stand in the order of cells, so a cell's first pending line is where the cell changes.
    first = torch.ones_like(work.pair_cell, dtype=torch.bool)
    first[1:] = work.pair_cell[1:] != work.pair_cell[:-1]
    halves = split(work.cells, cuts.values[first], cuts.names[first])
    below, above = (_half(work, cells, side, first, cuts) for side, cells in enumerate(halves))
    return CellsToCut(
        concatenate([below.cells, above.cells]),
        torch.cat([below.parent, above.parent]),
        torch.cat([below.pattern, above.pattern]),
        torch.cat([below.pair_cell, above.pair_cell + len(index)]),
        torch.cat([below.pair_unit, above.pair_unit]),
        torch.cat([below.rivals, above.rivals]),
    )


def _half(work: CellsToCut, cells: Cells, side: int, first: Tensor, cuts: Cuts) -> CellsToCut:
    """The part of every cell on one side (0: negative) of the line of its first pair."""
    if cuts.beaten is not None:  # the window has one rival less
        rivals = work.rivals.clone()
        rivals[first.nonzero().flatten(), cuts.beaten[first, side]] = False
        return CellsToCut(cells, work.parent, work.pattern, work.pair_cell, work.pair_unit, rivals)
    pattern = work.pattern.clone()
    pattern[torch.arange(len(cells), device=first.device), work.pair_unit[first]] = bool(side)
    return CellsToCut(cells, work.parent, pattern, work.pair_cell, work.pair_unit, work.rivals).pairs(~first)
