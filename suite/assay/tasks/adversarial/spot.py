"""A spot check of what a submission says withstands: a short attack of our own on a few of those images.

Whoever forges records can make pictures that the network gets right. What they cannot make is a network that withstands
an attack it does not withstand. So some images that stand by the records are attacked here, in the same ball.
"""

import random
from collections.abc import Sequence
from fractions import Fraction

import torch

from assay.attacks.images import AttackedImages
from assay.attacks.losses import in_top
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.attacks.settings import AttackSettings
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.demands import attacked_in_a_pass
from assay.tasks.adversarial.saved import claims_to_stand, own_network, own_pictures
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.witness import SentRecords, SpotFinding

FIRST, SECOND = 20, 40  # images; the second look is taken only where one of the first falls
MOST_BY_LUCK = 1  # of them may fall to our attack though an honest one left them standing
STEPS = 20
WAY = 2.5  # radii that the steps measure in all (Madry et al. 2018)


def comparable(spec: AdversarialSpec) -> tuple[AttackSettings, ...]:
    """The spec's attacks that ours may be held against: those that climb the very model's gradient.

    Where there are iterated ones, those alone; a single step is weaker than any.
    """
    white = [attack for attack in spec.attacks if attack.white_box]
    return tuple(attack for attack in white if not attack.single_step) or tuple(white)


def spot_check(sent: SentRecords[AdversarialSpec], rank_by: str, seed: str) -> SpotFinding | None:
    """Attack some of the images that are said to stand at a radius; None where no attack is comparable.

    Raises:
        UserError: another network or other data than the submission's.
    """
    rivals = comparable(sent.spec)
    if not rivals:
        return None
    eps, standing = _tried(sent, rivals, rank_by, seed)
    order = random.Random(seed).sample(standing, len(standing))
    broken: list[str] = []
    looked = 0
    for count in (FIRST, SECOND):
        rows = order[looked : looked + count]
        broken += _broken(sent, rivals, eps, rows, seed) if rows else []
        looked += len(rows)
        if len(broken) != MOST_BY_LUCK:
            break
    return SpotFinding(str(eps), looked, tuple(broken), contradicts=len(broken) > MOST_BY_LUCK)


def _tried(
    sent: SentRecords[AdversarialSpec], rivals: Sequence[AttackSettings], rank_by: str, seed: str
) -> tuple[Fraction, list[int]]:
    """The radius that is tried, and the numbers of the records whose image is said to stand there.

    A ranking metric such as ``worst:robust_accuracy@4/255`` names it. A mean over radii names none: then the seed draws
    one, among those where enough images are said to stand.
    """
    standing = {
        eps: [
            row
            for row, record in enumerate(sent.records)
            if all(claims_to_stand(record, attack, eps) for attack in rivals)
        ]
        for eps in sent.spec.radii
        if eps > 0
    }
    named = [eps for eps in standing if str(eps) == rank_by.rpartition("@")[2]]
    enough = min(FIRST, max(map(len, standing.values())))
    possible = named or [eps for eps, rows in standing.items() if len(rows) >= enough]
    eps = random.Random(f"{seed} radius").choice(possible)
    return eps, standing[eps]


def _broken(
    sent: SentRecords[AdversarialSpec],
    rivals: Sequence[AttackSettings],
    eps: Fraction,
    rows: Sequence[int],
    seed: str,
) -> list[str]:
    """The units among ``rows`` that our attack breaks, judged by a fresh pass."""
    model, data = own_network(sent.network), own_pictures(sent)
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
    found = run_attack(_attack(rivals, eps), attacked, eps)
    stands = _stands(model, found.images, labels, sent.spec.top_k, attacked.batch_size)
    return [sent.records[row].unit_id for row, right in zip(rows, stands, strict=True) if not right]


@torch.no_grad()
def _stands(
    model: LoadedModel, images: torch.Tensor, labels: torch.Tensor, top_k: int, batch_size: int
) -> list[bool]:
    logits = torch.cat([model.module(batch) for batch in torch.split(images, batch_size)])
    stands: list[bool] = in_top(logits, labels, top_k).tolist()
    return stands


def _attack(rivals: Sequence[AttackSettings], eps: Fraction) -> AttackSettings:
    """PGD with few steps of the length that the spec's own longest attack takes; one step where the spec takes one."""
    if all(attack.single_step for attack in rivals):
        return attack_of("fgsm")
    longest = max(rivals, key=lambda attack: (attack.method == "pgd", attack.step_count))
    steps = min(STEPS, longest.step_count)
    step_size = WAY * float(eps) / steps if longest.step_size is None else longest.step_at(eps)
    return attack_of("pgd", steps=steps, step_size=step_size)
