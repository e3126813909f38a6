"""What no perturbation can do: sound lower bounds of the margin for small ReLU networks.

Linear relaxation, propagated backwards (Wong and Kolter 2018; CROWN: Zhang et al. 2018), for chains of
Linear, Conv2d, ReLU and Flatten in plain PyTorch. Bounds hold up to the rounding of the arithmetic they
are computed in, for which `certified` leaves a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from assay.attacks.settings import Norm
from assay.errors import UserError

_CHUNK = 512
_KNOWN = (nn.Linear, nn.Conv2d, nn.ReLU, nn.Flatten)


@dataclass(frozen=True)
class Region:
    """The inputs that bounds hold for.

    Attributes:
        low: (n, C, H, W), the smallest value of each pixel.
        high: (n, C, H, W), the largest.
        centre: (n, C, H, W).
        radius: Euclidean radius around the centre, infinite where only the box counts.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    radius: float

    def minimum(self, slopes: Tensor) -> Tensor:
        """(n, S): a lower bound in the region of each linear function, (n, S, C, H, W)."""
        flat = slopes.flatten(2)
        spread = (self.high - self.low).flatten(1)[:, :, None] / 2
        middle = (self.high + self.low).flatten(1)[:, :, None] / 2
        in_box = (flat @ middle - flat.abs() @ spread).squeeze(2)
        if math.isinf(self.radius):
            return in_box
        in_ball = (flat @ self.centre.flatten(1)[:, :, None]).squeeze(2) - self.radius * flat.norm(dim=2)
        return torch.maximum(in_box, in_ball)


@dataclass(frozen=True)
class _Relaxation:
    """Lines around relu(z) for l <= z <= u: slope_low * z <= relu(z) <= slope_high * z + offset."""

    slope_low: Tensor
    slope_high: Tensor
    offset: Tensor


def ball_region(images: Tensor, eps: float, norm: Norm) -> Region:
    """The ball around each image, met with [0, 1]."""
    box = ((images - eps).clamp_min(0), (images + eps).clamp_max(1))
    return Region(*box, centre=images, radius=math.inf if norm == "linf" else eps)


def margin_lower_bounds(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, norm: Norm = "linf"
) -> Tensor:
    """(n,): a lower bound of the label's margin over every other class, anywhere in the ball.

    Args:
        model: A chain of Linear, Conv2d, ReLU and Flatten, from pixels in [0, 1] to logits.
        images: (n, C, H, W) in [0, 1].
        labels: (n,) int64.
        eps: Radius.
        norm: The ball's norm.

    Raises:
        UserError: A layer of another kind; it is named.
    """
    layers = chain_of(model)
    region = ball_region(images, eps, norm)
    shapes = _shapes(layers, images)
    with torch.no_grad():
        bounds = _pre_activation_bounds(layers, shapes, region)
        classes = shapes[-1][0]
        # Row j of an image: z_label - z_j.
        slopes = torch.eye(classes, dtype=images.dtype, device=images.device)
        slopes = slopes[labels][:, None, :] - slopes[None, :, :]
        best = torch.full((len(images), classes), -torch.inf, dtype=images.dtype, device=images.device)
        for parallel in (True, False):
            relaxations = [None if b is None else _relax(*b, parallel=parallel) for b in bounds]
            best = torch.maximum(best, _backward(slopes, layers, shapes, relaxations, region))
    return best.scatter(1, labels[:, None], torch.inf).amin(dim=1)


def certified(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm = "linf",
    *,
    batch_size: int = 1,
    tolerance: float = 1e-4,
) -> Tensor:
    """(N,) bool: images whose label provably holds in the whole ball; the others may or may not.

    Args:
        model: See `margin_lower_bounds`.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        eps: Radius.
        norm: The ball's norm.
        batch_size: Images bounded at once. One is fastest on a CPU: what is unsure in any image is bounded in all.
        tolerance: The margin that is left for rounding errors.

    Raises:
        UserError: A layer that cannot be bounded.
    """
    batches = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
    return torch.cat([margin_lower_bounds(model, x, y, eps, norm) > tolerance for x, y in batches])


def chain_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a chain, nested Sequentials unfolded.

    Raises:
        UserError: The model is not a Sequential, or has a layer that cannot be bounded.
    """
    if isinstance(model, nn.Sequential):
        return [layer for part in model for layer in chain_of(part)]
    if isinstance(model, nn.Identity):
        return []
    plain = not isinstance(model, nn.Conv2d) or (
        model.padding_mode == "zeros" and not isinstance(model.padding, str)
    )
    if not isinstance(model, _KNOWN) or not plain:
        raise UserError(
            f"bounds: cannot bound a layer {type(model).__name__}: only chains of Linear, Conv2d with zero "
            "padding, ReLU and Flatten"
        )
    return [model]


def _shapes(layers: Sequence[nn.Module], images: Tensor) -> list[tuple[int, ...]]:
    """The shape of an image before each layer, and after the last."""
    shapes = [tuple(images.shape[1:])]
    values = images[:1]
    with torch.no_grad():
        for layer in layers:
            values = layer(values)
            shapes.append(tuple(values.shape[1:]))
    return shapes


def _pre_activation_bounds(
    layers: Sequence[nn.Module], shapes: list[tuple[int, ...]], region: Region
) -> list[tuple[Tensor, Tensor] | None]:
    """For each layer, the bounds of its input where it is a ReLU, else None; each from the ones before it."""
    bounds: list[tuple[Tensor, Tensor] | None] = []
    relaxations: list[_Relaxation | None] = []
    low, high = region.low, region.high
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU):
            _tighten_(low, high, layers[:index], shapes, relaxations, region)
            bounds.append((low, high))
            relaxations.append(_relax(low, high, parallel=True))
            low, high = low.clamp_min(0), high.clamp_min(0)
        else:
            bounds.append(None)
            relaxations.append(None)
            low, high = _interval(layer, low, high)
    return bounds


def _interval(layer: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of an affine layer's output, from those of its input (interval arithmetic)."""
    middle, spread = (high + low) / 2, (high - low) / 2
    if isinstance(layer, nn.Linear):
        spread = spread @ layer.weight.abs().T
    elif isinstance(layer, nn.Conv2d):
        geometry = layer.stride, cast(tuple[int, ...], layer.padding), layer.dilation, layer.groups
        spread = torch.nn.functional.conv2d(spread, layer.weight.abs(), None, *geometry)
    else:
        spread = layer(spread)
    middle = layer(middle)
    return middle - spread, middle + spread


def _tighten_(
    low: Tensor,
    high: Tensor,
    layers: Sequence[nn.Module],
    shapes: list[tuple[int, ...]],
    relaxations: list[_Relaxation | None],
    region: Region,
) -> None:
    """Tighten, in place, the bounds of values after `layers` whose sign is open in some image.

    A value whose sign is known already passes its ReLU exactly, so that tighter bounds of it would change nothing.
    """
    shape = shapes[len(layers)]
    flat_low, flat_high = low.view(len(low), -1), high.view(len(high), -1)
    unsure = ((flat_low < 0) & (flat_high > 0)).any(dim=0).nonzero().squeeze(1)
    for rows in torch.split(unsure, _CHUNK):
        slopes = torch.nn.functional.one_hot(rows, math.prod(shape)).to(low.dtype)
        slopes = slopes.reshape(1, len(rows), *shape).expand(len(low), -1, *(-1,) * len(shape))
        below = _backward(slopes, layers, shapes, relaxations, region)
        above = -_backward(-slopes, layers, shapes, relaxations, region)
        flat_low[:, rows] = torch.maximum(flat_low[:, rows], below)
        flat_high[:, rows] = torch.minimum(flat_high[:, rows], above)


def _backward(
    slopes: Tensor,
    layers: Sequence[nn.Module],
    shapes: list[tuple[int, ...]],
    relaxations: list[_Relaxation | None],
    region: Region,
) -> Tensor:
    """(n, S): lower bounds of the linear functions `slopes`, (n, S, *shape), of the values after `layers`."""
    constant = torch.zeros(slopes.shape[:2], dtype=slopes.dtype, device=slopes.device)
    for index in reversed(range(len(layers))):
        relaxation = relaxations[index]
        if relaxation is not None:
            slopes, extra = _through_relu(slopes, relaxation)
        else:
            slopes, extra = _through_affine(slopes, layers[index], shapes[index])
        constant = constant + extra
    return region.minimum(slopes) + constant


def _through_relu(slopes: Tensor, relaxation: _Relaxation) -> tuple[Tensor, Tensor]:
    """Replace relu(z) by the line that bounds each function from below."""
    up, down = slopes.clamp_min(0), slopes.clamp_max(0)
    before = up * relaxation.slope_low[:, None] + down * relaxation.slope_high[:, None]
    return before, (down.flatten(2) @ relaxation.offset.flatten(1)[:, :, None]).squeeze(2)


def _through_affine(slopes: Tensor, layer: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The functions of the layer's input, (n, S, *shape), and the constants, (n, S), that its bias adds."""
    if isinstance(layer, nn.Linear):
        return slopes @ layer.weight, _bias_term(slopes, layer.bias)
    if isinstance(layer, nn.Conv2d):
        return _transposed(slopes, layer, shape), _bias_term(slopes.sum((3, 4)), layer.bias)
    return slopes.reshape(*slopes.shape[:2], *shape), slopes.new_zeros(slopes.shape[:2])


def _bias_term(slopes: Tensor, bias: Tensor | None) -> Tensor:
    return slopes.new_zeros(slopes.shape[:2]) if bias is None else slopes @ bias


def _transposed(slopes: Tensor, layer: nn.Conv2d, shape: tuple[int, ...]) -> Tensor:
    """The convolution's transpose applied to each function."""
    flat = slopes.flatten(0, 1)
    padding = cast(tuple[int, ...], layer.padding)
    sizes = zip(flat.shape[2:], layer.stride, padding, layer.dilation, layer.kernel_size, strict=True)
    covered = [(n - 1) * stride - 2 * pad + gap * (side - 1) + 1 for n, stride, pad, gap, side in sizes]
    uncovered = [shape[1] - covered[0], shape[2] - covered[1]]
    back = torch.nn.functional.conv_transpose2d(
        flat, layer.weight, None, layer.stride, padding, uncovered, layer.groups, layer.dilation
    )
    return back.view(*slopes.shape[:2], *shape)


def _relax(low: Tensor, high: Tensor, *, parallel: bool) -> _Relaxation:
    """Lines around the ReLU; where its sign is open, the lower one is parallel to the upper, or 0 or z."""
    open_sign = (low < 0) & (high > 0)
    active = (low >= 0).to(low.dtype)
    tiny = torch.finfo(low.dtype).tiny
    chord = high / (high - low).clamp_min(tiny)
    slope_high = torch.where(open_sign, chord, active)
    offset = torch.where(open_sign, -chord * low, torch.zeros_like(low))
    nearer = chord if parallel else (high > -low).to(low.dtype)
    return _Relaxation(torch.where(open_sign, nearer, active), slope_high, offset)
