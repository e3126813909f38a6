"""Semantic perturbations of an image, cut into pieces where image and heat map move affinely in theta.

A perturbation says how far an image moves for its parameters: `x' = x + sum of the displacements`, and how
far a saliency map is expected to move with it (Munakata et al., section II: identity for brightness and
patch, the same translation for translation). Displacements of several perturbations add up, so any
combination of them is one.

To add a perturbation write one function that returns its pieces, and name it in `grammar.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.common.errors import UserError
from assay.tasks.verification.squares import Square, grey_values

Displacement = Callable[[Tensor], Tensor]
"""Takes images `(..., H, W)` to displacements `(1 + d, ..., H, W)`: a constant, then one slope per parameter."""

MAX_PARAMETERS = 3


@dataclass(frozen=True, eq=False)
class RangePart:
    """One piece of one perturbation's own parameter range.

    Attributes:
        corners: `(K, d)` float64, a segment (d = 1) or a triangle (d = 2).
        image: displacement of the image on this piece.
        heat: displacement of a heat map on this piece; None where the heat map stays.
    """

    corners: Tensor
    image: Displacement
    heat: Displacement | None = None


@dataclass(frozen=True, eq=False)
class Perturbation:
    """A perturbation with its range.

    Attributes:
        text: as written, `brightness:0:0.5`.
        names: one name per parameter.
        lower: smallest value of each parameter.
        upper: largest value of each parameter.
        parts: the pieces of the range; they share only borders.
        clamp: the perturbed image is clamped to [0, 1], after all displacements.
        linear: the displacement of an image depends on the image's values.
    """

    text: str
    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    parts: tuple[RangePart, ...]
    clamp: bool = False
    linear: bool = False


@dataclass(frozen=True, eq=False)
class Piece:
    """A convex piece of the joint range Theta, one part of each perturbation.

    Attributes:
        parts: in the order of the perturbations; the piece is the product of their corners.
    """

    parts: tuple[RangePart, ...]

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return sum(part.corners.shape[1] for part in self.parts)

    def image_forms(self, image: Tensor) -> Tensor:
        """The perturbed image `(1 + d, C, H, W)`, affine in theta."""
        return _forms(image, [(part.image, part.corners.shape[1]) for part in self.parts])

    def heat_forms(self, heat: Tensor) -> Tensor:
        """The expected heat maps `(1 + d, ..., H, W)`, affine in theta."""
        return _forms(heat, [(part.heat, part.corners.shape[1]) for part in self.parts])


def _forms(image: Tensor, moves: Sequence[tuple[Displacement | None, int]]) -> Tensor:
    constant, slopes = image.clone(), []
    for move, dimension in moves:
        if move is None:
            slopes.append(torch.zeros(dimension, *image.shape, dtype=image.dtype))
            continue
        displacement = move(image)
        constant = constant + displacement[0]
        slopes.append(displacement[1:])
    return torch.cat([constant[None], *slopes])


@dataclass(frozen=True, eq=False)
class Theta:
    """The joint range of one to three parameters.

    Attributes:
        perturbations: in the order of their parameters in theta.
        pieces: convex pieces that cover the range and share only borders.
    """

    perturbations: tuple[Perturbation, ...]
    pieces: tuple[Piece, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names."""
        return tuple(name for each in self.perturbations for name in each.names)

    @property
    def lower(self) -> Tensor:
        """`(d,)` smallest values."""
        return torch.tensor(
            [value for each in self.perturbations for value in each.lower], dtype=torch.float64
        )

    @property
    def upper(self) -> Tensor:
        """`(d,)` largest values."""
        return torch.tensor(
            [value for each in self.perturbations for value in each.upper], dtype=torch.float64
        )

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return len(self.names)

    @property
    def volume(self) -> float:
        """Area (volume) of the range."""
        return float((self.upper - self.lower).prod())

    @property
    def clamp(self) -> bool:
        """Whether the perturbed image is clamped to [0, 1]."""
        return any(each.clamp for each in self.perturbations)

    def pieces_of(self, points: Tensor) -> list[Piece]:
        """The piece that holds each point `(N, d)`; on a shared border the first."""
        depths = torch.stack([_depths(piece, points) for piece in self.pieces])
        return [self.pieces[i] for i in depths.argmax(0).tolist()]

    def apply(self, image: Tensor, theta: Tensor) -> Tensor:
        """The perturbed image g(theta, x), `(C, H, W)`."""
        forms = self.pieces_of(theta[None])[0].image_forms(image)
        moved = forms[0] + _weighted(theta, forms[1:])
        return moved.clamp(0, 1) if self.clamp else moved

    def expected(self, heat: Tensor, theta: Tensor) -> Tensor:
        """The expected heat maps at theta, of the shape of `heat`."""
        forms = self.pieces_of(theta[None])[0].heat_forms(heat)
        return forms[0] + _weighted(theta, forms[1:])


def _weighted(weights: Tensor, images: Tensor) -> Tensor:
    """Weighted sums of images, `(..., k)` and `(k, C, H, W)` to `(..., C, H, W)`."""
    total: Tensor = torch.tensordot(weights, images, 1)
    return total


def _depths(piece: Piece, points: Tensor) -> Tensor:
    """How deep points `(N, d)` lie in a piece: their smallest barycentric weight, negative outside."""
    depths, start = [], 0
    for part in piece.parts:
        corners = part.corners
        own = points[:, start : start + corners.shape[1]]
        start += corners.shape[1]
        homogeneous = torch.cat([corners, corners.new_ones(len(corners), 1)], 1)
        weights = torch.linalg.solve(homogeneous.T, torch.cat([own, own.new_ones(len(own), 1)], 1).T)
        depths.append(weights.amin(0))
    return torch.stack(depths).amin(0)


def combine(perturbations: Sequence[Perturbation]) -> Theta:
    """Join perturbations into one range.

    Raises:
        UserError: none or more than three parameters in all; or a pair with a joint effect that is not affine (two
            translations given apart; a grey patch, which moves with the image, and another).
    """
    dimension = sum(len(each.names) for each in perturbations)
    if not 1 <= dimension <= MAX_PARAMETERS:
        raise UserError(f"{dimension} perturbation parameters given: give one to {MAX_PARAMETERS}")
    linear = [each.text for each in perturbations if each.linear]
    if sum(each.text.startswith("translation") for each in perturbations) > 1:
        raise UserError(
            f"{linear} are not affine together: use translation:xy:LO:HI instead of two translations"
        )
    if any(each.startswith("patch") for each in linear) and len(perturbations) > 1:
        raise UserError(f"{linear[0]} blends with the image and is not affine with another: use it alone")
    parts = itertools.product(*(each.parts for each in perturbations))
    return Theta(tuple(perturbations), tuple(Piece(tuple(choice)) for choice in parts))


def _segment(lower: float, upper: float) -> Tensor:
    return torch.tensor([[lower], [upper]], dtype=torch.float64)


def brightness(lower: float, upper: float, clamp: bool = False) -> Perturbation:
    """Add b in [lower, upper] to every pixel; with `clamp`, values are cut to [0, 1] afterwards."""
    check_range("brightness", lower, upper)

    def move(image: Tensor) -> Tensor:
        return torch.stack([torch.zeros_like(image), torch.ones_like(image)])

    text = f"brightness:{lower:g}:{upper:g}" + (":clamp" if clamp else "")
    return Perturbation(
        text, ("brightness",), (lower,), (upper,), (RangePart(_segment(lower, upper), move),), clamp
    )


def patch(lower: float, upper: float, square: Square, grey: tuple[float, ...] | None = None) -> Perturbation:
    """Add p in [lower, upper] to a rectangle, or with `grey` blend it: (1 - p) x + p grey (only alone)."""
    check_range("patch", lower, upper)

    def move(image: Tensor) -> Tensor:
        mask = square.mask(image)
        slope = mask if grey is None else mask * (grey_values(grey, image) - image)
        return torch.stack([torch.zeros_like(image), slope])

    text = f"patch:{lower:g}:{upper:g}:{square}"
    text += "" if grey is None else ":" + ",".join(f"{value:g}" for value in grey)
    parts = (RangePart(_segment(lower, upper), move),)
    return Perturbation(text, ("patch",), (lower,), (upper,), parts, linear=grey is not None)


def _shift(image: Tensor, rows: int, columns: int) -> Tensor:
    """Move an image down by `rows` and right by `columns` whole pixels; zeros come in."""
    height, width = image.shape[-2:]
    moved = torch.zeros_like(image)
    if abs(rows) < height and abs(columns) < width:
        source = image[..., max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)]
        moved[..., max(rows, 0) : height - max(-rows, 0), max(columns, 0) : width - max(-columns, 0)] = source
    return moved


def translation(axis: str, lower: float, upper: float) -> Perturbation:
    """Move along x, y or both (xy).

    Raises:
        UserError: as :func:`translation_both`.
    """
    return translation_both(lower, upper) if axis == "xy" else translation_along(axis, lower, upper)


def translation_along(axis: str, lower: float, upper: float) -> Perturbation:
    """Move by t in [lower, upper] pixels along x (right) or y (down), linear interpolation, zeros come in."""
    check_range("translation", lower, upper)
    step = (0, 1) if axis == "x" else (1, 0)
    parts = []
    for start in range(math.floor(lower), math.ceil(upper)):
        ends = _segment(max(lower, start), min(upper, start + 1))
        parts.append(_moving_part(ends, torch.tensor([[start], [start + 1]]), torch.tensor([step])))
    text = f"translation:{axis}:{lower:g}:{upper:g}"
    return Perturbation(text, (f"translation_{axis}",), (lower,), (upper,), tuple(parts), linear=True)


def translation_both(lower: float, upper: float) -> Perturbation:
    """Move by (t_x, t_y), each in [lower, upper] whole pixels.

    Bilinear interpolation has a t_x t_y term. So the four whole-pixel shifts around a point are interpolated on the two
    triangles of their square: piecewise affine, and equal to linear interpolation along the axes.

    Raises:
        UserError: a bound is not a whole number of pixels (the triangles are those of whole pixels).
    """
    check_range("translation", lower, upper)
    if lower != math.floor(lower) or upper != math.floor(upper):
        raise UserError(f"translation:xy:{lower:g}:{upper:g}: both bounds must be whole pixels")
    whole = range(int(lower), int(upper))
    parts = []
    for x, y in itertools.product(whole, whole):
        for via in ((1, 0), (0, 1)):
            nodes = torch.tensor([[x, y], [x + via[0], y + via[1]], [x + 1, y + 1]])
            parts.append(_moving_part(nodes.double(), nodes, torch.tensor([[0, 1], [1, 0]])))
    names = ("translation_x", "translation_y")
    text = f"translation:xy:{lower:g}:{upper:g}"
    return Perturbation(text, names, (lower, lower), (upper, upper), tuple(parts), linear=True)


def _moving_part(corners: Tensor, nodes: Tensor, steps: Tensor) -> RangePart:
    """Interpolate whole-pixel shifts affinely.

    Args:
        corners: `(K, d)` the part's corners.
        nodes: `(d + 1, d)` whole-pixel parameters between which to interpolate.
        steps: `(d, 2)` rows and columns moved by one unit of each parameter.
    """
    homogeneous = torch.cat([torch.ones(len(nodes), 1), nodes], 1).double()
    weights = torch.linalg.inv(homogeneous)  # (1 + d, nodes): value at nodes -> constant and slopes
    shifts = (nodes @ steps).tolist()

    def move(image: Tensor) -> Tensor:
        moved = torch.stack([_shift(image, rows, columns) for rows, columns in shifts])
        forms = _weighted(weights.to(image.dtype), moved)
        forms[0] -= image
        return forms

    return RangePart(corners, move, move)


def check_range(name: str, lower: float, upper: float) -> None:
    """Refuse a range that is empty or not finite.

    Raises:
        UserError: it is.
    """
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise UserError(
            f"{name} has the empty range {lower:g}:{upper:g}: the lower end must lie below the upper"
        )
