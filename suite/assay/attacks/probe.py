"""Second looks at images that an attack left standing: is the model robust, or is the attack blind?"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.attacks.settings import AttackSettings


def black_box_probe(images: AttackedImages, eps: Fraction | float, *, queries: int = 100) -> AttackResult:
    """A short random search (Square) that needs no gradients.

    An image that it breaks, and a gradient attack does not, shows that the gradients mislead (Athalye et
    al. 2018).

    Args:
        images: Those that stood.
        eps: Radius.
        queries: Forward passes per image, at most.
    """
    return run_attack(attack_of("square", steps=queries, loss="margin"), images, eps)


def retry_blind(
    attack: AttackSettings, images: AttackedImages, eps: Fraction | float, first: AttackResult
) -> AttackResult:
    """Attack again, on the logit margin, the images that stood where the loss had no gradient.

    The cross-entropy of logits scaled by 1e5 has gradient zero in float32; their margin does not.

    Args:
        attack: The attack of `first`.
        images: The images of `first`.
        eps: The radius of `first`.
        first: The outcome to mend.

    Returns:
        The mended outcome: `retried` says where the margin was climbed, and `zero_gradient` there is the margin's.
    """
    blind = first.zero_gradient & ~first.success
    if attack.loss == "margin" or not bool(blind.any()):
        return first
    rows = blind.nonzero().squeeze(1)
    again = run_attack(attack.model_copy(update={"loss": "margin"}), images.select(rows), eps)
    seen = first.zero_gradient.index_copy(0, rows, again.zero_gradient)
    return replace(first.merged(rows, again), zero_gradient=seen, retried=blind)
