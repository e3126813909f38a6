"""Linear maps on rows, with their adjoints: what a network is made of between two ReLUs.

Every map takes rows `(N, inputs)` to rows `(N, outputs)` without its bias (biases are kept per layer, see
`layer.Layer`), so that one map serves images, affine forms and saliency maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Linear(Protocol):
    """A linear map on rows and its adjoint."""

    def forward(self, rows: Tensor) -> Tensor:
        """Map `(N, inputs)` to `(N, outputs)`."""

    def transpose(self, rows: Tensor) -> Tensor:
        """Apply the adjoint: map `(N, outputs)` to `(N, inputs)`."""

    def magnitude(self, rows: Tensor) -> Tensor:
        """Apply the map with every weight replaced by its absolute value (for rounding bounds)."""


@dataclass(frozen=True)
class Dense:
    """A matrix `(outputs, inputs)`."""

    weight: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows @ self.weight.T

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows @ self.weight

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows @ self._absolute.T

    @cached_property
    def _absolute(self) -> Tensor:
        return self.weight.abs()


@dataclass(frozen=True)
class Convolution:
    """A 2-D cross-correlation with zero padding; rows are flattened `(channels, height, width)`."""

    weight: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    in_shape: tuple[int, int, int]

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Shape of one output, `(channels, height, width)`."""
        height, width = (
            (
                self.in_shape[1 + i]
                + 2 * self.padding[i]
                - self.dilation[i] * (self.weight.shape[2 + i] - 1)
                - 1
            )
            // self.stride[i]
            + 1
            for i in range(2)
        )
        return self.weight.shape[0], height, width

    def _correlate(self, rows: Tensor, weight: Tensor) -> Tensor:
        images = rows.reshape(-1, *self.in_shape)
        out = functional.conv2d(images, weight, None, self.stride, self.padding, self.dilation, self.groups)
        return out.flatten(1)

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return self._correlate(rows, self.weight)

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return self._correlate(rows, self.weight.abs())

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        out_shape = self.out_shape
        lost = [  # input rows that the last stride step leaves unread
            self.in_shape[1 + i]
            + 2 * self.padding[i]
            - self.dilation[i] * (self.weight.shape[2 + i] - 1)
            - 1
            - (out_shape[1 + i] - 1) * self.stride[i]
            for i in range(2)
        ]
        images = functional.conv_transpose2d(
            rows.reshape(-1, *out_shape),
            self.weight,
            None,
            self.stride,
            self.padding,
            lost,
            self.groups,
            self.dilation,
        )
        return images.flatten(1)


@dataclass(frozen=True)
class DiagonalMap:
    """A diagonal map, `(n,)` (batch normalisation, input normalisation)."""

    factors: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows * self.factors

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows * self.factors

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows * self.factors.abs()


@dataclass(frozen=True)
class Copies:
    """Copies of inputs, output i that of input `index[i]` (the entries of pooling windows)."""

    index: Tensor
    inputs: int

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows[:, self.index]

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows[:, self.index]

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows.new_zeros(len(rows), self.inputs).index_add_(1, self.index, rows)


@dataclass(frozen=True)
class Sums:
    """Sums over windows of `size` inputs each."""

    size: int

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return in_windows(rows, self.size).sum(2)

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return self.forward(rows)

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return rows.repeat_interleave(self.size, 1)


@dataclass(frozen=True)
class Sparse:
    """A sparse matrix `(outputs, inputs)` in coordinate form (average pooling)."""

    matrix: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return _multiply(self.matrix, rows)

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return _multiply(self.matrix.T, rows)

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return _multiply(self.matrix.abs(), rows)


@dataclass(frozen=True)
class Padding:
    """Borders of zeros around images; rows are flattened `(channels, height, width)`.

    Attributes:
        in_shape: of the images without their borders.
        widths: (left, right, top, bottom), negative to crop.
    """

    in_shape: tuple[int, int, int]
    widths: tuple[int, int, int, int]

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Shape of one output, `(channels, height, width)`."""
        left, right, top, bottom = self.widths
        channels, height, width = self.in_shape
        return channels, height + top + bottom, width + left + right

    def forward(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return functional.pad(rows.reshape(-1, *self.in_shape), self.widths).flatten(1)

    def magnitude(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        return self.forward(rows)

    def transpose(self, rows: Tensor) -> Tensor:
        """See `Linear`."""
        back = [-width for width in self.widths]
        return functional.pad(rows.reshape(-1, *self.out_shape), back).flatten(1)


def _multiply(matrix: Tensor, rows: Tensor) -> Tensor:
    product: Tensor = torch.sparse.mm(matrix, rows.T)
    return product.T


def sparse(outputs: Tensor, inputs: Tensor, values: Tensor, shape: tuple[int, int]) -> Sparse:
    """A `Sparse` map from its entries (float64, duplicates added up)."""
    matrix = torch.sparse_coo_tensor(
        torch.stack([outputs, inputs]), values.double(), shape, check_invariants=True
    )
    return Sparse(matrix.coalesce())


def in_windows(values: Tensor, size: int) -> Tensor:
    """Values `(..., n)` in windows of `size`, one after the other: `(..., n / size, size)`."""
    return values.reshape(*values.shape[:-1], -1, size)


def windows(
    in_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    out_sides: tuple[int, int] | None = None,
) -> Tensor:
    """The input indices that each pooling window reads.

    Args:
        in_shape: (channels, height, width).
        kernel: (height, width) of a window.
        stride: (down, right).
        padding: (rows above and below, columns on the left and right).
        out_sides: how many windows there are below and beside each other; None: as many as lie inside the padding.

    Returns:
        `(channels * out_height * out_width, kernel_height * kernel_width)` int64, -1 where the window reaches into the
        padding, -2 where it reaches beyond.
    """
    index = torch.arange(2, math.prod(in_shape) + 2, dtype=torch.float64).reshape(in_shape)
    index = functional.pad(index[:, None], (padding[1], padding[1], padding[0], padding[0]), value=1.0)
    if out_sides is not None:
        beyond = [
            max(0, (out - 1) * step + size - side)
            for out, step, size, side in zip(out_sides, stride, kernel, index.shape[2:], strict=True)
        ]
        index = functional.pad(index, (0, beyond[1], 0, beyond[0]))
    patches = functional.unfold(index, kernel, stride=stride)
    return patches.transpose(1, 2).flatten(0, 1).round().long() - 2
