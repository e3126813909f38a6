"""Proofs that a label holds in a whole ball, and a list of attacks that leaves out what is proved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from assay.attacks.bounds import interval_margins, relaxed_margins
from assay.attacks.branching import branched_margins
from assay.attacks.closed_form import linear_part, linear_worst_margin
from assay.attacks.images import Model
from assay.attacks.lipschitz import margin_slopes
from assay.attacks.methods import attack_of
from assay.attacks.relu_graph import ReluGraph, chain_of, relu_graph_of
from assay.attacks.settings import Norm
from assay.common.errors import UserError
from assay.tasks.adversarial.batch import CleanBatch, ScoredImages
from assay.tasks.adversarial.levels import Ascending, EachLevel

_ROUNDING = 1e-4  # of the largest logit, at any scale: room for float32 sums
CLOSED_FORM, RELAXATION, BRANCHING = "closed form", "linear relaxation", "branch and bound"
INTERVALS, LIPSCHITZ = "interval bounds", "Lipschitz product"

QUICK = attack_of("pgd", steps=10, step_size="0.25 eps", loss="margin")
"""What a bound would cost more than: images that it breaks are not bounded."""
TRIED = 10  # of so many images one, by its seed, is attacked though proved, and bounded though broken


def certificates(batch: CleanBatch) -> list[dict[str, Any] | None]:
    """For each radius, whether the label provably holds in the whole ball, and the proof's name.

    Returns:
        One mapping per image (``proof``, then one outcome per radius); None where nothing was asked for, or the
        network has a layer that cannot be bounded.
    """
    spec = batch.spec
    nothing: list[dict[str, Any] | None] = [None] * len(batch)
    if not spec.certified or spec.top_k != 1:
        return nothing
    chain = _read(chain_of, batch)
    if chain is None:
        return nothing
    proof = _strongest(chain)
    holds = {str(eps): _holds(batch, chain, float(eps)).tolist() for eps in spec.radii}
    return [
        {"proof": proof, "holds": {eps: column[row] for eps, column in holds.items()}}
        for row in range(len(batch))
    ]


def _read(reader: Callable[[Model, Tensor], ReluGraph], batch: CleanBatch) -> ReluGraph | None:
    try:
        return reader(batch.model.module, batch.images)
    except UserError:
        return None


def _strongest(graph: ReluGraph) -> str:
    return CLOSED_FORM if graph.is_affine else RELAXATION


def _holds(batch: CleanBatch, chain: ReluGraph, eps: float) -> Tensor:
    """(N,) bool: whether the label provably holds in the ball of one radius."""
    if eps == 0:
        return batch.correct
    sure = torch.zeros_like(batch.correct)
    rows = batch.correct.nonzero().squeeze(1)
    if len(rows):
        clean = Clean(chain, batch.images[rows], batch.labels[rows], batch.logits[rows], batch.spec.norm)
        sure[rows] = clean.proved(_strongest(chain), eps)
    return sure


@dataclass(frozen=True)
class Clean:
    """Images that a network answers rightly, (n, C, H, W), with labels (n,) and clean logits (n, K).

    ``branches`` is how many parts of an image's ball may be looked at where the ball as a whole is not proved.
    """

    graph: ReluGraph
    images: Tensor
    labels: Tensor
    logits: Tensor
    norm: Norm
    branches: int = 0

    @property
    def largest(self) -> Tensor:
        """(n,): each image's largest logit by size; rounding is counted as a share of it."""
        return self.logits.abs().amax(1)

    def proved(self, way: str, eps: float, rounding: float = _ROUNDING) -> Tensor:
        """(n,) bool: whether one way proves the label in the ball of a radius.

        A proof in float32 is one up to rounding, so the margin must exceed what rounding could take: a share of the
        largest logit.
        """
        return _MARGINS[way](self, eps) > rounding * self.largest

    def select(self, rows: Tensor) -> "Clean":
        """Some of the images."""
        return replace(self, images=self.images[rows], labels=self.labels[rows], logits=self.logits[rows])

    def proofs(self, eps: float, rounding: float = _ROUNDING) -> list[str | None]:
        """How each image is proved at a radius, the cheapest way first; None where no way proves it."""
        found: list[str | None] = [None] * len(self.images)
        ways = [CLOSED_FORM] if self.graph.is_affine else [_CHEAP[self.norm], RELAXATION]
        if self.branches and not self.graph.is_affine:
            ways.append(BRANCHING)
        for way in ways:
            rows = [row for row, known in enumerate(found) if known is None]
            if rows:
                sure = self.select(torch.tensor(rows, device=self.images.device)).proved(way, eps, rounding)
                for row, holds in zip(rows, sure.tolist(), strict=True):
                    found[row] = way if holds else None
        return found


def _closed_form(clean: Clean, eps: float) -> Tensor:
    form = linear_part(clean.graph, clean.images)
    return linear_worst_margin(*form, clean.images, clean.labels, eps, clean.norm)


def _by_lipschitz(clean: Clean, eps: float) -> Tensor:
    own = clean.logits.gather(1, clean.labels[:, None])
    slopes = _slopes(clean.graph).to(clean.logits)[clean.labels]
    margins = own - clean.logits - eps * slopes
    return margins.scatter(1, clean.labels[:, None], torch.inf).amin(1)


def _by_branching(clean: Clean, eps: float) -> Tensor:
    enough, most = _ROUNDING * clean.largest, clean.branches
    return branched_margins(
        clean.graph, clean.images, clean.labels, eps, clean.norm, enough=enough, most=most
    )


@lru_cache(maxsize=1)
def _slopes(graph: ReluGraph) -> Tensor:
    """They are of the network alone: the same at every radius, and costly where layers are wide."""
    return margin_slopes(graph)


_MARGINS: Mapping[str, Callable[[Clean, float], Tensor]] = {
    CLOSED_FORM: _closed_form,
    INTERVALS: lambda it, eps: interval_margins(it.graph, it.images, it.labels, eps, it.norm),
    LIPSCHITZ: _by_lipschitz,
    RELAXATION: lambda it, eps: relaxed_margins(it.graph, it.images, it.labels, eps, it.norm),
    BRANCHING: _by_branching,
}
"""For each way, (n,): a lower bound of the margins in the ball."""
_CHEAP: Mapping[Norm, str] = {"linf": INTERVALS, "l2": LIPSCHITZ, "l1": LIPSCHITZ}
"""An L1 ball lies in the L2 ball of the same radius, so what holds there holds in it."""


@dataclass
class ProofsFirst:
    """What a list of attacks can skip, radius by radius, smallest first.

    At each radius a quick attack comes first, then bounds of what it left standing. Images that are proved are not
    attacked. What fell at a smaller radius, or could not be proved at one, is not bounded.

    Attributes:
        batch: the images.
        quick: the quick attack's way through the radii.
        graph: the network as bounds take it, or None where it cannot be bounded.
        hopeless: (N,) bool: fell at a smaller radius, or could not be proved there.
        fallen: (N,) bool: fell at a smaller radius.
        by: for each radius, how each image is proved, or None.
    """

    batch: CleanBatch
    quick: Ascending
    graph: ReluGraph | None
    hopeless: Tensor
    fallen: Tensor
    by: dict[str, list[str | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: CleanBatch, clean: ScoredImages) -> "ProofsFirst":
        """For a batch with nothing known yet."""
        quick = EachLevel(QUICK.model_copy(update={"name": "quick"}), batch, clean, None)
        no = torch.zeros_like(batch.correct)
        return cls(batch, Ascending(quick, clean), _read(relu_graph_of, batch), no, no)

    def at(self, eps: Fraction) -> tuple[ScoredImages, Tensor]:
        """The quick attack's outcome at a radius, and (N,) bool: which images are proved there."""
        batch = self.batch
        outcome = self.quick.at(eps, self.fallen)
        fell = outcome.fell(batch) | self.fallen
        found: list[str | None] = [None] * len(batch)
        if eps > 0 and self.graph is not None:
            asked = batch.correct & (~(fell | self.hopeless) | self.tried)
            rows = asked.nonzero().squeeze(1)
            clean = Clean(
                self.graph,
                batch.images[rows],
                batch.labels[rows],
                batch.logits[rows],
                batch.spec.norm,
                batch.spec.branches,
            )
            for row, way in zip(rows.tolist(), clean.proofs(float(eps)) if len(rows) else (), strict=True):
                found[row] = way
            self.hopeless = self.hopeless | torch.tensor([way is None for way in found], device=fell.device)
        self.by[str(eps)] = found
        return outcome, torch.tensor([way is not None for way in found], device=fell.device)

    def note(self, last: ScoredImages) -> None:
        """Take in what the list left at a radius."""
        self.fallen = self.fallen | last.fell(self.batch)

    @cached_property
    def tried(self) -> Tensor:
        """(N,) bool: the sample that compares proofs with attacks; it depends on seeds alone."""
        seeds = [self.batch.context.seed(unit_id, "proofs") for unit_id in self.batch.unit_ids]
        return torch.tensor([seed % TRIED == 0 for seed in seeds], device=self.batch.images.device)

    def records(self) -> list[dict[str, Any] | None]:
        """One mapping per image, as :func:`certificates`, with the proof at each radius; None as there."""
        if self.graph is None:
            return [None] * len(self.batch)
        right = self.batch.correct.tolist()
        return [
            {
                "proof": _strongest(self.graph),
                "holds": {
                    eps: right[row] if Fraction(eps) == 0 else ways[row] is not None
                    for eps, ways in self.by.items()
                },
                "by": {eps: ways[row] for eps, ways in self.by.items()},
            }
            for row in range(len(self.batch))
        ]


def unproved(
    module: Model, images: Tensor, labels: Tensor, logits: Tensor, eps: float, norm: Norm, branches: int = 0
) -> Sequence[int]:
    """The rows of images whose label is not proved here.

    Nothing is left for rounding, so that a proof of another machine is not denied for its last bits.

    Raises:
        UserError: the network cannot be bounded.
    """
    graph = relu_graph_of(module, images)
    found = Clean(graph, images, labels, logits, norm, branches).proofs(eps, rounding=0.0)
    return [row for row, way in enumerate(found) if way is None]
