"""The known ways for an accuracy under attack to be wrong; every run looks for each. Without torch.

An image with NaN or infinite logits never gets here: its record is an error, and the result is partial.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import compress, pairwise
from operator import ne
from statistics import fmean

from assay.results.document import Guard
from assay.tasks.adversarial.protocol_guards import protocol_guards
from assay.tasks.adversarial.records import Outcomes, Row, proved
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Record
from assay.tasks.shared.own_answers import labels_are_answers

BALL_TOLERANCE = 1e-6  # pixel units; what float32 arithmetic may add to a projection
REPEAT_TOLERANCE = 1e-4  # of the largest logit; two passes over the same images
ALONE_TOLERANCE = 1e-3  # of the largest logit; batched kernels sum in another order
RESCORE_LIMIT = 0.01  # share of claimed successes that a fresh pass may deny (images on the very boundary)
DENIED_BY_CHANCE = 0.5  # the same where the network is random: what errs on average may be right once
CHANCE_LIMIT = 0.05  # share of images where one attack may beat a better one by luck
PROBE_LIMIT = 0.02  # share of images that a blind search may break where gradient attacks could not
LEAST_CERTAINTY = (
    0.1  # of the clean accuracy; of twelve published networks one lies at .13, all others above .5
)
MOST_BLIND = 0.01  # share of images that may stand an attack which saw no gradient at some step
RISE_LIMIT = 0.02  # how much an accuracy may rise from one radius to the next, for the same reason

OF_ATTACKS_ALONE = frozenset(
    {
        "inside_the_ball", "loss_not_flat", "loss_not_saturated", "gradient_not_zero", "accuracy_falls_with_eps",
        "iterated_beats_single_step", "black_box_does_not_win", "clean_errors_stay_errors",
        "square_breaks_little", "protocol_fits_classes",
    }
)  # fmt: skip
"""What these look for makes an attack weak or wrong; clean accuracy is not affected."""


def casts_doubt(guard: str, metric: str) -> bool:
    """Whether a guard's failure speaks against a metric of the same result, both by name."""
    return metric != "clean_accuracy" or guard not in OF_ATTACKS_ALONE


def all_guards(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Guard]:
    """Every guard with its figure, whether it found something or not."""
    yield from _perturbation_guards(spec, outcomes)
    yield from _model_guards(spec, outcomes.records)
    yield from _gradient_guards(outcomes)
    yield from _loss_not_flat(spec, outcomes)
    yield from _strength_guards(spec, outcomes)
    yield _confirmed(spec, outcomes)
    yield _bounded_by_clean(spec, outcomes)
    if spec.predicted:
        yield labels_are_answers("clean_accuracy_plausible and clean accuracy")
    if spec.proves:
        yield _proofs_hold(spec, outcomes)
    if spec.protocol is not None:
        yield from protocol_guards(spec, outcomes)


def _perturbation_guards(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Guard]:
    records = outcomes.records
    at_zero = [fields for _, eps, fields in outcomes.fields if eps == 0]
    wrong = sum(len(records) - fields.distance.count(0) for fields in at_zero)
    if not spec.expects_randomness:
        clean = [record.values["predicted"] for record in records]
        wrong += sum(sum(map(ne, fields.predicted, clean)) for fields in at_zero)
    yield Guard.none_found(
        "eps_zero_is_clean", wrong, f"{len(at_zero) * len(records)} outcomes at eps 0 equal the clean ones"
    )
    largest = (max(fields.distance) - float(eps) for _, eps, fields in outcomes.fields if records)
    excess = max(largest, default=0.0)
    yield Guard(
        name="inside_the_ball",
        passed=excess <= BALL_TOLERANCE,
        value=excess,
        limit=BALL_TOLERANCE,
        detail=f"largest excess of the {spec.norm} distance over eps, which is a fraction and exact",
    )
    outside = sum(len(records) - sum(fields.in_box) for _, _, fields in outcomes.fields)
    outside += sum(not record.values["checks"]["in_box"] for record in records)
    yield Guard.none_found(
        "inside_the_pixel_range",
        outside,
        "clean and adversarial images with a pixel outside [0, 1], before the model's own mean and std",
    )


def _model_guards(spec: AdversarialSpec, records: Sequence[Record]) -> Iterator[Guard]:
    yield Guard.none_found(
        "no_probabilities",
        _all(records, lambda checks: checks["probabilities"]),
        "1 when every row of the model's output is a probability distribution instead of logits",
    )
    advice = "; use `version: rand`" if spec.protocol is not None else ""
    repeat = _largest(
        records,
        "repeat_difference",
        REPEAT_TOLERANCE,
        "two clean passes over the same images; a model that is random at test time needs attacks on the "
        f"expectation over its randomness (EOT), which these are not{advice}",
    )
    alone = _largest(records, "alone_difference", ALONE_TOLERANCE, "an image scored alone and in its batch")
    yield from map(_expected, (repeat, alone)) if spec.expects_randomness else (repeat, alone)


def _expected(guard: Guard) -> Guard:
    """The guard without a limit, where the attacks average over the network's randomness."""
    detail = f"largest difference, as a share of the largest logit, between passes ({guard.name}); of a random network "
    return Guard(
        name=guard.name, passed=True, value=guard.value, detail=f"{detail}that is no fault: attacks average"
    )


def _gradient_guards(outcomes: Outcomes) -> Iterator[Guard]:
    yield Guard.none_found(
        "loss_not_saturated",
        sum(sum(fields.retried) for _, _, fields in outcomes.fields),
        "outcomes where the loss had a gradient of exactly zero, attacked again with the logit margin",
    )
    yield _little_blind(outcomes)


def _loss_not_flat(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Guard]:
    """A network far less sure than it is right has small logits, and then the cross-entropy looks past the rival.

    Dividing logits by enough changes no decision, yet every score becomes the same, and the gradient is all classes' at
    once. Where an attack of the same spec climbs a loss without a scale, the worst of them rests on that one. None for
    records older than this check.
    """
    sure = [
        record.values["certainty"]
        for record in outcomes.records
        if record.values.get("certainty") is not None
    ]
    if not sure or len(sure) < len(outcomes.records):
        return
    certainty, accuracy = fmean(sure), fmean(outcomes.clean)
    climbing = [attack for attack in spec.attacks if attack.climbs_gradient]
    flat = bool(climbing) and all(attack.loss == "cross_entropy" for attack in climbing)
    limit = LEAST_CERTAINTY * accuracy
    yield Guard(
        name="loss_not_flat",
        passed=not flat or certainty >= limit,
        value=certainty,
        limit=limit,
        detail=f"mean certainty (0: all classes alike), against a tenth of the clean accuracy {accuracy:.3g}; "
        + (
            "the attacks climb the cross-entropy alone, which is flat below it: give one `loss: margin`"
            if flat
            else "an attack climbs a loss that has no scale, so that it decides nothing"
        ),
    )


def _little_blind(outcomes: Outcomes) -> Guard:
    """Attacks that saw no gradient, image by image; few of them lie in sound networks too.

    A ReLU network is flat where all units on the way are off, and one step there is no sign of a network that hides
    its gradient. Images that stand for that reason raise a figure by at most their share. So the limit is a share that
    no interval of a figure is narrower than: one image, or one in a hundred.
    """
    count = max(len(outcomes.records), 1)
    share = max((sum(fields.zero_gradient) / count for _, _, fields in outcomes.fields), default=0.0)
    limit = max(MOST_BLIND, 1 / count)
    return Guard(
        name="gradient_not_zero",
        passed=share <= limit,
        value=share,
        limit=limit,
        detail="largest share of images that stood one attack at one eps while even the logit margin had a gradient of "
        "exactly zero at some step; it bounds what a figure can be too high by, so one image or one in a hundred may",
    )


def _strength_guards(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Guard]:
    yield _falls_with_eps(spec, outcomes)
    yield _iterated_beats_single_step(spec, outcomes)
    records = outcomes.records
    probed = [record for record in records if record.values["probe"] is not None]
    broken = sum(bool(record.values["probe"]) for record in probed)
    limit = CHANCE_LIMIT if spec.expects_randomness else PROBE_LIMIT
    yield Guard(
        name="black_box_does_not_win",
        passed=broken <= max(1, limit * len(records)),
        value=broken / max(len(records), 1),
        limit=limit,
        detail=f"share of images that stood every attack at the largest eps, but not a random search of "
        f"{spec.probe_queries} queries: {broken} of the {len(probed)} tried; gradients then mislead",
    )


def _falls_with_eps(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    """Single steps are left out: a longer one may overshoot, and says nothing of the model."""
    rise, images, count = 0.0, 0, max(len(outcomes.records), 1)
    for attack in (attack for attack in spec.attacks if not attack.single_step):
        for low, high in pairwise(spec.radii):
            before, after = outcomes.correct(attack, low), outcomes.correct(attack, high)
            images += sum(stands and not stood for stood, stands in zip(before, after, strict=True))
            rise = max(rise, (sum(after) - sum(before)) / count)
    return Guard(
        name="accuracy_falls_with_eps",
        passed=rise <= max(RISE_LIMIT, 1 / count),
        value=rise,
        limit=RISE_LIMIT,
        detail=f"largest rise of an iterated attack's accuracy from one eps to the next; {images} outcomes in "
        "which an image fell at one eps and stood at the next",
    )


def _iterated_beats_single_step(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    """Image by image: what one step breaks, many steps should break too."""
    comparable = [attack for attack in spec.attacks if attack.white_box]
    single = [attack for attack in comparable if attack.single_step]
    iterated = [attack for attack in comparable if not attack.single_step]
    share, images, count = 0.0, 0, max(len(outcomes.records), 1)
    for eps in spec.radii if single and iterated else ():
        stood_one, stood_many = (
            [all(each) for each in zip(*(outcomes.correct(attack, eps) for attack in attacks), strict=True)]
            for attacks in (single, iterated)
        )
        only_once = sum(many and not one for one, many in zip(stood_one, stood_many, strict=True))
        images += only_once
        share = max(share, only_once / count)
    return Guard(
        name="iterated_beats_single_step",
        passed=share <= max(CHANCE_LIMIT, 1 / count),
        value=share,
        limit=CHANCE_LIMIT,
        detail=f"largest share of images that fell to a single step and to no iterated attack at the same eps; "
        f"{images} such outcomes",
    )


def _confirmed(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    claimed = denied = 0
    for attack, eps, fields in outcomes.fields:
        claimed += sum(fields.claimed)
        if attack.targeted == "no":
            denied += sum(compress(outcomes.correct(attack, eps), fields.claimed))
        else:
            denied += sum(not row["target_hit"] for row in compress(outcomes.of(attack, eps), fields.claimed))
    limit = DENIED_BY_CHANCE if spec.expects_randomness else RESCORE_LIMIT
    return Guard(
        name="successes_confirmed",
        passed=denied <= limit * max(claimed, 1),
        value=denied / max(claimed, 1),
        limit=limit,
        detail=f"{denied} of {claimed} claimed successes were denied by a fresh forward pass",
    )


def _bounded_by_clean(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    wrong = [index for index, record in enumerate(outcomes.records) if not record.values["clean_correct"]]
    restored = sum(
        outcomes.correct(attack, eps)[index]
        for attack in spec.attacks for eps in spec.radii for index in wrong
    )  # fmt: skip
    return Guard.none_found(
        "clean_errors_stay_errors",
        restored,
        "outcomes that count as robust though the image was misclassified before any attack: both "
        "denominators, all images and the correct ones, then have the same numerator",
    )


def _proofs_hold(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    claimed = broken = tried = 0
    for eps in (eps for eps in spec.radii if eps > 0 or spec.proofs is None):
        holds = [proved(record, eps) for record in outcomes.records]
        claimed += sum(holds)
        for attack in spec.attacks:
            broken += sum(not stands for stands in compress(outcomes.correct(attack, eps), holds))
        # What is proved takes no steps, unless the list's first attack tried it to check the proofs.
        first = compress(outcomes.of(spec.attacks[0], eps), holds)
        tried += sum(row["steps"] > 0 or not row["correct"] for row in first)
    known = next(
        (proof for record in outcomes.records if (proof := record.values["certified"]) is not None), None
    )
    how = known["proof"] if known else "none: the network has layers without bounds"
    if spec.proofs is not None:
        how += f"; {tried} of {claimed} proved outcomes, drawn by seed, were attacked all the same"
    return Guard.none_found(
        "proofs_hold", broken, f"outcomes in which an attack broke what is proved (proof: {how})"
    )


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
