"""Subdivision by max pooling: which entry of each window is the largest, and along which lines that changes.

Where entries tie over a whole cell (a flat background) the first of them passes, as in torch. Values that differ by
less than rounding can do tie: the noise of two sums in different orders must not choose.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assay.tasks.verification.cells import Cells
from assay.tasks.verification.layer import first_of
from assay.tasks.verification.linear import in_windows
from assay.tasks.verification.lines import CellsToCut, Cuts, Lines, box_bounds, in_random_order


def screen_windows(cells: Cells, lines: Lines) -> CellsToCut:
    """Settle the windows where a cell's bounding box shows the largest entry; the others become pairs."""
    middle, reach = (in_windows(each, lines.window) for each in box_bounds(cells, lines))
    lower, upper = middle - reach, middle + reach
    slack = _slack(lines)[:, None]
    rivals = upper >= lower.amax(2, keepdim=True) - slack
    largest = first_of(rivals)
    plain = (lower >= upper.amax(2, keepdim=True) - slack) | (rivals.sum(2, keepdim=True) == 1)
    settled = (largest & plain).any(2)
    cell, window = in_random_order(~settled)
    pattern = (largest & settled[..., None]).flatten(1)
    everything = torch.arange(len(cells), device=pattern.device)
    return CellsToCut(cells, everything, pattern, cell, window, rivals[cell, window])


def settle_windows(work: CellsToCut, lines: Lines) -> tuple[CellsToCut, Cuts]:
    """Note the largest entry of each window that has one throughout its cell; say how to cut for the others."""
    values = torch.where(work.rivals[:, None], work.values(lines), -torch.inf)
    slack = _slack(lines)[work.pair_unit]
    top = values.amax(2, keepdim=True)
    behind = top - values
    near = (behind <= slack[:, None, None]).all(1)
    cuts, crossing = _cuts(work, values, behind, lines, slack)
    crossing &= ~near.any(1)
    # a window that no line parts, and no entry leads within rounding, goes to the entry that leads on average
    mean = torch.nn.functional.one_hot(values.sum(1).argmax(1), lines.window).bool()
    winner = first_of(torch.where(near.any(1, keepdim=True), near, mean))
    settled = ~crossing
    rows, entry = winner[settled].nonzero(as_tuple=True)
    pair_cell, pair_unit = work.pair_cell[settled][rows], work.pair_unit[settled][rows]
    work.pattern[pair_cell, pair_unit * lines.window + entry] = True
    assert cuts.beaten is not None
    return work.pairs(crossing), Cuts(cuts.values[crossing], cuts.names[crossing], cuts.beaten[crossing])


def _slack(lines: Lines) -> Tensor:
    """`(windows,)` what rounding can do to the difference of two entries."""
    return 2 * in_windows(lines.tolerance, lines.window).amax(1)


def _cuts(
    work: CellsToCut, values: Tensor, behind: Tensor, lines: Lines, slack: Tensor
) -> tuple[Cuts, Tensor]:
    """A line for each pair along which the leader changes, and whether it parts the cell: `(P,)` bool.

    The leader is the entry that is largest at the mean of the corners. From there towards the corner where it is
    furthest behind, the first entry to overtake it has the line that borders its region.
    """
    pair = torch.arange(len(values), device=values.device)
    leader = values.sum(1).argmax(1)
    ahead = values - values[pair, :, leader][..., None]
    ahead = torch.where(ahead.abs() <= slack[:, None, None], 0.0, ahead)
    corner = behind[pair, :, leader].argmax(1)
    end, start = ahead[pair, corner], ahead.mean(1).clamp(max=0)
    overtakes = (end > 0) & (ahead < 0).any(1) & work.rivals
    where = torch.where(overtakes, start / (start - end), torch.inf)
    other = where.argmin(1)
    first, last = torch.minimum(leader, other), torch.maximum(leader, other)
    width = lines.window
    names = lines.first_name + (work.pair_unit * width + first) * width + last
    return Cuts(ahead[pair, :, other], names, torch.stack([other, leader], 1)), overtakes.any(1)
