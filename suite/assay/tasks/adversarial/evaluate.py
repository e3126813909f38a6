"""Attack a batch of images and say how each fared: plain values, one record per image.

Two checks stand beside the attacks: a random search that should not win, and proofs that no attack can.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from assay.attacks.losses import in_top
from assay.attacks.probe import black_box_probe
from assay.data.dataset import Dataset
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.batch import (
    CleanBatch,
    ScoredImages,
    certainty,
    clean_checks,
    dynamic,
    load_batch,
)
from assay.tasks.adversarial.figures import png_name, rounded, sheet_name, sheet_png
from assay.tasks.adversarial.levels import EachLevel, levels_of, norm_of, targets_of
from assay.tasks.adversarial.proofs import ProofsFirst, certificates
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record, RunContext, Unit
from assay.tasks.shared.png import png_bytes


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
    # Adversarial images of every attack and radius would fill the memory, so they are kept for drawn rows alone.
    adversarial: dict[int, dict[tuple[str, Fraction], tuple[Tensor, Tensor]]] = {row: {} for row in drawn}
    standing, clean = batch.correct, ScoredImages.of_clean(batch)
    first = ProofsFirst.of(batch, clean) if spec.proofs is not None else None
    for each, eps, outcome in _outcomes(batch, clean, first):
        series = each.attack.series
        for row, values in enumerate(_values(each, outcome)):
            attacks[row].setdefault(series, {})[str(eps)] = values
            if spec.save_adversarial:
                files[row][png_name(series, eps, units[row].id)] = png_bytes(outcome.images[row])
        # `standing` speaks of the largest radius, where the random search below looks.
        if eps == spec.radii[-1]:
            standing = standing & ~outcome.fell(batch)
        for row in drawn:
            adversarial[row][series, eps] = outcome.images[row], outcome.logits[row]
    if spec.protocol is not None:
        _note_dynamic(batch, checks)
    proofs = certificates(batch) if first is None else first.records()
    # The random search checks what no attack broke; it could break nothing that is proved.
    probes = probe_outcomes(batch, standing & ~_proved(proofs, spec.radii[-1], standing))
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


def _note_dynamic(batch: CleanBatch, checks: Sequence[dict[str, Any]]) -> None:
    """Note for each image whether the network changed."""
    for check, changed in zip(checks, dynamic(batch, checks), strict=True):
        check["dynamic"] = changed


def _drawn(batch: CleanBatch) -> list[int]:
    """The rows of the batch that are among the job's first images; they get a sheet."""
    first = batch.context.first(batch.spec.sheets)
    return [row for row, unit_id in enumerate(batch.unit_ids) if unit_id in first]


def _outcomes(
    batch: CleanBatch, clean: ScoredImages, first: ProofsFirst | None
) -> Iterator[tuple[EachLevel, Fraction, ScoredImages]]:
    """Every attack at every radius, smallest radius first; what is proved ``first`` is left out."""
    spec = batch.spec
    attacks = [EachLevel(attack, batch, clean, targets_of(attack, batch)) for attack in spec.attacks]
    share = len(batch) / (len(attacks) * len(spec.eps))
    if spec.in_turn:
        yield from _in_turn(batch, attacks, share, first)
        return
    for each in attacks:
        way = levels_of(each)
        for eps in spec.radii:
            yield each, eps, way.at(eps, torch.zeros_like(batch.correct))
            batch.context.advance(share)


def _in_turn(
    batch: CleanBatch, attacks: Sequence[EachLevel], share: float, first: ProofsFirst | None
) -> Iterator[tuple[EachLevel, Fraction, ScoredImages]]:
    """At every radius each attack on what those before it left standing; ``share`` is what one is of the progress."""
    spec, spared = batch.spec, torch.zeros_like(batch.correct)
    ways = [(each, levels_of(each)) for each in attacks]
    for eps in spec.radii:
        before: ScoredImages | None = None
        if first is not None:
            before, spared = first.at(eps)
        for number, (each, way) in enumerate(ways):
            fallen = torch.zeros_like(batch.correct) if before is None else before.fell(batch)
            # The list's first attack still tries some of what is proved, to check the proofs.
            tried = spared & first.tried if first is not None and number == 0 else torch.zeros_like(spared)
            outcome = way.at(eps, fallen | (spared & ~tried))
            if before is not None:
                outcome = outcome.with_carried(fallen, before)
            yield each, eps, outcome
            batch.context.advance(share)
            before = outcome
        if first is not None and before is not None:
            first.note(before)


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
    if spec.count_passes:
        columns["forward_passes"], columns["backward_passes"] = outcome.passes.T
    if spec.save_adversarial:
        columns["correct_8bit"] = batch.right(batch.fresh_logits(rounded(outcome.images)))
    values = {name: column.tolist() for name, column in columns.items()}
    if outcome.nearest is not None:
        values["nearest"] = [length if isfinite(length) else None for length in outcome.nearest.tolist()]
    return [{name: column[row] for name, column in values.items()} for row in range(len(batch))]


def _smallest(spec: AdversarialSpec, by_eps: dict[str, dict[str, Any]]) -> str | None:
    """The smallest radius at which the image is misclassified; None where it stands at all of them."""
    return next((str(eps) for eps in spec.radii if not by_eps[str(eps)]["correct"]), None)


def _proved(proofs: Sequence[dict[str, Any] | None], eps: Fraction, like: Tensor) -> Tensor:
    """(N,) bool: which images were not attacked at a radius because they are proved there."""
    spared = [proof is not None and "by" in proof and proof["holds"][str(eps)] for proof in proofs]
    return torch.tensor(spared, device=like.device)


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
