"""What holds the attacks to account: a random search that should not win, and proofs that none can."""

from typing import Any

import torch
from torch import Tensor

from assay.attacks.bounds import relaxed_margins
from assay.attacks.closed_form import linear_part, linear_worst_margin
from assay.attacks.losses import in_top
from assay.attacks.probe import black_box_probe
from assay.attacks.relu_chain import Chain, chain_of
from assay.attacks.run import AttackJob
from assay.common.errors import UserError
from assay.tasks.adversarial.block import Block, fresh_logits
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import RunContext

_ROUNDING = 1e-4  # of the largest logit, whatever its unit: what is left for float32 sums
CLOSED_FORM, RELAXATION = "closed form", "linear relaxation"


def probe_outcomes(
    spec: AdversarialSpec, block: Block, standing: Tensor, context: RunContext
) -> list[bool | None]:
    """Whether a short random search breaks an image that every attack left standing at the largest radius.

    Returns:
        One value an image; None where it was not tried.
    """
    rows = standing.nonzero().squeeze(1)
    outcomes: list[bool | None] = [None] * len(block.images)
    if spec.probe_queries == 0 or not len(rows):
        return outcomes
    seeds = [context.seed(block.unit_ids[row], "probe") for row in rows.tolist()]
    job = AttackJob(
        "square",
        block.model.module,
        block.images[rows],
        block.labels[rows],
        seeds,
        batch_size=block.batch_size,
    )
    found = black_box_probe(
        job, float(spec.radii[-1]), spec.norm, queries=spec.probe_queries, top_k=spec.top_k
    )
    logits = fresh_logits(block.model, found.images, block.batch_size)
    for row, stands in zip(rows.tolist(), in_top(logits, block.labels[rows], spec.top_k), strict=True):
        outcomes[row] = not bool(stands)
    return outcomes


def certificates(spec: AdversarialSpec, block: Block) -> list[dict[str, Any] | None]:
    """For each radius whether the label provably holds in the whole ball, and by which proof.

    Returns:
        One mapping an image (``proof``, then one outcome a radius); None where nothing was asked for, or the
        network has a layer that cannot be bounded.
    """
    nothing: list[dict[str, Any] | None] = [None] * len(block.images)
    if not spec.certified or spec.top_k != 1:
        return nothing
    try:
        chain = chain_of(block.model.module, block.images)
    except UserError:
        return nothing
    proof = CLOSED_FORM if chain.is_affine else RELAXATION
    holds = {str(eps): _holds(spec, block, chain, float(eps)).tolist() for eps in spec.radii}
    return [
        {"proof": proof, "holds": {eps: column[row] for eps, column in holds.items()}}
        for row in range(len(block.images))
    ]


def _holds(spec: AdversarialSpec, block: Block, chain: Chain, eps: float) -> Tensor:
    """(N,) bool."""
    if eps == 0:
        return block.correct
    sure = torch.zeros_like(block.correct)
    rows = block.correct.nonzero().squeeze(1)
    if not len(rows):
        return sure
    images, labels = block.images[rows], block.labels[rows]
    if chain.is_affine:
        margins = linear_worst_margin(*linear_part(chain, images), images, labels, eps, spec.norm)
    else:
        margins = relaxed_margins(chain, images, labels, eps, spec.norm)
    sure[rows] = margins > _ROUNDING * block.logits[rows].abs().amax(1)
    return sure
