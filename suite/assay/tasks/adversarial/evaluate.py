"""Attack a batch of images and say what became of each: plain values, one record per image.

Beside the attacks stands what holds them to account: a random search that should not win, and proofs that none can.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from assay.attacks.bounds import relaxed_margins
from assay.attacks.closed_form import linear_part, linear_worst_margin
from assay.attacks.losses import in_top
from assay.attacks.probe import black_box_probe
from assay.attacks.relu_graph import ReluGraph, chain_of
from assay.common.errors import UserError
from assay.data.dataset import Dataset
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.batch import CleanBatch, certainty, clean_checks, load_batch
from assay.tasks.adversarial.levels import EachLevel, ScoredImages, levels_of, norm_of, targets_of
from assay.tasks.adversarial.pictures import png_bytes, png_name, rounded, sheet_name, sheet_png
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record, RunContext, Unit

_ROUNDING = 1e-4  # of the largest logit, whatever its unit: what is left for float32 sums
CLOSED_FORM, RELAXATION = "closed form", "linear relaxation"


def evaluate(
    spec: AdversarialSpec, model: LoadedModel, data: Dataset, units: Sequence[Unit], context: RunContext
) -> list[Record]:
    """One record per unit: the clean outcome, each attack's outcome at each eps, and the guards' raw figures."""
    spec = spec.fitted(model.info.num_classes)
    batch = load_batch(spec, model, data, [unit.payload for unit in units], context)
    checks = clean_checks(batch)
    attacks: list[dict[str, dict[str, dict[str, Any]]]] = [{} for _ in units]
    files: list[dict[str, bytes]] = [{} for _ in units]
    drawn = _drawn(batch)
    adversarial: dict[int, dict[tuple[str, Fraction], tuple[Tensor, Tensor]]] = {row: {} for row in drawn}
    standing = batch.correct
    for each, eps, outcome in _outcomes(batch):
        series = each.attack.series
        for row, values in enumerate(_values(each, outcome)):
            attacks[row].setdefault(series, {})[str(eps)] = values
            if spec.save_adversarial:
                files[row][png_name(series, eps, units[row].id)] = png_bytes(outcome.images[row])
        if eps == spec.radii[-1]:
            standing = standing & ~outcome.fell(batch)
        for row in drawn:
            adversarial[row][series, eps] = outcome.images[row], outcome.logits[row]
    probes, proofs = probe_outcomes(batch, standing), certificates(batch)
    for row in drawn:
        sheet = sheet_png(batch.images[row], int(batch.labels[row]), adversarial[row])
        files[row][sheet_name(units[row].id)] = sheet
    predicted, correct = batch.logits.argmax(1).tolist(), batch.correct.tolist()
    sure, labels = certainty(batch.logits).tolist(), batch.labels.tolist()
    protocol = {} if spec.protocol is None else {"classes": model.info.num_classes}
    return [
        Record(
            unit.id,
            {
                "label": labels[row],
                "predicted": predicted[row],
                "clean_correct": correct[row],
                "certainty": sure[row],
                "attacks": attacks[row],
                "smallest_eps": {series: _smallest(spec, by_eps) for series, by_eps in attacks[row].items()},
                "checks": checks[row],
                "probe": probes[row],
                "certified": proofs[row],
                **protocol,
            },
            files=files[row],
        )
        for row, unit in enumerate(units)
    ]


def _drawn(batch: CleanBatch) -> list[int]:
    """The rows of the batch that are among the job's first images; they get a sheet."""
    first = batch.context.first(batch.spec.sheets)
    return [row for row, unit_id in enumerate(batch.unit_ids) if unit_id in first]


def _outcomes(batch: CleanBatch) -> Iterator[tuple[EachLevel, Fraction, ScoredImages]]:
    """Every attack at every radius, smallest radius first."""
    spec, clean = batch.spec, ScoredImages.of_clean(batch)
    attacks = [EachLevel(attack, batch, clean, targets_of(attack, batch)) for attack in spec.attacks]
    ways = [(each, levels_of(each)) for each in attacks]
    share = len(batch) / (len(ways) * len(spec.eps))
    for eps in spec.radii:
        before: ScoredImages | None = None
        for each, way in ways:
            fallen = torch.zeros_like(batch.correct) if before is None else before.fell(batch)
            outcome = way.at(eps, fallen)
            if spec.in_turn and before is not None:
                outcome = outcome.with_carried(fallen, before)
            yield each, eps, outcome
            batch.context.advance(share)
            before = outcome if spec.in_turn else None


def _values(each: EachLevel, outcome: ScoredImages) -> list[dict[str, Any]]:
    """The outcome of each image as plain values."""
    batch, spec = each.batch, each.batch.spec
    change = outcome.images - batch.images
    correct = batch.right(outcome.logits)
    if spec.expects_randomness:  # what was wrong once counts as wrong, though another draw may be right
        correct &= batch.correct
    columns = {
        "predicted": outcome.logits.argmax(1),
        "correct": correct,
        "claimed": outcome.claimed,
        "distance": norm_of(change, spec.norm).double(),
        "linf": norm_of(change, "linf").double(),
        "in_box": ((outcome.images >= 0) & (outcome.images <= 1)).flatten(1).all(1),
        "steps": outcome.steps,
        "zero_gradient": outcome.zero_gradient,
        "retried": outcome.retried,
        "carried": outcome.carried,
    }
    if each.targets is not None:
        columns["target_hit"] = in_top(outcome.logits, each.targets, spec.top_k)
    if each.attack.only_foolbox_has:
        columns["relative_l2"] = (
            norm_of(change, "l2") / norm_of(batch.images, "l2").clamp_min(1e-12)
        ).double()
    if spec.save_adversarial:
        columns["correct_8bit"] = batch.right(batch.fresh_logits(rounded(outcome.images)))
    values = {name: column.tolist() for name, column in columns.items()}
    if outcome.nearest is not None:
        values["nearest"] = [length if isfinite(length) else None for length in outcome.nearest.tolist()]
    return [{name: column[row] for name, column in values.items()} for row in range(len(batch))]


def _smallest(spec: AdversarialSpec, by_eps: dict[str, dict[str, Any]]) -> str | None:
    """The smallest radius at which the image is misclassified; None where it stands at all of them."""
    return next((str(eps) for eps in spec.radii if not by_eps[str(eps)]["correct"]), None)


def probe_outcomes(batch: CleanBatch, standing: Tensor) -> list[bool | None]:
    """Whether a short random search breaks an image that every attack left standing at the largest radius.

    Args:
        batch: the images.
        standing: (N,) bool: those that stand.

    Returns:
        One value per image; None where it was not tried.
    """
    spec, rows = batch.spec, standing.nonzero().squeeze(1)
    outcomes: list[bool | None] = [None] * len(batch)
    if spec.probe_queries == 0 or not len(rows):
        return outcomes
    found = black_box_probe(batch.attacked(rows, "probe"), spec.radii[-1], queries=spec.probe_queries)
    logits = batch.fresh_logits(found.images)
    for row, stands in zip(rows.tolist(), in_top(logits, batch.labels[rows], spec.top_k), strict=True):
        outcomes[row] = not bool(stands)
    return outcomes


def certificates(batch: CleanBatch) -> list[dict[str, Any] | None]:
    """For each radius whether the label provably holds in the whole ball, and by which proof.

    Returns:
        One mapping per image (``proof``, then one outcome per radius); None where nothing was asked for, or the
        network has a layer that cannot be bounded.
    """
    spec = batch.spec
    nothing: list[dict[str, Any] | None] = [None] * len(batch)
    if not spec.certified or spec.top_k != 1:
        return nothing
    try:
        chain = chain_of(batch.model.module, batch.images)
    except UserError:
        return nothing
    proof = CLOSED_FORM if chain.is_affine else RELAXATION
    holds = {str(eps): _holds(batch, chain, float(eps)).tolist() for eps in spec.radii}
    return [
        {"proof": proof, "holds": {eps: column[row] for eps, column in holds.items()}}
        for row in range(len(batch))
    ]


def _holds(batch: CleanBatch, chain: ReluGraph, eps: float) -> Tensor:
    """(N,) bool: whether the label provably holds in the ball of one radius."""
    if eps == 0:
        return batch.correct
    sure = torch.zeros_like(batch.correct)
    rows = batch.correct.nonzero().squeeze(1)
    if not len(rows):
        return sure
    images, labels, norm = batch.images[rows], batch.labels[rows], batch.spec.norm
    if chain.is_affine:
        margins = linear_worst_margin(*linear_part(chain, images), images, labels, eps, norm)
    else:
        margins = relaxed_margins(chain, images, labels, eps, norm)
    # A proof in float32 is one up to rounding, so the margin must exceed what rounding could take.
    sure[rows] = margins > _ROUNDING * batch.logits[rows].abs().amax(1)
    return sure
