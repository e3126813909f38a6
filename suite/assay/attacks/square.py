"""Square: a black-box attack by random search with squares (Andriushchenko et al. 2020).

In L1 it follows AutoAttack (Croce and Hein 2021): as in L2, with steeper bumps and more mass than the radius allows.
The projection onto the ball then removes mass where there is least. Their squares shrink after fixed numbers of
queries, however few are left. Large squares for longer break more: 25 of 59 images on average over three seeds, on a
robust MNIST network at radius 7, where a schedule stretched over 5,000 queries broke 19.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, LiveImages, Memory, note_best_
from assay.attacks.implementation import implements
from assay.attacks.methods import SquareAttack
from assay.attacks.settings import Norm
from assay.common import randomness
from assay.common.balls import per_image, unit_

_FIRST_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the squares' share of the image halves (section 3.2); in L1 of any number."""
_TILES = 5
_AHEAD = 32  # steps whose random numbers are drawn at once
_PLACE = 3  # random numbers of a window: its row, its column, and how it lies
_WINDOWS: dict[Norm, int] = {"linf": 1, "l2": 2, "l1": 2}
_ORDER: dict[Norm, int] = {"l2": 2, "l1": 1}
_STEEPNESS = {1: 4, 2: 2}  # by the order of the norm: how fast a bump falls off from its centre


def at_pattern(given: AttackedImages, attack: SquareAttack) -> tuple[Tensor, Memory]:
    """Start at the edge of the ball: vertical stripes (L-infinity, 3.3) or a grid of tiles (L2, 3.4; L1)."""
    del attack
    images = given.images
    pattern = (
        _stripes(images, given.seeds) if given.norm == "linf" else _tiles(images, given.seeds, given.norm)
    )
    # In L1 tiles of length 1 each, together mostly more than the ball holds: the projection leaves a few peaks.
    reach = given.eps.clamp_min(_TILES**2 * images.shape[1]) if given.norm == "l1" else given.eps
    start = images + pattern.mul_(per_image(reach, images))
    given.project_(start)
    lowest = torch.full((len(given),), -torch.inf, dtype=images.dtype, device=images.device)
    count, channels, height, width = images.shape
    if given.norm == "linf":
        ahead = {
            "jumps": images.new_zeros(count, _AHEAD, channels, height),
            "columns": images.new_zeros(count, _AHEAD, width),
        }
    else:
        numbers = _PLACE * _WINDOWS[given.norm] + channels
        ahead = {"drawn": torch.zeros((count, _AHEAD, numbers), device=images.device)}
    # Nothing is prepared yet: the steps prepared last are over.
    begun = torch.full((count,), -_AHEAD, dtype=torch.int64, device=images.device)
    return start, {"best": start.clone(), "best_loss": lowest, "begun": begun, **ahead}


@implements(SquareAttack, start=at_pattern)
def propose(live: LiveImages, attack: SquareAttack) -> None:
    """Keep the last proposal where its loss is higher, and change a random square of the best point."""
    assert live.loss is not None
    given, loss, memory = live.attacked, live.loss, live.memory
    note_best_(memory, live.adversarial, loss)
    _CHANGES[given.norm](live, attack.step_count)
    given.project_(live.adversarial)


@lru_cache(maxsize=16)
def square_sides(steps: int, height: int, width: int, norm: Norm) -> tuple[int, ...]:
    """The side of the square for each query 0..steps-1; L2 and L1 take odd sides of 3 at least, where they fit."""
    sides = []
    for step in range(steps):
        query = step if norm == "l1" else step * 10000 // steps
        halvings = sum(query > at for at in _HALVINGS)
        side = max(round(math.sqrt(_FIRST_SHARE / 2**halvings * height * width)), 1)
        if norm != "linf":
            side = max(side, 3) | 1
        sides.append(min(side, height, width))
    return tuple(sides)


@lru_cache(maxsize=16)
def _sides(steps: int, height: int, width: int, norm: Norm) -> Tensor:
    """(steps,) int64 on the CPU: `square_sides`, to be looked up by step."""
    return torch.tensor(square_sides(steps, height, width, norm))


def _sides_now(live: LiveImages, step_count: int) -> Tensor:
    """(n,) int64: the side of each image's present square."""
    height, width = live.adversarial.shape[2:]
    sides = _sides(step_count, height, width, live.attacked.norm)[live.step]
    return sides.to(live.adversarial.device)


def _due(live: LiveImages) -> tuple[int, Tensor | None]:
    """How far the present step is into the steps prepared at once, and (m,) int64, whose steps are to be prepared.

    A draw of a few numbers also costs dozens of operations. So images that enter are brought in line with those that
    are there: their prepared steps begin before their first, and from then on all are due together.
    """
    step, begun = live.step, live.memory["begun"]
    # Images enter behind those that are there, so the first has just entered only where all have.
    ahead = int(step[0]) - int(begun[0])
    if ahead >= _AHEAD:
        ahead, due = 0, torch.arange(len(live))
    elif int(step.min()) == 0:
        due = (step == 0).nonzero().squeeze(1)
    else:
        return ahead, None
    there = due.to(begun.device)
    begun.index_copy_(0, there, (step[due] - ahead).to(begun.device))
    return ahead, there


def _draw(live: LiveImages, due: Tensor) -> Tensor:
    """(m * _AHEAD, 3 per window + C) uniform numbers: for each step, its windows' places, then a sign per channel."""
    steps = live.memory["begun"][due, None] + torch.arange(1, _AHEAD + 1, device=due.device)
    seeds = randomness.derive(live.attacked.seeds[due, None], steps).flatten()
    counts = (*(_PLACE,) * _WINDOWS[live.attacked.norm], live.adversarial.shape[1])
    parts = [
        randomness.uniform(randomness.derive(seeds, stream), (count,), torch.float32)
        for stream, count in enumerate(counts, 1)
    ]
    return torch.cat(parts, dim=1)


def _drawn(live: LiveImages) -> Tensor:
    """(n, 3 per window + C): :func:`_draw`'s numbers for each image's present step."""
    drawn = live.memory["drawn"]
    ahead, due = _due(live)
    if due is not None:
        drawn.index_copy_(0, due, _draw(live, due).view(len(due), _AHEAD, -1))
    return drawn[:, ahead]


def _stripes(images: Tensor, seeds: Tensor) -> Tensor:
    """(n, C, H, W) of -1 and 1, constant along each column of a channel."""
    count, channels, _, width = images.shape
    return _signs(seeds, (channels, 1, width), images).expand(count, -1, images.shape[2], -1).clone()


def _tiles(images: Tensor, seeds: Tensor, norm: Norm) -> Tensor:
    """(n, C, H, W) of length 1: bumps of random sign on a grid of about five by five."""
    order = _ORDER[norm]
    _, channels, height, width = images.shape
    side = max(min(height, width) // _TILES, 1)
    rows, columns = height // side, width // side
    signs = _signs(seeds, (channels, rows, columns), images)
    grid = torch.kron(signs, bump(side, images.dtype, order).to(images.device))
    return unit_(torch.nn.functional.pad(grid, (0, width - columns * side, 0, height - rows * side)), order)


def _flip_squares_(live: LiveImages, step_count: int) -> None:
    """Go to the best points with one square of each channel moved by plus or minus two eps."""
    best, jumps, columns = (live.memory[name] for name in ("best", "jumps", "columns"))
    ahead, due = _due(live)
    if due is not None:
        for table, rows in zip((jumps, columns), _squares(live, due, step_count), strict=True):
            table.index_copy_(0, due, rows)
    torch.addcmul(best, jumps[:, ahead, :, :, None], columns[:, ahead, None, None, :], out=live.adversarial)


def _squares(live: LiveImages, due: Tensor, step_count: int) -> tuple[Tensor, Tensor]:
    """The squares of the next steps: (m, _AHEAD, C, H), by how much their rows move, and (m, _AHEAD, W), 1 in them."""
    best, drawn = live.memory["best"], _draw(live, due)
    steps = live.memory["begun"][due, None].cpu() + torch.arange(_AHEAD)
    sides = _sides(step_count, *best.shape[2:], "linf")[steps.clamp(0, step_count - 1).flatten()]
    windows = _windows(best, drawn[:, :_PLACE], sides.to(best.device))
    reach = (2 * live.attacked.eps[due]).to(best.dtype).repeat_interleave(_AHEAD)
    jumps = windows.rows[:, None] * (_as_signs(drawn[:, _PLACE:], best) * reach[:, None])[:, :, None]
    shape = len(due), _AHEAD
    return jumps.view(*shape, *jumps.shape[1:]), windows.columns.to(best.dtype).view(*shape, -1)


def _move_mass_(live: LiveImages, step_count: int) -> None:
    """Go to the best points with the perturbation of one window moved, as a bump, into another (Algorithm 3)."""
    images, drawn, sides = live.attacked.images, _drawn(live), _sides_now(live, step_count)
    delta = live.memory["best"] - images
    windows = _windows(images, drawn[:, :_PLACE], sides)
    target, source = windows.inside, _windows(images, drawn[:, _PLACE : 2 * _PLACE], sides).inside
    unused = (live.attacked.eps.to(delta.dtype).square() - delta.square().sum((1, 2, 3))).clamp_min_(0)
    in_both = (delta * (target | source)).square().sum((2, 3), keepdim=True)
    available = (in_both + per_image(unused / delta.shape[1], delta)).sqrt()
    there = delta * target
    there = there / _channel_length(there)
    mass = there + _bumps(windows, images, 2) * _as_signs(drawn[:, 2 * _PLACE :], delta)[:, :, None, None]
    live.adversarial.copy_(images + delta * ~(target | source) + mass / _channel_length(mass) * available)


def _move_mass_in_l1_(live: LiveImages, step_count: int) -> None:
    """As :func:`_move_mass_`, by L1 lengths, and with all channels' mass in each of them."""
    images, drawn, sides = live.attacked.images, _drawn(live), _sides_now(live, step_count)
    delta = live.memory["best"] - images
    windows = _windows(images, drawn[:, :_PLACE], sides)
    target, source = windows.inside, _windows(images, drawn[:, _PLACE : 2 * _PLACE], sides).inside
    unused = (live.attacked.eps.to(delta.dtype) - delta.abs().sum((1, 2, 3))).clamp_min_(0)
    channels = delta.shape[1]
    available = (_channel_sum(delta * (target | source)) + per_image(unused / channels, delta)) * channels
    there = delta * target
    there = there / _channel_sum(there)
    mass = there + _bumps(windows, images, 1) * _as_signs(drawn[:, 2 * _PLACE :], delta)[:, :, None, None]
    live.adversarial.copy_(images + delta * ~(target | source) + mass / _channel_sum(mass) * available)


_CHANGES = {"linf": _flip_squares_, "l2": _move_mass_, "l1": _move_mass_in_l1_}


@dataclass(frozen=True)
class _Windows:
    """A random square of each of n images.

    Attributes:
        corner: (n, 2) int64, the first row and the first column.
        sides: (n,) int64.
        turned: (n,) bool, whether a bump there lies on its side.
        rows: (n, H) bool, those that it covers.
        columns: (n, W) bool, those that it covers.
    """

    corner: Tensor
    sides: Tensor
    turned: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def inside(self) -> Tensor:
        """(n, 1, H, W) bool."""
        return self.rows[:, None, :, None] & self.columns[:, None, None, :]


def _windows(images: Tensor, place: Tensor, sides: Tensor) -> _Windows:
    """Squares of the given sides; place (n, 3), uniform in [0, 1), says their row, their column and how they lie."""
    height, width = images.shape[2:]
    size = torch.tensor([height, width], device=images.device)
    corner = (place[:, :2].double() * (size - sides[:, None] + 1)).long()
    at, first = torch.arange(max(height, width), device=images.device), corner[:, :, None]
    covered = (at >= first) & (at < first + sides[:, None, None])
    return _Windows(corner, sides, place[:, 2] > 0.5, covered[:, 0, :height], covered[:, 1, :width])


def _bumps(windows: _Windows, images: Tensor, order: int) -> Tensor:
    """(n, 1, H, W): a bump in each window, 0 elsewhere."""
    bumps = torch.zeros_like(images[:, :1])
    corners = torch.stack([*windows.corner.T, windows.sides, windows.turned], dim=1).tolist()
    for row, (y, x, side, turned) in enumerate(corners):
        shape = bump(side, images.dtype, order)
        bumps[row, 0, y : y + side, x : x + side] = shape.T if turned else shape
    return bumps


@lru_cache(maxsize=64)
def bump(side: int, dtype: torch.dtype, order: int = 2) -> Tensor:
    """(side, side) of L2 or L1 length 1: one half a positive hill, the other a negative one (equation 2)."""
    upper = _hill(side // 2, side, dtype, order)
    both = torch.cat([upper, -_hill(side - side // 2, side, dtype, order)])
    return both / (both.square().sum().sqrt() if order == 2 else both.abs().sum())


def _hill(height: int, width: int, dtype: torch.dtype, order: int) -> Tensor:
    """(height, width): nested rectangles, the k-th from the centre adding 1/k**2 (in L1 1/k**4); its length is 1."""
    hill = torch.zeros(height, width, dtype=dtype)
    top, left = height // 2, width // 2
    for ring in range(max(top, left) + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        hill[rows, columns] += 1 / (ring + 1) ** _STEEPNESS[order]
    length = hill.square().sum().sqrt() if order == 2 else hill.sum()
    return hill / length.clamp_min(torch.finfo(dtype).tiny)


def _signs(seeds: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """(n, *shape) of -1 and 1."""
    return _as_signs(randomness.uniform(seeds, shape, torch.float32), like)


def _as_signs(drawn: Tensor, like: Tensor) -> Tensor:
    """-1 and 1 from uniform numbers, in the type of `like`."""
    return torch.where(drawn < 0.5, -1.0, 1.0).to(like.dtype)


def _channel_length(difference: Tensor) -> Tensor:
    """(n, C, 1, 1) Euclidean lengths, never zero."""
    tiny = torch.finfo(difference.dtype).tiny
    return difference.square().sum((2, 3), keepdim=True).sqrt().clamp_min(tiny)


def _channel_sum(difference: Tensor) -> Tensor:
    """(n, C, 1, 1) L1 lengths, never zero."""
    tiny = torch.finfo(difference.dtype).tiny
    return difference.abs().sum((2, 3), keepdim=True).clamp_min(tiny)
