"""What speaks against the records of a submission: a short attack of our own, and images that somebody else found.

A forger of records can make pictures that the network gets right. What they cannot make is a network that withstands an
attack it does not withstand. So the spot check attacks some images that stand by the records, in the same ball.

A challenge sends images. They are held against the ball and the network in a fresh pass; no attack is run for them.
"""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages
from assay.attacks.losses import in_top
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.attacks.settings import AttackSettings
from assay.common.balls import BALLS
from assay.common.errors import UserError
from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.results.tables import in_255ths
from assay.tasks.adversarial.demands import attacked_in_a_pass
from assay.tasks.adversarial.saved import answered, claims_to_stand, own_network, own_pictures
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import TOLERANCE, outcome
from assay.tasks.base import Record
from assay.tasks.shared.named_images import named_images
from assay.tasks.witness import SentRecords, SpotFinding

LOOKS = (20, 40, 80)  # images; a further look is taken only where some of those before fell
BY_LUCK = {0: 1, 20: 2, 60: 3, 140: 5}
"""From so many images on, how many may fall to our attack though an honest one left them standing.

An attack that starts elsewhere finds a little more: of each hundred, one or two where most images are about to fall.
"""
STEPS = 20
_BATCH = 16
WAY = 2.5  # radii that the steps measure in all (Madry et al. 2018)


class StandingClaim(NamedTuple):
    """The number of a record, and a radius at which it claims that its image stands."""

    row: int
    eps: Fraction


class Tried(NamedTuple):
    """The units among some claims that our attack broke; and those that stood it, but showed it no gradient."""

    broken: list[str]
    blind: list[str]


def comparable(spec: AdversarialSpec) -> tuple[AttackSettings, ...]:
    """The spec's attacks that ours may be compared with: those that climb this model's own gradient.

    Where there are iterated ones, those alone; a single step is weaker than any.
    """
    white = [attack for attack in spec.attacks if attack.white_box]
    return tuple(attack for attack in white if not attack.single_step) or tuple(white)


def spot_check(sent: SentRecords[AdversarialSpec], rank_by: str, seed: str) -> SpotFinding | None:
    """Attack some of the images where they are said to stand; None where no attack of ours is comparable.

    Nothing is comparable for an exact curve either: its distances are finer than its radii.

    Raises:
        UserError: another network or other data than the submission's.
    """
    if not comparable(sent.spec) or sent.spec.curve == "exact":
        return None
    named = named_radius(sent.spec, rank_by)
    claims = drawn(sent.spec.radii, standing(sent), named, random.Random(seed))
    broken: list[str] = []
    blind: list[str] = []
    looked = 0
    for count in LOOKS:
        found = tried(sent, claims[looked : looked + count], seed)
        broken += found.broken
        blind += found.blind
        looked = min(looked + count, len(claims))
        odd = len(broken) + len(blind)
        if not odd or too_many(odd, looked):
            break
    where = f"radii up to {sent.spec.radii[-1]}" if named is None else str(named)
    return SpotFinding(where, looked, tuple(broken), tuple(blind), contradicts=too_many(odd, looked))


def too_many(broken: int, looked: int) -> bool:
    """Whether more of the images that were looked at fell than luck explains."""
    return broken > BY_LUCK[max(least for least in BY_LUCK if least <= looked)]


def named_radius(spec: AdversarialSpec, rank_by: str) -> Fraction | None:
    """The radius that a ranking metric such as ``worst:robust_accuracy@4/255`` speaks of; None for one of all radii."""
    if rank_by.endswith("stands_at_largest"):
        return spec.radii[-1]
    return next(
        (eps for eps in spec.radii if eps > 0 and in_255ths(str(eps)) == rank_by.rpartition("@")[2]), None
    )


def standing(sent: SentRecords[AdversarialSpec]) -> list[tuple[Fraction, ...]]:
    """Per record, the radii at which its image is claimed to stand the attacks that ours compares with."""
    rivals = comparable(sent.spec)

    def stands(record: Record, eps: Fraction) -> bool:
        return all(claims_to_stand(record, attack, eps) for attack in rivals)

    return [
        tuple(eps for eps in sent.spec.radii if eps > 0 and stands(record, eps)) for record in sent.records
    ]


def drawn(
    radii: Sequence[Fraction],
    stands: Sequence[Sequence[Fraction]],
    named: Fraction | None,
    generator: random.Random,
) -> list[StandingClaim]:
    """Claims in the order they are tried, one per image.

    Where a radius is ``named``, each image claimed to stand there counts the same. A mean over radii names none. Then
    each image is drawn by what it adds to that mean, and its radius by what standing there adds. So a claim is drawn as
    often as the figure rests on it: if a mean is a tenth too high, one drawn claim in ten is false.

    Args:
        radii: of the task, smallest first.
        stands: of each record, the radii at which its image is claimed to stand.
        named: the radius that the ranking figure speaks of.
        generator: decides.
    """
    asked = [eps for eps in radii if eps > 0] if named is None else [named]
    steps = [float(eps - before) for before, eps in pairwise([Fraction(0), *asked])]
    order: list[tuple[float, StandingClaim]] = []
    for row, stood in enumerate(stands):
        counted = list(takewhile(stood.__contains__, asked))  # a mean radius ends where an image first falls
        weights = steps[: len(counted)]
        if counted:
            (eps,) = generator.choices(counted, weights)
            # The first of exponential clocks rings by its rate: a draw by weight, without putting back.
            order.append((-math.log(1 - generator.random()) / sum(weights), StandingClaim(row, eps)))
    return [claim for _, claim in sorted(order)]


def tried(sent: SentRecords[AdversarialSpec], claims: Sequence[StandingClaim], seed: str) -> Tried:
    """Attack images where they are said to stand, judged by a fresh pass.

    Records say of each attack whether it saw a gradient, and a guard refuses a submission where more than a few did
    not. So an image that showed one by its record, and shows ours none, contradicts its record.

    Raises:
        UserError: another network or other data than the submission's.
    """
    found = Tried([], [])
    if not claims:
        return found
    model, data = own_network(sent.network), own_pictures(sent)
    for eps in sorted({claim.eps for claim in claims}):
        rows = [claim.row for claim in claims if claim.eps == eps]
        images = torch.stack([model.prepare(data.image(data.samples[row])) for row in rows])
        labels = torch.tensor([sent.records[row].values["label"] for row in rows])
        attacked = AttackedImages.of(
            model.module,
            images,
            labels,
            [random.Random(f"{seed}{row}").getrandbits(62) for row in rows],
            norm=sent.spec.norm,
            top_k=sent.spec.top_k,
            batch_size=attacked_in_a_pass(model.info.input_shape, "cpu"),
        )
        rivals = comparable(sent.spec)
        result = run_attack(_attack(rivals, eps), attacked, eps)
        stands = _stands(model, result.images, labels, sent.spec.top_k, attacked.batch_size)
        for row, right, unseen in zip(rows, stands, result.zero_gradient.tolist(), strict=True):
            record = sent.records[row]
            if not right:
                found.broken.append(record.unit_id)
            elif unseen and not any(
                outcome(record, attack.series, eps)["zero_gradient"] for attack in rivals
            ):
                found.blind.append(record.unit_id)
    return found


@torch.no_grad()
def _stands(
    model: LoadedModel, images: torch.Tensor, labels: torch.Tensor, top_k: int, batch_size: int
) -> list[bool]:
    logits = torch.cat([model.module(batch) for batch in torch.split(images, batch_size)])
    stands: list[bool] = in_top(logits, labels, top_k).tolist()
    return stands


def _attack(rivals: Sequence[AttackSettings], eps: Fraction) -> AttackSettings:
    """PGD with few steps, at most as many as the spec's own attacks; one step where they take one.

    Its steps are long enough to cross the ball, also where the spec's are not: forty short steps cross it, twenty of
    their length do not. It climbs the margin, which has no scale: large logits leave the cross-entropy without a slope.
    """
    if all(attack.single_step for attack in rivals):
        return attack_of("fgsm", loss="margin")
    steps = min(STEPS, max(attack.step_count for attack in rivals))
    return attack_of("pgd", steps=steps, step_size=WAY * float(eps) / steps, loss="margin")


def distances(sent: SentRecords[AdversarialSpec]) -> dict[str, float]:
    """The distance of each image that was sent, by its unit, every one of them adversarial by a fresh pass.

    ``sent.files`` is what :func:`assay.tasks.shared.named_images.named_images` reads.

    Raises:
        UserError: an image has no unit or another shape, is not finite, lies out of [0, 1] or the largest ball, or is
            not adversarial; its unit is wrong without it; or network or data differ.
    """
    given = named_images(sent.files)
    model, data = own_network(sent.network), own_pictures(sent)
    rows = {record.unit_id: row for row, record in enumerate(sent.records)}
    labels = torch.tensor([record.values["label"] for record in sent.records])
    found: dict[str, float] = {}
    names = list(given)
    for first in range(0, len(names), _BATCH):
        part = names[first : first + _BATCH]
        for name in part:
            if name not in rows:
                raise _refused(name, "is no unit of the records", "name each image as its unit")
        clean = torch.stack([model.prepare(data.image(data.samples[rows[name]])) for name in part])
        images = torch.stack([_fitting(name, given[name], clean[0].shape) for name in part])
        lengths = BALLS[sent.spec.norm].length(images - clean).tolist()
        stays, wrong = _answers(model.module, images, clean, labels[[rows[name] for name in part]], sent.spec)
        for name, length, right, before in zip(part, lengths, stays, wrong, strict=True):
            if before:
                raise _refused(name, "is misclassified without any change", "leave it out")
            # Written so that a NaN is refused too.
            if not length <= float(sent.spec.radii[-1]) + TOLERANCE:
                limit = f"the largest ball has the radius {sent.spec.radii[-1]} ({sent.spec.norm})"
                raise _refused(name, f"lies {length:.6g} from the data set's own picture", limit)
            if right:
                raise _refused(
                    name, "is answered as labelled by the network", "send adversarial images alone"
                )
            found[name] = length
    return found


def _answers(
    module: torch.nn.Module, images: Tensor, clean: Tensor, labels: Tensor, spec: AdversarialSpec
) -> tuple[list[bool], list[bool]]:
    """For each image: whether it is answered as labelled, and whether the clean one is not."""
    with torch.no_grad():
        logits, before = module(images), module(clean)
    for each in (logits, before):
        check_logits(each, each.shape[1])
    return answered(logits, labels, spec.top_k).tolist(), (~answered(before, labels, spec.top_k)).tolist()


def _refused(name: str, what: str, mend: str) -> UserError:
    return UserError(f"challenge: image {name!r} {what}; {mend}")


def _fitting(name: str, image: Tensor, shape: torch.Size) -> Tensor:
    """The image (C, H, W) float32, found to be one that the network takes."""
    if image.shape != shape:
        raise _refused(name, f"has the shape {tuple(image.shape)}", f"the network takes {tuple(shape)}")
    if not bool(torch.isfinite(image).all()) or float(image.min()) < 0 or float(image.max()) > 1:
        raise _refused(name, "has pixels that are not in [0, 1]", "send what the network will see")
    return image
