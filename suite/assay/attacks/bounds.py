"""What no perturbation can do: sound lower bounds of the margin for small ReLU networks.

Linear relaxation, propagated backwards (Wong and Kolter 2018; CROWN: Zhang et al. 2018), in plain PyTorch. Bounds hold
up to rounding in the arithmetic that computes them; callers leave a margin for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from assay.attacks.affine_layers import interval, rows_of, through_affine
from assay.attacks.region import Region, ball_region
from assay.attacks.relu_graph import Add, ReluGraph
from assay.attacks.relu_lines import Relaxation, Relaxations, is_open, relax
from assay.attacks.settings import Norm
from assay.attacks.windows import extent_in_windows, is_seen_in_windows

_CHUNK = 512
_ThroughRelu = Callable[[Tensor, Relaxation], tuple[Tensor, Tensor]]


def relaxed_margins(
    graph: ReluGraph, images: Tensor, labels: Tensor, eps: float, norm: Norm = "linf"
) -> Tensor:
    """(N,): a lower bound of the label's margin over every other class, anywhere in each image's ball.

    Images are bounded one by one, which is fastest on a CPU: what is unsure in any image of a batch is bounded in all.

    Args:
        graph: From pixels in [0, 1] to logits.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        eps: Radius.
        norm: The ball's norm.
    """
    pairs = zip(torch.split(images, 1), torch.split(labels, 1), strict=True)
    return torch.cat([margin_lower_bounds(graph, x, y, eps, norm) for x, y in pairs])


@torch.no_grad()
def margin_lower_bounds(
    graph: ReluGraph, images: Tensor, labels: Tensor, eps: float, norm: Norm = "linf"
) -> Tensor:
    """`relaxed_margins` of all images at once."""
    region = ball_region(images, eps, norm)
    bounds = pre_activation_bounds(graph, region)
    slopes = margin_rows(graph, images, labels)
    best = torch.full(slopes.shape[:2], -torch.inf, dtype=images.dtype, device=images.device)
    # Below a ReLU of open sign several lines are sound. Neither choice is better everywhere, and the larger of two
    # lower bounds is a lower bound too.
    for parallel in (True, False):
        relaxations = [None if b is None else relax(*b, parallel=parallel) for b in bounds]
        best = torch.maximum(best, _below(slopes, graph, relaxations, region))
    return _least(best, labels)


@torch.no_grad()
def interval_margins(
    graph: ReluGraph, images: Tensor, labels: Tensor, eps: float, norm: Norm = "linf"
) -> Tensor:
    """As `relaxed_margins`, by intervals alone: looser, at the price of two passes for a whole batch.

    The last layer's intervals are those of the differences of logits, where it is affine.
    """
    region = ball_region(images, eps, norm)
    lows, highs = [region.low], [region.high]
    for layer, read in zip(graph.layers, graph.inputs, strict=True):
        low, high = _forwards(layer, [lows[each] for each in read], [highs[each] for each in read])
        lows.append(low)
        highs.append(high)
    slopes, last = margin_rows(graph, images, labels), len(graph.layers) - 1
    constant, value = slopes.new_zeros(slopes.shape[:2]), last + 1
    if not isinstance(graph.layers[last], nn.ReLU | Add):
        slopes, constant = through_affine(slopes, graph.layers[last], graph.before(last))
        value = graph.inputs[last][0]
    extent = Region(lows[value], highs[value], lows[value], math.inf).extent(slopes)[0]
    return _least(extent + constant, labels)


def margin_rows(graph: ReluGraph, images: Tensor, labels: Tensor) -> Tensor:
    """(N, K, K): row j of an image is z_label - z_j, whose lowest value says whether class j can win."""
    slopes = torch.eye(graph.shapes[-1][0], dtype=images.dtype, device=images.device)
    return slopes[labels][:, None, :] - slopes[None, :, :]


def _least(bounds: Tensor, labels: Tensor) -> Tensor:
    """(N,): the least of an image's rows (N, K) but the label's own, which is 0 and says nothing."""
    return bounds.scatter(1, labels[:, None], torch.inf).amin(dim=1)


def _forwards(layer: nn.Module, lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Bounds of what a layer gives, from those of what it reads (interval arithmetic)."""
    if isinstance(layer, nn.ReLU):
        return lows[0].clamp_min(0), highs[0].clamp_min(0)
    if isinstance(layer, Add):
        return layer(*lows), layer(*highs)
    return interval(layer, lows[0], highs[0])


def pre_activation_bounds(graph: ReluGraph, region: Region) -> list[tuple[Tensor, Tensor] | None]:
    """For each layer, the bounds of its input where it is a ReLU, else None; each from the ones before it."""
    bounds: list[tuple[Tensor, Tensor] | None] = []
    relaxations: list[Relaxation | None] = []
    lows, highs = [region.low], [region.high]
    for layer, read in zip(graph.layers, graph.inputs, strict=True):
        relu = isinstance(layer, nn.ReLU)
        if relu:
            # Tightened in place, since other layers that read this value gain from it too.
            _tighten_(lows[read[0]], highs[read[0]], read[0], graph, relaxations, region)
            bounds.append((lows[read[0]], highs[read[0]]))
            relaxations.append(relax(lows[read[0]], highs[read[0]], parallel=True))
        else:
            bounds.append(None)
            relaxations.append(None)
        low, high = _forwards(layer, [lows[each] for each in read], [highs[each] for each in read])
        lows.append(low.contiguous())
        highs.append(high.contiguous())
    return bounds


def _tighten_(
    low: Tensor, high: Tensor, value: int, graph: ReluGraph, relaxations: Relaxations, region: Region
) -> None:
    """Tighten, in place, the bounds of a value of the graph, for each image where its sign is open there.

    A value whose sign is known already passes its ReLU exactly, so its own lines would gain nothing. The intervals of
    later layers would gain a little. It is still left alone where another image of the batch asks for it, so that an
    image's bounds do not depend on the batch.
    """
    if value == 0 or _interval_is_exact(graph.layers[:value], region):
        return
    flat_low, flat_high = low.view(len(low), -1), high.view(len(high), -1)
    open_sign = is_open(flat_low, flat_high)
    unsure = open_sign.any(dim=0).nonzero().squeeze(1)
    both_sides = extent_in_windows if is_seen_in_windows(value, graph) else _both_sides
    # In parts, for one linear function per value takes as much memory as the whole input.
    for rows in torch.split(unsure, _CHUNK) if len(unsure) else ():
        below, above = both_sides(rows, value, graph, relaxations, region)
        low_there, high_there, here = flat_low[:, rows], flat_high[:, rows], open_sign[:, rows]
        flat_low[:, rows] = torch.where(here, torch.maximum(low_there, below), low_there)
        flat_high[:, rows] = torch.where(here, torch.minimum(high_there, above), high_there)


def _interval_is_exact(layers: Sequence[nn.Module], region: Region) -> bool:
    """Whether interval arithmetic cannot be bettered: one sum of each pixel's interval, scaled at most."""
    sums = sum(isinstance(layer, nn.Linear | nn.Conv2d) for layer in layers)
    joins = any(isinstance(layer, nn.ReLU | Add) for layer in layers)
    return math.isinf(region.radius) and sums <= 1 and not joins


def _both_sides(
    rows: Tensor, value: int, graph: ReluGraph, relaxations: Relaxations, region: Region
) -> tuple[Tensor, Tensor]:
    """(n, S) each: bounds from below and above of single entries, (S,) int64, of a value of the graph.

    The lines around each ReLU are parallel, so that one linear function serves both sides.
    """

    def through_relu(slopes: Tensor, relaxation: Relaxation) -> tuple[Tensor, Tensor]:
        offset = relaxation.offset.flatten(1)[:, :, None]
        flat = slopes.flatten(2)
        # Both lines have this slope. The lower one passes through 0, so only the upper one adds its offset: to the
        # upper bound where the function rises in the value, to the lower one where it falls.
        low, high = (flat.clamp_max(0) @ offset).squeeze(2), (flat.clamp_min(0) @ offset).squeeze(2)
        return slopes * relaxation.slope_high[:, None], torch.stack((low, high))

    layer, shape, dtype = value - 1, graph.shapes[value], region.low.dtype
    if isinstance(graph.layers[layer], Add):
        units = torch.nn.functional.one_hot(rows, math.prod(shape)).to(dtype).view(1, len(rows), *shape)
        begun, constant = {value: units}, units.new_zeros((1, len(rows)))
    else:
        slopes, constant = rows_of(graph.layers[layer], rows, graph.before(layer), shape, dtype)
        begun = {graph.inputs[layer][0]: slopes}
    slopes, extra = to_pixels(begun, graph, relaxations, through_relu)
    below, above = region.extent(slopes)
    low, high = (constant + extra).expand(2, *below.shape)
    return below + low, above + high


def _below(slopes: Tensor, graph: ReluGraph, relaxations: Relaxations, region: Region) -> Tensor:
    """(n, S): lower bounds of the linear functions `slopes`, (n, S, K), of the logits."""
    slopes, constant = to_pixels({len(graph.layers): slopes}, graph, relaxations, through_relu_from_below)
    return region.extent(slopes)[0] + constant


def to_pixels(
    begun: dict[int, Tensor], graph: ReluGraph, relaxations: Relaxations, through_relu: _ThroughRelu
) -> tuple[Tensor, Tensor]:
    """Linear functions of some values as functions of the pixels, with lines in the place of ReLUs.

    Args:
        begun: (n, S, *shape) for the number of each value that the functions read.
        graph: the network.
        relaxations: one per layer up to those values.
        through_relu: takes functions of what a ReLU gives to functions of what it reads, and constants.

    Returns:
        The functions, (n, S, C, H, W), and the constants, (n, S) or (2, n, S), that were added on the way.
    """
    open_values = dict(begun)
    some = next(iter(open_values.values()))
    constant = some.new_zeros(some.shape[:2])
    for value in range(max(open_values), 0, -1):
        # Layers that read a value come after it, so by now all that is asked of it is known.
        slopes, layer = open_values.pop(value, None), value - 1
        if slopes is None:
            continue
        relaxation, module = relaxations[layer], graph.layers[layer]
        if isinstance(module, Add):
            before = slopes
        else:
            before, extra = (
                through_affine(slopes, module, graph.before(layer))
                if relaxation is None
                else through_relu(slopes, relaxation)
            )
            constant = constant + extra
        for each in graph.inputs[layer]:
            open_values[each] = before if each not in open_values else open_values[each] + before
    return open_values[0], constant


def through_relu_from_below(slopes: Tensor, relaxation: Relaxation) -> tuple[Tensor, Tensor]:
    """Replace relu(z) by the line that bounds each function from below."""
    # From below, a function that rises in relu(z) takes its lower line, one that falls the upper.
    up, down = slopes.clamp_min(0), slopes.clamp_max(0)
    before = up * relaxation.slope_low[:, None] + down * relaxation.slope_high[:, None]
    return before, (down.flatten(2) @ relaxation.offset.flatten(1)[:, :, None]).squeeze(2)
