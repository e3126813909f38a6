"""Branch and bound: cuts a ball into parts, each with the signs of some ReLUs fixed, until every part is proved.

Where the sign of a ReLU is open, lines around it lose something. In the part where it is positive it is z, in the other
it is 0, and nothing is lost. The other lines are moved to where the bound is highest (alpha-CROWN: Xu et al. 2021).
Multipliers bring in what the fixed signs say of the inputs (beta-CROWN: Wang et al. 2021). Any lines between 0 and z
and any multipliers >= 0 give a sound bound, however far the search for the best ones has come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from assay.attacks.bounds import margin_rows, pre_activation_bounds, through_relu_from_below, to_pixels
from assay.attacks.region import Region, ball_region
from assay.attacks.relu_graph import ReluGraph
from assay.attacks.relu_lines import Relaxation, is_open, relax
from assay.attacks.settings import Norm

_STEPS = 12
_LINE_RATE, _PULL_RATE = 0.2, 0.05
_TOGETHER = 32  # parts that are bounded at once
_TRIED = 32  # parts before anybody asks whether it is worth it
_SLOWEST = 1e-12


@dataclass(frozen=True)
class _Parts:
    """P parts of one ball, each with a class that may win there. R is the number of the network's ReLUs.

    Attributes:
        rows: (P, K), z_label - z_class as a function of the logits.
        low: (P, R), what each ReLU reads, from below.
        high: (P, R), from above.
        sign: (P, R), 1 or -1 where the part fixes the ReLU's sign, else 0.
        line: (P, R), the slopes of the lines from below, in [0, 1]; they count where signs are open.
        pull: (P, R), the multipliers of the signs, >= 0.
        margin: (P,), the best lower bound so far.
        loss: (P, R), what the lines around each ReLU lose, about.
    """

    rows: Tensor
    low: Tensor
    high: Tensor
    sign: Tensor
    line: Tensor
    pull: Tensor
    margin: Tensor
    loss: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def open_sign(self) -> Tensor:
        """(P, R) bool: the ReLUs whose sign is open."""
        return is_open(self.low, self.high)

    def select(self, which: Tensor | slice) -> _Parts:
        """Some of the parts."""
        return _Parts(**{name: each[which] for name, each in vars(self).items()})

    @classmethod
    def together(cls, several: Sequence[_Parts]) -> _Parts:
        """Parts, then others."""
        return cls(
            **{name: torch.cat([getattr(each, name) for each in several]) for name in vars(several[0])}
        )


@dataclass(frozen=True)
class _PulledLines(Relaxation):
    """Lines, and what is added to a function of what the ReLU reads, (P, 1, *shape)."""

    pull: Tensor


@torch.no_grad()
def branched_margins(
    graph: ReluGraph,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm = "linf",
    *,
    enough: Tensor,
    most: int,
) -> Tensor:
    """(N,): a lower bound of the label's margin, as `bounds.relaxed_margins`, raised until it is enough.

    Args:
        graph: From pixels in [0, 1] to logits.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        eps: Radius.
        norm: The ball's norm.
        enough: (N,), the margins at which an image is done.
        most: Parts that are looked at for one image.
    """
    every = zip(torch.split(images, 1), torch.split(labels, 1), enough.tolist(), strict=True)
    found = [
        _Branching(graph, ball_region(image, eps, norm), wanted).margin(image, label, most)
        for image, label, wanted in every
    ]
    return torch.stack(found) if found else images.new_zeros(0)


@dataclass(frozen=True)
class _Branching:
    """The search for one image: the network, its ball, and the margin that is enough."""

    graph: ReluGraph
    region: Region
    enough: float

    def margin(self, image: Tensor, label: Tensor, most: int) -> Tensor:
        """(): a lower bound of the margin over all classes."""
        parts = self._raised(self._whole(image, label))
        first, rounds, left = float(parts.margin.amin()), 0, most
        proved = [parts.margin]
        while True:
            stand = parts.margin <= self.enough
            proved[-1] = parts.margin[~stand]
            parts = parts.select(stand)
            if not len(parts) or 2 * len(parts) > left or not parts.open_sign.any(1).all():
                break
            if most - left >= _TRIED and self._rounds_to_go(parts, first, rounds) > math.log2(
                left / len(parts)
            ):
                break
            parts, left, rounds = self._raised(_halved(parts)), left - 2 * len(parts), rounds + 1
            proved.append(parts.margin)
        return torch.cat([*proved, parts.margin]).amin()

    def _rounds_to_go(self, parts: _Parts, first: float, rounds: int) -> float:
        """In how many rounds, each of twice as many parts, the least margin is enough if it rises on like this."""
        least = float(parts.margin.amin())
        return (self.enough - least) / max((least - first) / rounds, _SLOWEST)

    def _whole(self, image: Tensor, label: Tensor) -> _Parts:
        """The ball as one part for each wrong class."""
        bounds = [each for each in pre_activation_bounds(self.graph, self.region) if each is not None]
        low, high = (torch.cat([side.flatten(1) for side in sides], 1) for sides in zip(*bounds, strict=True))
        rows = margin_rows(self.graph, image, label)[0]
        rows = rows[torch.arange(len(rows), device=label.device) != label]
        low, high = low.expand(len(rows), -1), high.expand(len(rows), -1)
        none = torch.zeros_like(low)
        lowest = rows.new_full((len(rows),), -torch.inf)
        return _Parts(rows, low, high, none, (high > -low).to(low.dtype), none, lowest, none)

    def _raised(self, parts: _Parts) -> _Parts:
        """The parts with their margins, raised by better lines and multipliers where they are not enough."""
        found = []
        for first in range(0, len(parts), _TOGETHER):
            some = self._bounded(parts.select(slice(first, first + _TOGETHER)))
            low = some.margin <= self.enough
            found.append(some.select(~low))
            if low.any():
                found.append(self._climbed(some.select(low)))
        return _Parts.together(found)

    def _bounded(self, parts: _Parts) -> _Parts:
        """The parts with the margins and losses of their lines."""
        margin, loss = self._bound(parts)
        return replace(parts, margin=torch.maximum(parts.margin, margin), loss=loss)

    def _climbed(self, parts: _Parts) -> _Parts:
        """Gradient steps on lines and multipliers."""
        line, pull = parts.line.clone().requires_grad_(), parts.pull.clone().requires_grad_()
        climb = torch.optim.Adam(
            [{"params": [line], "lr": _LINE_RATE}, {"params": [pull], "lr": _PULL_RATE}], maximize=True
        )
        best = parts.margin
        for _ in range(_STEPS):
            with torch.enable_grad():
                margin, _ = self._bound(replace(parts, line=line, pull=pull))
                line.grad, pull.grad = torch.autograd.grad(margin.sum(), [line, pull])
            best = torch.maximum(best, margin.detach())
            climb.step()
            line.clamp_(0, 1)
            pull.clamp_(min=0)
        return self._bounded(replace(parts, line=line.detach(), pull=pull.detach(), margin=best))

    def _bound(self, parts: _Parts) -> tuple[Tensor, Tensor]:
        """(P,) lower bounds with the parts' lines and multipliers, and (P, R), what the lines lose."""
        lines = self._lines(parts)
        # A ReLU that nothing reads loses nothing.
        loss = {id(each): torch.zeros_like(each.offset) for each in lines if each is not None}

        def through_relu(slopes: Tensor, relaxation: Relaxation) -> tuple[Tensor, Tensor]:
            assert isinstance(relaxation, _PulledLines)
            loss[id(relaxation)] = _lost(slopes.detach(), relaxation)
            before, constant = through_relu_from_below(slopes, relaxation)
            return before + relaxation.pull, constant

        begun = {len(self.graph.layers): parts.rows[:, None]}
        slopes, constant = to_pixels(begun, self.graph, lines, through_relu)
        margin = (self.region.extent(slopes)[0] + constant).squeeze(1)
        return margin, torch.cat([loss[id(each)].flatten(1) for each in lines if each is not None], 1)

    def _lines(self, parts: _Parts) -> list[_PulledLines | None]:
        """The parts' lines, one entry per layer."""
        shapes = [
            self.graph.before(number) if isinstance(layer, nn.ReLU) else None
            for number, layer in enumerate(self.graph.layers)
        ]
        columns = (parts.low, parts.high, parts.line, -parts.sign * parts.pull)
        sizes = [math.prod(one) for one in shapes if one is not None]
        pieces = zip(
            *(torch.split(each, sizes, 1) for each in columns),
            strict=True,
        )
        return [
            None if shape is None else _pulled(*(each.view(-1, *shape) for each in next(pieces)))
            for shape in shapes
        ]


def _pulled(low: Tensor, high: Tensor, line: Tensor, pull: Tensor) -> _PulledLines:
    fixed = relax(low, high, parallel=False)
    line = torch.where(is_open(low, high), line, fixed.slope_low)
    return _PulledLines(line, fixed.slope_high, fixed.offset, pull[:, None])


def _lost(slopes: Tensor, lines: Relaxation) -> Tensor:
    """(P, *shape): by how much functions, (P, 1, *shape), may change between the lines around each ReLU."""
    return slopes[:, 0].abs() * lines.offset


def _halved(parts: _Parts) -> _Parts:
    """Split each part in two by the sign of one ReLU: of those still open, the one that loses most."""
    which = parts.loss.masked_fill(~parts.open_sign, -1).argmax(1, keepdim=True)
    positive = replace(parts, low=parts.low.scatter(1, which, 0.0), sign=parts.sign.scatter(1, which, 1.0))
    negative = replace(parts, high=parts.high.scatter(1, which, 0.0), sign=parts.sign.scatter(1, which, -1.0))
    return _Parts.together([positive, negative])
