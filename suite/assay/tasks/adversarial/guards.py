"""The ways in which an accuracy under attack has been wrong; each is looked for in every run. Without torch.

An image with NaN or infinite logits never gets here: its record is an error, and the result is partial.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from assay.results.document import Guard
from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec
from assay.tasks.base import Record

BALL_TOLERANCE = 1e-6  # pixel units; what float32 arithmetic may add to a projection
REPEAT_TOLERANCE = 1e-4  # of the largest logit; two passes over the same images
ALONE_TOLERANCE = 1e-3  # of the largest logit; batched kernels sum in another order
RESCORE_LIMIT = 0.01  # share of claimed successes that a fresh pass may deny (images on the very boundary)
CHANCE_LIMIT = 0.05  # share of images in which one attack may beat a better one by luck
PROBE_LIMIT = 0.02  # share of images that a blind search may break where gradient attacks could not
RISE_LIMIT = 0.02  # how much an accuracy may rise from one radius to the next, for the same reason

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Attacked:
    """One image under one attack at one radius."""

    record: Record
    attack: AttackSpec
    eps: Fraction
    row: Row


def all_guards(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Guard]:
    """Every guard with its figure, whether it found something or not."""
    attacked = [
        Attacked(record, attack, eps, record.values["attacks"][attack.series][str(eps)])
        for record in records for attack in spec.attacks for eps in spec.radii
    ]  # fmt: skip
    yield from _perturbation_guards(spec, records, attacked)
    yield from _model_guards(records)
    yield from _gradient_guards([item.row for item in attacked])
    yield from _strength_guards(spec, records)
    yield _confirmed(attacked)
    yield _bounded_by_clean(attacked)
    if spec.certified:
        yield _proofs_hold(spec, records)


def _perturbation_guards(
    spec: AdversarialSpec, records: Sequence[Record], attacked: Sequence[Attacked]
) -> Iterator[Guard]:
    at_zero = [item for item in attacked if item.eps == 0]
    wrong = sum(
        (item.row["distance"] != 0) + (item.row["predicted"] != item.record.values["predicted"])
        for item in at_zero
    )
    yield Guard.none_found(
        "eps_zero_is_clean", wrong, f"{len(at_zero)} outcomes at eps 0 equal the clean ones"
    )
    excess = max((item.row["distance"] - float(item.eps) for item in attacked), default=0.0)
    yield Guard(
        name="inside_the_ball",
        passed=excess <= BALL_TOLERANCE,
        value=excess,
        limit=BALL_TOLERANCE,
        detail=f"largest excess of the {spec.norm} distance over eps, which is a fraction and exact",
    )
    outside = sum(not item.row["in_box"] for item in attacked)
    outside += sum(not record.values["checks"]["in_box"] for record in records)
    yield Guard.none_found(
        "inside_the_pixel_range",
        outside,
        "clean and adversarial images with a pixel outside [0, 1], before the model's own mean and std",
    )


def _model_guards(records: Sequence[Record]) -> Iterator[Guard]:
    yield Guard.none_found(
        "no_probabilities",
        _all(records, lambda checks: checks["probabilities"]),
        "1 when every row of the model's output is a probability distribution instead of logits",
    )
    yield _largest(
        records,
        "repeat_difference",
        REPEAT_TOLERANCE,
        "two clean passes over the same images; a model that is random at test time needs attacks on the "
        "expectation over its randomness (EOT), which these are not",
    )
    yield _largest(records, "alone_difference", ALONE_TOLERANCE, "an image scored alone and in its batch")


def _gradient_guards(rows: Sequence[Row]) -> Iterator[Guard]:
    yield Guard.none_found(
        "loss_not_saturated",
        sum(row["retried"] for row in rows),
        "outcomes where the loss had a gradient of exactly zero, attacked again with the logit margin",
    )
    yield Guard.none_found(
        "gradient_not_zero",
        sum(row["zero_gradient"] for row in rows),
        "outcomes where even the logit margin had a gradient of exactly zero",
    )


def _strength_guards(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Guard]:
    yield _falls_with_eps(spec, records)
    yield _iterated_beats_single_step(spec, records)
    probed = [record for record in records if record.values["probe"] is not None]
    broken = sum(bool(record.values["probe"]) for record in probed)
    yield Guard(
        name="black_box_does_not_win",
        passed=broken <= max(1, PROBE_LIMIT * len(records)),
        value=broken / max(len(records), 1),
        limit=PROBE_LIMIT,
        detail=f"share of images that stood every attack at the largest eps, but not a random search of "
        f"{spec.probe_queries} queries: {broken} of the {len(probed)} tried; gradients then mislead",
    )


def _falls_with_eps(spec: AdversarialSpec, records: Sequence[Record]) -> Guard:
    """Single steps are left out: a longer one may overshoot, and says nothing of the model."""
    rise, images = 0.0, 0
    for attack in (attack for attack in spec.attacks if not attack.single_step):
        for low, high in pairwise(spec.radii):
            before, after = (_standing(records, attack, eps) for eps in (low, high))
            images += len(after - before)
            rise = max(rise, (len(after) - len(before)) / max(len(records), 1))
    return Guard(
        name="accuracy_falls_with_eps",
        passed=rise <= max(RISE_LIMIT, 1 / max(len(records), 1)),
        value=rise,
        limit=RISE_LIMIT,
        detail=f"largest rise of an iterated attack's accuracy from one eps to the next; {images} outcomes in "
        "which an image fell at one eps and stood at the next",
    )


def _iterated_beats_single_step(spec: AdversarialSpec, records: Sequence[Record]) -> Guard:
    """Image by image: what one step breaks, many steps should break too."""
    comparable = [attack for attack in spec.attacks if attack.white_box]
    single = [attack for attack in comparable if attack.single_step]
    iterated = [attack for attack in comparable if not attack.single_step]
    share, images = 0.0, 0
    for eps in spec.radii if iterated else ():
        fell_only_once = {
            record.unit_id for record in records for attack in single
            if not _row(record, attack, eps)["correct"]
            and all(_row(record, other, eps)["correct"] for other in iterated)
        }  # fmt: skip
        images += len(fell_only_once)
        share = max(share, len(fell_only_once) / max(len(records), 1))
    return Guard(
        name="iterated_beats_single_step",
        passed=share <= max(CHANCE_LIMIT, 1 / max(len(records), 1)),
        value=share,
        limit=CHANCE_LIMIT,
        detail=f"largest share of images that fell to a single step and to no iterated attack at the same eps; "
        f"{images} such outcomes",
    )


def _confirmed(attacked: Sequence[Attacked]) -> Guard:
    claimed = [item for item in attacked if item.row["claimed"]]
    denied = sum(
        item.row["correct"] if item.attack.targeted == "no" else not item.row["target_hit"]
        for item in claimed
    )
    return Guard(
        name="successes_confirmed",
        passed=denied <= RESCORE_LIMIT * max(len(claimed), 1),
        value=denied / max(len(claimed), 1),
        limit=RESCORE_LIMIT,
        detail=f"{denied} of {len(claimed)} claimed successes were denied by a fresh forward pass",
    )


def _bounded_by_clean(attacked: Sequence[Attacked]) -> Guard:
    restored = sum(item.row["correct"] and not item.record.values["clean_correct"] for item in attacked)
    return Guard.none_found(
        "clean_errors_stay_errors",
        restored,
        "outcomes that count as robust though the image was misclassified before any attack: both "
        "denominators, all images and the correct ones, then have the same numerator",
    )


def _proofs_hold(spec: AdversarialSpec, records: Sequence[Record]) -> Guard:
    proved = [record for record in records if record.values["certified"] is not None]
    broken = sum(
        record.values["certified"]["holds"][str(eps)] and not _row(record, attack, eps)["correct"]
        for record in proved for attack in spec.attacks for eps in spec.radii
    )  # fmt: skip
    how = proved[0].values["certified"]["proof"] if proved else "none: the network has layers without bounds"
    return Guard.none_found(
        "proofs_hold", broken, f"outcomes in which an attack broke what is proved (proof: {how})"
    )


def _row(record: Record, attack: AttackSpec, eps: Fraction) -> Row:
    row: Row = record.values["attacks"][attack.series][str(eps)]
    return row


def _standing(records: Sequence[Record], attack: AttackSpec, eps: Fraction) -> set[str]:
    return {record.unit_id for record in records if _row(record, attack, eps)["correct"]}


def _all(records: Sequence[Record], holds: Callable[[Row], bool]) -> int:
    return int(bool(records) and all(holds(record.values["checks"]) for record in records))


def _largest(records: Sequence[Record], check: str, limit: float, detail: str) -> Guard:
    value = max((record.values["checks"][check] for record in records), default=0.0)
    return Guard(
        name=f"{check.removesuffix('_difference')}_agrees",
        passed=value <= limit,
        value=value,
        limit=limit,
        detail=f"largest difference, as a share of the largest logit, between {detail}",
    )
