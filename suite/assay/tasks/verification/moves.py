"""Semantic perturbations of many images at once, for the search: images and heat maps move, each by its own theta.

Where the exact verifier has the perturbation too, both move alike (:mod:`assay.tasks.verification.perturbations`). A
heat map moves as the gradient of a logit that the change does not affect: with f(g(x)) = f(x) the chain rule gives
map(x) = g'^T map(g(x)). So it turns and shifts with the picture, is divided by the square of a scale (each pixel
becomes so many) and by a contrast, and stays under brightness and a patch. Under blur it stays, since a blur cannot be
undone.

To add a perturbation write one function that returns its :class:`Motion`, and name it in `grammar.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from assay.common.errors import UserError
from assay.tasks.verification.perturbations import MAX_PARAMETERS, check_range
from assay.tasks.verification.squares import Square, grey_values

Move = Callable[[Tensor, Tensor], Tensor]
"""Takes images `(N, K, H, W)` and parameters `(N, d)` of their type to moved images."""
Shape = tuple[int, int, int]
Check = Callable[[Shape], None]
"""Takes the picture's (channels, height, width); raises UserError where the range leaves the picture."""

GEOMETRY, FILTER, TONE = range(3)  # motions act in this order, however they are written
_WIDEST = 3  # standard deviations that a Gaussian reaches


@dataclass(frozen=True, eq=False)
class Motion:
    """A perturbation with its range.

    Attributes:
        names: one name per parameter.
        lower: smallest value of each parameter.
        upper: largest value of each parameter.
        stage: GEOMETRY, FILTER or TONE.
        image: how images move.
        heat: how heat maps move; None where they stay.
        clamp: the perturbed image is clamped to [0, 1], after all motions.
        check: whether the range fits the picture.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    stage: int
    image: Move
    heat: Move | None = None
    clamp: bool = False
    check: Check = lambda _shape: None


@dataclass(frozen=True, eq=False)
class Motions:
    """The joint range of one to three parameters.

    Attributes:
        motions: in the order of their parameters in theta.
    """

    motions: tuple[Motion, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names."""
        return tuple(name for each in self.motions for name in each.names)

    @property
    def lower(self) -> Tensor:
        """`(d,)` float64, smallest values."""
        return torch.tensor([value for each in self.motions for value in each.lower], dtype=torch.float64)

    @property
    def upper(self) -> Tensor:
        """`(d,)` float64, largest values."""
        return torch.tensor([value for each in self.motions for value in each.upper], dtype=torch.float64)

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return len(self.names)

    def check(self, shape: Shape) -> None:
        """Refuse ranges that leave a picture of this shape (channels, height, width).

        Raises:
            UserError: which one.
        """
        for each in self.motions:
            each.check(shape)

    def apply(self, images: Tensor, theta: Tensor) -> Tensor:
        """The perturbed images g(theta, x): `(N, C, H, W)` and `(N, d)` to `(N, C, H, W)`."""
        for motion, own in self._in_order(theta.to(images)):
            images = motion.image(images, own)
        return images.clamp(0, 1) if any(each.clamp for each in self.motions) else images

    def expected(self, maps: Tensor, theta: Tensor) -> Tensor:
        """The expected heat maps at theta: `(N, L, C, H, W)` and `(N, d)` to the maps' shape."""
        moved = maps.flatten(1, 2)
        for motion, own in self._in_order(theta.to(maps)):
            moved = moved if motion.heat is None else motion.heat(moved, own)
        return moved.reshape(maps.shape)

    def _in_order(self, theta: Tensor) -> list[tuple[Motion, Tensor]]:
        """Motions with their own parameters, geometry first and what adds to pixels last."""
        own = torch.split(theta, [len(each.names) for each in self.motions], 1)
        return sorted(zip(self.motions, own, strict=True), key=lambda pair: pair[0].stage)


def combine_motions(motions: Sequence[Motion]) -> Motions:
    """Join motions into one range.

    Raises:
        UserError: none or more than three parameters in all.
    """
    dimension = sum(len(each.names) for each in motions)
    if not 1 <= dimension <= MAX_PARAMETERS:
        raise UserError(f"{dimension} perturbation parameters given: give one to {MAX_PARAMETERS}")
    return Motions(tuple(motions))


def brightness(lower: float, upper: float, clamp: bool = False) -> Motion:
    """Add b in [lower, upper] to every value; with `clamp`, values are cut to [0, 1] afterwards."""
    check_range("brightness", lower, upper)

    def move(images: Tensor, theta: Tensor) -> Tensor:
        return images + theta[:, :, None, None]

    return Motion(("brightness",), (lower,), (upper,), TONE, move, clamp=clamp)


def patch(lower: float, upper: float, square: Square, grey: tuple[float, ...] | None = None) -> Motion:
    """Add p in [lower, upper] to a rectangle, or with `grey` blend it: (1 - p) x + p grey, one grey per channel."""
    check_range("patch", lower, upper)

    def move(images: Tensor, theta: Tensor) -> Tensor:
        mask = square.mask(images[:1, :1])
        target = 1.0 if grey is None else grey_values(grey, images) - images
        return images + theta[:, :, None, None] * mask * target

    def check(shape: Shape) -> None:
        picture = torch.empty(shape)
        square.mask(picture)
        grey_values(grey or (0.0,), picture)

    return Motion(("patch",), (lower,), (upper,), TONE, move, check=check)


def translation(axis: str, lower: float, upper: float) -> Motion:
    """Move by t in [lower, upper] pixels along x (right), y (down) or both, zeros come in.

    Whole-pixel shifts are interpolated linearly; of both at once, on the triangles that the exact verifier has.
    """
    check_range("translation", lower, upper)
    names = tuple(f"translation_{each}" for each in axis)

    def move(images: Tensor, theta: Tensor) -> Tensor:
        along = {each: theta[:, column] for column, each in enumerate(axis)}
        still = torch.zeros_like(theta[:, 0])
        right, down = along.get("x", still), along.get("y", still)
        return _shifted(images, right, down, 3 if axis == "xy" else 2)

    def check(shape: Shape) -> None:
        _, height, width = shape
        side = {"x": width, "y": height, "xy": min(height, width)}[axis]
        if max(abs(lower), abs(upper)) >= side:
            raise UserError(
                f"translation:{axis}:{lower:g}:{upper:g} leaves the picture of {height}x{width} pixels: "
                "give a smaller range"
            )

    return Motion(names, (lower,) * len(names), (upper,) * len(names), GEOMETRY, move, move, check=check)


def _shifted(images: Tensor, right: Tensor, down: Tensor, nodes: int) -> Tensor:
    """Images `(N, K, H, W)`, each moved by its `(N,)` sub-pixel shifts: a mean of whole-pixel shifts.

    The nodes are the corners of the triangle that holds the shift; along one axis the first two suffice.
    """
    whole_right, whole_down = right.floor(), down.floor()
    part_right, part_down = right - whole_right, down - whole_down
    least, most = torch.minimum(part_right, part_down), torch.maximum(part_right, part_down)
    right_first = (part_right >= part_down).to(right)
    none, one = torch.zeros_like(right), torch.ones_like(right)
    corners = [(none, none, 1 - most), (right_first, 1 - right_first, most - least), (one, one, least)]
    total = torch.zeros_like(images)
    for to_right, to_down, weight in corners[:nodes]:
        moved = _shifted_whole(images, (whole_right + to_right).long(), (whole_down + to_down).long())
        total = total + weight[:, None, None, None] * moved
    return total


def _shifted_whole(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Images moved by whole pixels `(N,)`; zeros come in."""
    height, width = images.shape[-2:]
    row = torch.arange(height, device=images.device) - down[:, None]
    column = torch.arange(width, device=images.device) - right[:, None]
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    place = row.clamp(0, height - 1)[:, :, None] * width + column.clamp(0, width - 1)[:, None]
    index = place.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).reshape(images.shape) * inside[:, None]


def rotation(lower: float, upper: float) -> Motion:
    """Turn by an angle in [lower, upper] degrees, counter-clockwise about the centre; bilinear, zeros come in."""
    check_range("rotation", lower, upper)
    if max(abs(lower), abs(upper)) > 180:
        raise UserError(f"rotation:{lower:g}:{upper:g}: give angles from -180 to 180 degrees")

    def move(images: Tensor, theta: Tensor) -> Tensor:
        angle = theta[:, 0] * (math.pi / 180)
        cosine, sine = angle.cos(), angle.sin()
        return _resampled(images, (cosine, -sine), (sine, cosine))

    return Motion(("rotation",), (lower,), (upper,), GEOMETRY, move, move)


def scale(lower: float, upper: float) -> Motion:
    """Enlarge by a factor in [lower, upper] about the centre; bilinear, zeros come in."""
    check_range("scale", lower, upper)
    _check_above_zero("scale", lower, upper)

    def move(images: Tensor, theta: Tensor) -> Tensor:
        shrink = 1 / theta[:, 0]
        still = torch.zeros_like(shrink)
        return _resampled(images, (shrink, still), (still, shrink))

    def heat(maps: Tensor, theta: Tensor) -> Tensor:
        return move(maps, theta) / theta[:, :, None, None].square()

    return Motion(("scale",), (lower,), (upper,), GEOMETRY, move, heat)


def _resampled(images: Tensor, to_column: tuple[Tensor, Tensor], to_row: tuple[Tensor, Tensor]) -> Tensor:
    """Images read at other places about the centre.

    Args:
        images: `(N, K, H, W)`.
        to_column: `(N,)` each, how the column that is read grows with a pixel's own column and row.
        to_row: the same for the row that is read.
    """
    height, width = images.shape[-2:]
    row = torch.arange(height, device=images.device, dtype=images.dtype)[:, None] - (height - 1) / 2
    column = torch.arange(width, device=images.device, dtype=images.dtype)[None] - (width - 1) / 2
    read_column, read_row = (
        by_column[:, None, None] * column + by_row[:, None, None] * row
        for by_column, by_row in (to_column, to_row)
    )
    grid = torch.stack(
        [read_column * (2 / width), read_row * (2 / height)], 3
    )  # borders of the picture at -1 and 1
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def contrast(lower: float, upper: float) -> Motion:
    """Stretch by a factor in [lower, upper] about mid-grey: 0.5 + c (x - 0.5)."""
    check_range("contrast", lower, upper)
    _check_above_zero("contrast", lower, upper)

    def move(images: Tensor, theta: Tensor) -> Tensor:
        return 0.5 + theta[:, :, None, None] * (images - 0.5)

    def heat(maps: Tensor, theta: Tensor) -> Tensor:
        return maps / theta[:, :, None, None]

    return Motion(("contrast",), (lower,), (upper,), FILTER, move, heat)


def blur(lower: float, upper: float) -> Motion:
    """Blur with a Gaussian of standard deviation in [lower, upper] pixels; the picture's border is repeated outside."""
    check_range("blur", lower, upper)
    if lower < 0:
        raise UserError(f"blur:{lower:g}:{upper:g}: give standard deviations from 0 pixels")
    reach = math.ceil(_WIDEST * upper)

    def move(images: Tensor, theta: Tensor) -> Tensor:
        offset = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
        weights = (
            -offset.square() / (2 * theta.square().clamp(min=1e-12))
        ).exp()  # of sigma = 0 the pixel's own alone
        kernels = (weights / weights.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
        rows = functional.pad(images.flatten(0, 1)[None], (reach,) * 4, mode="replicate")
        for kernel in (kernels[:, None, None, :], kernels[:, None, :, None]):
            rows = functional.conv2d(rows, kernel, groups=len(kernels))
        return rows.reshape(images.shape)

    def check(shape: Shape) -> None:
        _, height, width = shape
        if reach >= min(height, width):
            raise UserError(
                f"blur:{lower:g}:{upper:g} reaches {reach} pixels and leaves the picture of {height}x{width}: "
                "give a smaller range"
            )

    return Motion(("blur",), (lower,), (upper,), FILTER, move, check=check)


def _check_above_zero(name: str, lower: float, upper: float) -> None:
    if lower <= 0:
        raise UserError(f"{name}:{lower:g}:{upper:g}: give factors above 0")
