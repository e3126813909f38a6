"""Attack a block of images and say what became of each: every outcome is scored again in a fresh forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from assay.attacks.run import least_likely_targets, run_attack
from assay.attacks.settings import AttackResult, AttackSettings
from assay.data.dataset import Dataset, Sample
from assay.models.check import check_logits, looks_like_probabilities
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec
from assay.tasks.base import Record, RunContext, Unit


@dataclass(frozen=True)
class Block:
    """Images (N, C, H, W) float32 in [0, 1] on the model's device, with what the clean passes said of them."""

    model: LoadedModel
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    logits: Tensor
    unit_ids: Sequence[str]

    @property
    def correct(self) -> Tensor:
        """(N,) bool: classified as labelled before any attack."""
        return self.logits.argmax(1) == self.labels


def evaluate(
    spec: AdversarialSpec, model: LoadedModel, data: Dataset, units: Sequence[Unit], context: RunContext
) -> list[Record]:
    """One record a unit: the clean outcome, each attack's outcome at each eps, and the guards' raw figures."""
    block = _load(model, data, [unit.payload for unit in units], context)
    checks = _checks(block, context.batch_size)
    work = len(units) / (len(spec.attacks) * len(spec.eps))
    outcomes: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for attack in spec.attacks:
        for eps in spec.eps:
            outcomes.setdefault(attack.series, {})[str(eps)] = _attack(spec, attack, eps, block, context)
            context.advance(work)
    predicted = block.logits.argmax(1).tolist()
    return [
        Record(
            unit.id,
            {
                "label": unit.payload.label,
                "predicted": predicted[row],
                "clean_correct": predicted[row] == unit.payload.label,
                "attacks": {
                    series: {eps: found[row] for eps, found in by_eps.items()}
                    for series, by_eps in outcomes.items()
                },
                "checks": checks[row],
            },
        )
        for row, unit in enumerate(units)
    ]


def _load(model: LoadedModel, data: Dataset, samples: Sequence[Sample], context: RunContext) -> Block:
    images = torch.stack([model.prepare(data.image(sample)) for sample in samples]).to(context.device)
    targets = [sample.target for sample in samples]
    known = [target for target in targets if target is not None]
    return Block(
        model=model,
        images=images,
        labels=torch.tensor([sample.label for sample in samples], device=context.device),
        targets=torch.tensor(known, device=context.device) if len(known) == len(targets) else None,
        logits=_logits(model, images, context.batch_size),
        unit_ids=[sample.unit_id for sample in samples],
    )


@torch.no_grad()
def _logits(model: LoadedModel, images: Tensor, batch_size: int) -> Tensor:
    """(N, K) logits, checked for NaN and for the number of classes."""
    if not len(images):
        return images.new_zeros((0, model.info.num_classes))
    logits = torch.cat([model.module(batch) for batch in torch.split(images, batch_size)])
    check_logits(logits, model.info.num_classes)
    return logits


def _checks(block: Block, batch_size: int) -> list[dict[str, Any]]:
    """Per image: do two passes agree, does one alone agree with the batch, is it a probability distribution."""
    scale = block.logits.abs().amax().clamp_min(1e-12)
    again = _logits(block.model, block.images, batch_size)
    repeat = ((again - block.logits).abs().amax(1) / scale).tolist()
    # One image a batch is enough to see batch statistics at work, at little cost.
    alone = torch.zeros(len(block.images), dtype=block.logits.dtype)
    for first in range(0, len(block.images), batch_size):
        single = _logits(block.model, block.images[first : first + 1], 1)
        alone[first] = (single - block.logits[first]).abs().amax() / scale
    probable = [looks_like_probabilities(row[None]) for row in block.logits]
    return [
        {
            "repeat_difference": repeat[row],
            "alone_difference": alone[row].item(),
            "probabilities": probable[row],
        }
        for row in range(len(block.images))
    ]


def _attack(
    spec: AdversarialSpec, attack: AttackSpec, eps: Fraction, block: Block, context: RunContext
) -> list[dict[str, Any]]:
    """Each image's outcome; only images that are classified correctly to begin with are attacked."""
    rows = block.correct.nonzero().squeeze(1)
    images, claimed = block.images.clone(), torch.zeros_like(block.correct)
    steps = torch.zeros(len(images), dtype=torch.long, device=images.device)
    blind, retried = torch.zeros_like(claimed), torch.zeros_like(claimed)
    if eps > 0 and len(rows):
        result, again = _run(attack, attack.settings(eps, spec.norm), block, rows, context)
        images[rows], claimed[rows] = result.images, result.success
        steps[rows], blind[rows], retried[rows] = (
            result.steps_used,
            result.zero_gradient & ~result.success,
            again,
        )
    predicted = _logits(block.model, images, context.batch_size).argmax(1)
    change = (images - block.images).flatten(1)
    distance = change.abs().amax(1) if spec.norm == "linf" else change.norm(dim=1)
    in_box = ((images >= 0) & (images <= 1)).flatten(1).all(1)
    columns = {
        "predicted": predicted,
        "correct": predicted == block.labels,
        "claimed": claimed,
        "distance": distance.double(),
        "linf": change.abs().amax(1).double(),
        "in_box": in_box,
        "steps": steps,
        "zero_gradient": blind,
        "retried": retried,
    }
    values = {name: column.tolist() for name, column in columns.items()}
    return [{name: column[row] for name, column in values.items()} for row in range(len(images))]


def _run(
    attack: AttackSpec, settings: AttackSettings, block: Block, rows: Tensor, context: RunContext
) -> tuple[AttackResult, Tensor]:
    """The attack on some rows; where its loss was flat it is made again with the logit margin.

    Returns:
        The result, and (n,) bool: which rows were attacked again.
    """
    seeds = [context.seed(block.unit_ids[row], f"{attack.series}@{settings.eps}") for row in rows.tolist()]
    targets = _targets(attack, block)

    def start(chosen: AttackSettings, part: Tensor) -> AttackResult:
        picked = rows[part]
        return run_attack(
            attack.method,
            block.model.module,
            block.images[picked],
            block.labels[picked],
            chosen,
            [seeds[index] for index in part.tolist()],
            targets=None if targets is None else targets[picked],
            batch_size=context.batch_size,
        )

    everything = torch.arange(len(rows), device=rows.device)
    result = start(settings, everything)
    flat = result.zero_gradient & ~result.success
    if settings.loss == "margin" or not flat.any():
        return result, torch.zeros_like(flat)
    part = flat.nonzero().squeeze(1)
    return _replace(result, part, start(replace(settings, loss="margin"), part)), flat


def _replace(result: AttackResult, part: Tensor, again: AttackResult) -> AttackResult:
    return AttackResult(
        images=result.images.index_copy(0, part, again.images),
        success=result.success.index_copy(0, part, again.success),
        steps_used=result.steps_used.index_add(0, part, again.steps_used),
        zero_gradient=result.zero_gradient.index_copy(0, part, again.zero_gradient),
    )


_TARGETS: dict[str, Callable[[Block], Tensor | None]] = {
    "no": lambda _block: None,
    "least_likely": lambda block: least_likely_targets(block.model.module, block.images, block.labels),
    "dataset": lambda block: block.targets,
}


def _targets(attack: AttackSpec, block: Block) -> Tensor | None:
    return _TARGETS[attack.targeted](block)
