"""Guards: how accuracies on corrupted pictures could be a lie. Every run checks each."""

from collections.abc import Iterator, Sequence

import numpy as np

from assay.results.document import Guard
from assay.tasks.base import Record
from assay.tasks.corruptions.outcomes import CorruptionOutcomes
from assay.tasks.corruptions.spec import CorruptionsSpec
from assay.tasks.shared.own_answers import labels_are_answers

ALONE_TOLERANCE = 1e-3  # of the largest logit; batched kernels sum in another order
RISES_LIMIT = 0.5  # share of the corruptions

_CHECKS = {
    "severity_0_is_clean": (
        "zero_is_clean",
        "images whose picture at severity 0 is not the clean one to the bit",
    ),
    "seed_repeats": ("repeats", "images whose corrupted picture changes when it is made again from its seed"),
}
SAME_LIMIT = 0.02
"""Share of the images: on 8 x 8 pixels two draws of a blur may agree, where the seed is not used they always do."""


def all_guards(
    spec: CorruptionsSpec, records: Sequence[Record], outcomes: CorruptionOutcomes
) -> Iterator[Guard]:
    """Each of them, where it has a meaning."""
    checks = [record.values["checks"] for record in records]
    for name, (check, detail) in _CHECKS.items():
        found = [one[check] for one in checks if one[check] is not None]
        if found:
            yield Guard.none_found(name, found.count(False), f"{detail}, of {len(found)}")
    seeds = [one["seed_matters"] for one in checks if one["seed_matters"] is not None]
    if seeds:
        yield _seed_matters(seeds)
    outside = sum(not one["in_box"] for one in checks)
    yield Guard.none_found("pixels_in_range", outside, "images with pictures that have pixels outside [0, 1]")
    if spec.pictures == "made" and outcomes.changes is not None:
        yield _changes_something(spec, outcomes.changes)
    if spec.pictures != "plain" and len(spec.severities) > 1:
        yield _falls(spec, outcomes)
    if spec.predicted:
        yield labels_are_answers("clean_accuracy_plausible, clean accuracy and the error against AlexNet")
    yield _alone(max(one["alone_difference"] for one in checks))


def _seed_matters(found: Sequence[bool]) -> Guard:
    share = found.count(False) / len(found)
    return Guard(
        name="seed_matters", passed=share <= SAME_LIMIT, value=share, limit=SAME_LIMIT,
        detail=f"share of {len(found)} images whose corrupted picture is the same from another seed",
    )  # fmt: skip


def _changes_something(spec: CorruptionsSpec, changes: np.ndarray) -> Guard:
    """A corruption that leaves every picture as it was is not at work."""
    idle = np.argwhere(~(changes > 0).any(0))
    named = ", ".join(
        f"{spec.corruptions[name]} at severity {spec.severities[level]}" for name, level in idle[:3]
    )
    detail = "corruptions and severities that change no picture"
    return Guard.none_found(
        "corruptions_change_pictures", len(idle), f"{detail}: {named}" if named else detail
    )


def _falls(spec: CorruptionsSpec, outcomes: CorruptionOutcomes) -> Guard:
    """Severities in the wrong order, or a corruption that heals: more is right at the highest than at the lowest."""
    cells = outcomes.cells
    rising = cells[:, -1] > cells[:, 0]
    share = float(rising.mean())
    first, last = spec.severities[0], spec.severities[-1]
    named = [name for name, rises in zip(spec.corruptions, rising, strict=True) if rises]
    which = f": {', '.join(named)}" if named else ""
    return Guard(
        name="accuracy_falls_with_severity", passed=share <= RISES_LIMIT, value=share, limit=RISES_LIMIT,
        detail=f"share of the corruptions with more right at severity {last} than at {first}{which}",
    )  # fmt: skip


def _alone(largest: float) -> Guard:
    return Guard(
        name="alone_agrees", passed=largest <= ALONE_TOLERANCE, value=largest, limit=ALONE_TOLERANCE,
        detail="largest difference between an image's logits alone and in its batch, as a share of the largest logit",
    )  # fmt: skip
