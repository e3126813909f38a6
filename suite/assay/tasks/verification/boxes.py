"""Boxes of the unit cube between points that were looked at; the most promising ones are halved."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Look = Callable[[Tensor, Tensor], Tensor]
"""Takes image indices `(R,)` and points of the unit cube `(R, d)` to what is climbed `(R,)`."""

BETTER = 1e-5  # relative; less is rounding, which differs between devices and batches
_ROOM = 0.5  # of the spread of the image's values: what a box of the grid may hide, a smaller one by its root


@dataclass(frozen=True, eq=False)
class Boxes:
    """As many boxes for each of N images.

    Attributes:
        low: `(N, K, d)` lowest corners.
        side: `(N, K)` lengths, of the grid's own boxes 1.
        values: `(N, K, 2 ** d)` what was seen at the corners, the last parameter changing first.
        spread: `(N,)` between the least and the most seen on the grid.
        length: of the grid's own boxes in the unit cube.
    """

    low: Tensor
    side: Tensor
    values: Tensor
    spread: Tensor
    length: float

    @staticmethod
    def of(unit: Tensor, values: Tensor, density: int) -> Boxes:
        """The boxes of a grid `(P, d)` with `density` points along each parameter, and values `(N, P)` there."""
        dimension = unit.shape[1]
        place = torch.arange(len(unit)).reshape((density,) * dimension)
        corners = torch.stack(
            [
                place[tuple(slice(step, step + density - 1) for step in corner)].flatten()
                for corner in itertools.product((0, 1), repeat=dimension)
            ],
            1,
        )
        low = unit[corners[:, 0]].expand(len(values), -1, -1)
        spread = values.amax(1) - values.amin(1)
        return Boxes(low, torch.ones_like(low[..., 0]), values[:, corners], spread, 1 / (density - 1))

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return self.low.shape[2]

    def corner_points(self) -> Tensor:
        """`(N, K, 2 ** d, d)` points of the unit cube."""
        return self._points((0, 1), 1.0)

    def _points(self, steps: tuple[int, ...], step: float) -> Tensor:
        offsets = torch.tensor(list(itertools.product(steps, repeat=self.dimension)), dtype=torch.float64)
        side = (self.side * self.length)[..., None, None]
        return self.low[:, :, None] + side * step * offsets

    def take(self, count: int) -> tuple[Boxes, Boxes]:
        """The most promising boxes of each image, and the others."""
        count = min(count, self.side.shape[1])
        highest, lowest = self.values.amax(2), self.values.amin(2)
        on_a_plateau = highest - lowest <= BETTER * highest.abs()
        promise = highest + _ROOM * self.side.sqrt() * self.spread[:, None]
        promise = torch.where(on_a_plateau, -torch.inf, promise)
        order = promise.argsort(dim=1, descending=True, stable=True)
        return self._some(order[:, :count]), self._some(order[:, count:])

    def _some(self, index: Tensor) -> Boxes:
        def rows(tensor: Tensor) -> Tensor:
            return tensor.gather(1, index[..., None].expand(-1, -1, tensor.shape[2]))

        return Boxes(rows(self.low), self.side.gather(1, index), rows(self.values), self.spread, self.length)

    def halved(self, look: Look) -> Boxes:
        """Each box as its `2 ** d` halves along every parameter; what is not known yet is looked at."""
        steps = list(itertools.product((0, 1, 2), repeat=self.dimension))
        known = [steps.index(tuple(2 * step for step in corner)) for corner in self._corners()]
        new = [i for i in range(len(steps)) if i not in known]
        images, boxes = self.side.shape
        points = self._points((0, 1, 2), 0.5)
        rows = torch.arange(images).repeat_interleave(boxes * len(new))
        values = self.values.new_empty(images, boxes, len(steps))
        values[:, :, known] = self.values
        seen = look(rows, points[:, :, new].reshape(-1, self.dimension))
        values[:, :, new] = seen.reshape(images, boxes, len(new))
        within = torch.tensor(
            [
                [steps.index(tuple(map(sum, zip(part, corner, strict=True)))) for corner in self._corners()]
                for part in self._corners()
            ]
        )
        low = points[:, :, [steps.index(part) for part in self._corners()]].flatten(1, 2)
        side = (self.side / 2).repeat_interleave(len(within), 1)
        return Boxes(low, side, values[:, :, within].flatten(1, 2), self.spread, self.length)

    def _corners(self) -> list[tuple[int, ...]]:
        return list(itertools.product((0, 1), repeat=self.dimension))

    def joined(self, other: Boxes) -> Boxes:
        """These boxes and others of the same images."""
        return Boxes(
            torch.cat([self.low, other.low], 1),
            torch.cat([self.side, other.side], 1),
            torch.cat([self.values, other.values], 1),
            self.spread,
            self.length,
        )
