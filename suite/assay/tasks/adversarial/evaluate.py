"""Attack a block of images and say what became of each: plain values, one record an image."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from assay.attacks.losses import in_top
from assay.data.dataset import Dataset
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.block import Block, load_block
from assay.tasks.adversarial.checks import clean_checks
from assay.tasks.adversarial.levels import Attacker, Levels, Outcome, attackers, levels_of, norm_of
from assay.tasks.adversarial.proofs import certificates, probe_outcomes
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record, RunContext, Unit

Rows = list[dict[str, Any]]


def evaluate(
    spec: AdversarialSpec, model: LoadedModel, data: Dataset, units: Sequence[Unit], context: RunContext
) -> list[Record]:
    """One record a unit: the clean outcome, each attack's outcome at each eps, and the guards' raw figures."""
    block = load_block(model, data, [unit.payload for unit in units], context, spec.top_k)
    checks = clean_checks(block)
    outcomes: dict[str, dict[str, Rows]] = {attack.series: {} for attack in spec.attacks}
    standing = block.correct
    for attacker, eps, outcome in _outcomes(spec, block, context):
        outcomes[attacker.attack.series][str(eps)] = _rows(spec, attacker, outcome)
        if eps == spec.radii[-1]:
            standing = standing & ~outcome.fell(block)
    proofs: dict[str, Sequence[Any]] = {
        "probe": probe_outcomes(spec, block, standing, context),
        "certified": certificates(spec, block),
    }
    predicted, correct = block.logits.argmax(1).tolist(), block.correct.tolist()
    records = []
    for row, unit in enumerate(units):
        attacks = {
            series: {eps: rows[row] for eps, rows in by_eps.items()} for series, by_eps in outcomes.items()
        }
        values = {
            "label": unit.payload.label,
            "predicted": predicted[row],
            "clean_correct": correct[row],
            "attacks": attacks,
            "smallest_eps": {series: _smallest(spec, attacks[series]) for series in attacks},
            "checks": checks[row],
            **{name: found[row] for name, found in proofs.items()},
        }
        records.append(Record(unit.id, values))
    return records


def _outcomes(
    spec: AdversarialSpec, block: Block, context: RunContext
) -> Iterator[tuple[Attacker, Fraction, Outcome]]:
    """Every attack at every radius, smallest radius first."""
    ways: list[tuple[Attacker, Levels]] = [
        (attacker, levels_of(attacker)) for attacker in attackers(spec, block, context)
    ]
    share = len(block.images) / (len(ways) * len(spec.eps))
    for eps in spec.radii:
        before: Outcome | None = None
        for attacker, way in ways:
            fallen = attacker.clean.claimed if before is None else before.fell(block)
            outcome = way.at(eps, fallen)
            if spec.in_turn and before is not None:
                outcome = outcome.with_carried(fallen, before)
            yield attacker, eps, outcome
            context.advance(share)
            before = outcome if spec.in_turn else None


def _rows(spec: AdversarialSpec, attacker: Attacker, outcome: Outcome) -> Rows:
    """The outcome of each image as plain values."""
    block = attacker.block
    change = outcome.images - block.images
    columns = {
        "predicted": outcome.logits.argmax(1),
        "correct": in_top(outcome.logits, block.labels, spec.top_k),
        "claimed": outcome.claimed,
        "distance": norm_of(change, spec.norm).double(),
        "linf": norm_of(change, "linf").double(),
        "in_box": ((outcome.images >= 0) & (outcome.images <= 1)).flatten(1).all(1),
        "steps": outcome.steps,
        "zero_gradient": outcome.zero_gradient,
        "retried": outcome.retried,
        "carried": outcome.carried,
    }
    if attacker.targets is not None:
        columns["target_hit"] = in_top(outcome.logits, attacker.targets, spec.top_k)
    if attacker.attack.only_foolbox_has:
        columns["relative_l2"] = (
            norm_of(change, "l2") / norm_of(block.images, "l2").clamp_min(1e-12)
        ).double()
    values = {name: column.tolist() for name, column in columns.items()}
    return [{name: column[row] for name, column in values.items()} for row in range(len(block.images))]


def _smallest(spec: AdversarialSpec, by_eps: dict[str, dict[str, Any]]) -> str | None:
    """The smallest radius at which the image is misclassified; None where it stands at all of them."""
    return next((str(eps) for eps in spec.radii if not by_eps[str(eps)]["correct"]), None)
