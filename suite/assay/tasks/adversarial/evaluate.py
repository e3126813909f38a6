"""Attack a block of images and say what became of each: plain values, one record an image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite
from typing import Any

from torch import Tensor

from assay.attacks.losses import in_top
from assay.data.dataset import Dataset
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.block import Block, load_block
from assay.tasks.adversarial.checks import certainty, clean_checks
from assay.tasks.adversarial.few_classes import fitted
from assay.tasks.adversarial.levels import Attacker, Levels, Outcome, attackers, levels_of, norm_of
from assay.tasks.adversarial.proofs import certificates, probe_outcomes
from assay.tasks.adversarial.saved import correct_after_rounding, png_files
from assay.tasks.adversarial.sheet import sheet_files
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record, RunContext, Unit

Rows = list[dict[str, Any]]


def evaluate(
    spec: AdversarialSpec, model: LoadedModel, data: Dataset, units: Sequence[Unit], context: RunContext
) -> list[Record]:
    """One record a unit: the clean outcome, each attack's outcome at each eps, and the guards' raw figures."""
    spec = fitted(spec, model.info.num_classes)
    block = load_block(model, data, [unit.payload for unit in units], context, spec.top_k)
    found = _Found(block, _drawn(spec, data, block))
    checks = clean_checks(block)
    for attacker, eps, outcome in _outcomes(spec, block, context):
        found.add(spec, attacker, eps, outcome)
    proofs: dict[str, Sequence[Any]] = {
        "probe": probe_outcomes(spec, block, found.standing, context),
        "certified": certificates(spec, block),
    }
    found.draw()
    predicted, correct = block.logits.argmax(1).tolist(), block.correct.tolist()
    sure = certainty(block.logits).tolist()
    records = []
    for row, unit in enumerate(units):
        attacks = {
            series: {eps: rows[row] for eps, rows in by_eps.items()} for series, by_eps in found.rows.items()
        }
        values = {
            "label": unit.payload.label,
            "predicted": predicted[row],
            "clean_correct": correct[row],
            "certainty": sure[row],
            "attacks": attacks,
            "smallest_eps": {series: _smallest(spec, attacks[series]) for series in attacks},
            "checks": checks[row],
            **{name: column[row] for name, column in proofs.items()},
        }
        if spec.protocol is not None:
            values["classes"] = model.info.num_classes
        records.append(Record(unit.id, values, files=found.files[row]))
    return records


@dataclass
class _Found:
    """What the attacks have made of a block so far.

    Attributes:
        standing: (N,) bool: correct at every radius and attack that was met at the largest radius.
        rows: by series and radius, plain values an image.
        files: an image's files.
        drawn: the rows of the block that get a sheet.
        to_draw: the outcomes that sheets are drawn of.
    """

    block: Block
    drawn: Sequence[int]
    standing: Tensor = field(init=False)
    rows: dict[str, dict[str, Rows]] = field(default_factory=dict)
    files: list[dict[str, bytes]] = field(init=False)
    to_draw: dict[tuple[str, Fraction], Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.standing = self.block.correct
        self.files = [{} for _ in self.block.unit_ids]

    def add(self, spec: AdversarialSpec, attacker: Attacker, eps: Fraction, outcome: Outcome) -> None:
        """Take one attack's outcome at one radius."""
        series = attacker.attack.series
        rows = _rows(spec, attacker, outcome)
        if spec.save_adversarial:
            kept = correct_after_rounding(self.block, outcome).tolist()
            rows = [row | {"correct_8bit": correct} for row, correct in zip(rows, kept, strict=True)]
            for files, saved in zip(self.files, png_files(self.block, series, eps, outcome), strict=True):
                files.update(saved)
        self.rows.setdefault(series, {})[str(eps)] = rows
        if eps == spec.radii[-1]:
            self.standing = self.standing & ~outcome.fell(self.block)
        if self.drawn:
            self.to_draw[series, eps] = outcome

    def draw(self) -> None:
        """Draw the sheets."""
        for row, sheet in sheet_files(self.block, self.to_draw, self.drawn).items():
            self.files[row].update(sheet)


def _drawn(spec: AdversarialSpec, data: Dataset, block: Block) -> list[int]:
    """The rows of the block that are among the data set's first images."""
    first = {sample.unit_id for sample in data.samples[: spec.sheets]}
    return [row for row, unit_id in enumerate(block.unit_ids) if unit_id in first]


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
    correct = in_top(outcome.logits, block.labels, spec.top_k)
    if spec.expects_randomness:  # what was wrong once counts as wrong, though another draw may be right
        correct &= block.correct
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
    if attacker.targets is not None:
        columns["target_hit"] = in_top(outcome.logits, attacker.targets, spec.top_k)
    if attacker.attack.only_foolbox_has:
        columns["relative_l2"] = (
            norm_of(change, "l2") / norm_of(block.images, "l2").clamp_min(1e-12)
        ).double()
    values = {name: column.tolist() for name, column in columns.items()}
    if outcome.nearest is not None:
        values["nearest"] = [length if isfinite(length) else None for length in outcome.nearest.tolist()]
    return [{name: column[row] for name, column in values.items()} for row in range(len(block.images))]


def _smallest(spec: AdversarialSpec, by_eps: dict[str, dict[str, Any]]) -> str | None:
    """The smallest radius at which the image is misclassified; None where it stands at all of them."""
    return next((str(eps) for eps in spec.radii if not by_eps[str(eps)]["correct"]), None)
