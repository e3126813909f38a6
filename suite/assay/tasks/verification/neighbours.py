"""Cells that lie close together differ in few gates; here cells are parted until they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FEW = 8  # cells that are not split further
_TOGETHER = 10  # gates that must change together before cells are cut along their line


@dataclass(frozen=True)
class Part:
    """Some cells, and what their gates have in common.

    Attributes:
        index: `(N,)` int64, the cells.
        always: `(n,)` bool, gates that are open in all of them.
        differing: `(n,)` bool, gates that are open in some of them and shut in others.
    """

    index: Tensor
    always: Tensor
    differing: Tensor


@dataclass(frozen=True)
class Patterns:
    """Which gates are open in each of N cells that come along a curve, eight gates in a byte.

    Attributes:
        packed: `(N, ceil(n / 8))` uint8.
        gates: their number n.
    """

    packed: NDArray[np.uint8]
    gates: int

    @staticmethod
    def of(patterns: Sequence[Tensor], cells: int) -> Patterns:
        """From the patterns `(N, n_k)` bool of each layer."""
        columns = [each.cpu().numpy() for each in patterns] or [np.empty((cells, 0), bool)]
        packed = np.packbits(np.concatenate(columns, 1), axis=1)
        return Patterns(packed, sum(each.shape[1] for each in columns))

    def parts(self, index: Tensor, most: int) -> Iterator[Part]:
        """Split cells into parts until at most so many gates differ within a part, or few cells are left in it.

        Where many gates change together, the cut goes between their two sides: a convolution sees the same grey in many
        places, so whole sets of its ReLUs share one zero line. Elsewhere it goes through the middle of the curve.
        """
        here = self.packed[index.numpy()]
        always, ever = np.bitwise_and.reduce(here, 0), np.bitwise_or.reduce(here, 0)
        differing = self._unpacked(always ^ ever)
        if differing.sum() <= most or len(index) <= _FEW:
            yield Part(index, torch.from_numpy(self._unpacked(always)), torch.from_numpy(differing))
            return
        side = torch.from_numpy(self._side(here, differing.nonzero()[0]))
        yield from self.parts(index[side], most)
        yield from self.parts(index[~side], most)

    def passed(self, cells: Tensor, gates: Tensor) -> Tensor:
        """Whether some gates, given as `(n,)` bool, are open in some cells `(N,)`: `(m, N)` bool."""
        return torch.from_numpy(self._unpacked(self.packed[cells.numpy()])).T[gates]

    def _unpacked(self, packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.unpackbits(packed, axis=-1, count=self.gates).view(bool)

    def _side(self, packed: NDArray[np.uint8], differing: NDArray[np.intp]) -> NDArray[np.bool_]:
        """The cells of one of the two sides of a cut, as `(N,)` bool; `differing` are numbers of gates."""
        changed = self._unpacked(packed ^ packed[:1])
        # hashes, equal where gates change together: sums of integers, exact in float32 below 2^24
        largest = max(2, 2 ** (24 - len(packed).bit_length()))
        numbers = np.random.default_rng(0).integers(1, largest, len(packed), endpoint=True)
        hashes = numbers.astype(np.float32) @ changed.astype(np.float32)
        _, member, count = np.unique(hashes[differing], return_inverse=True, return_counts=True)
        if count.max() >= _TOGETHER:
            return changed[:, differing[(member == count.argmax()).argmax()]]
        return np.arange(len(packed)) < len(packed) // 2
