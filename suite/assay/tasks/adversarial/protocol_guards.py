"""What AutoAttack's authors warn of beyond what is looked for in every run. Without torch.

Their other warnings are guards of every run: of a randomised defence ``repeat_agrees``, of gradients that are zero
``gradient_not_zero``, of probabilities ``no_probabilities``.
"""

from collections.abc import Iterator
from itertools import pairwise

from assay.results.document import Guard
from assay.tasks.adversarial.few_classes import changes
from assay.tasks.adversarial.outcomes import Outcomes
from assay.tasks.adversarial.spec import AdversarialSpec

SQUARE_LIMIT = 0.002  # AutoAttack's: what Square may take off the accuracy that gradients left


def protocol_guards(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Guard]:
    """The guards of a spec that names a protocol."""
    if any(attack.method == "square" for attack in spec.attacks):
        yield _square_breaks_little(spec, outcomes)
    yield _fits_classes(spec, outcomes)


def _square_breaks_little(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    """A search without gradients that beats all attacks with them shows a defence that hides its gradient."""
    share, images, count = 0.0, 0, max(len(outcomes.records), 1)
    for before, attack in pairwise(spec.attacks):
        for eps in spec.radii if attack.method == "square" else ():
            took = sum(outcomes.correct(before, eps)) - sum(outcomes.correct(attack, eps))
            share, images = max(share, took / count), images + took
    limit = max(SQUARE_LIMIT, 1 / count)
    return Guard(
        name="square_breaks_little",
        passed=share <= limit,
        value=share,
        limit=limit,
        detail="largest share of images that fell to Square, which needs no gradient, after all attacks before it; "
        f"{images} outcomes. More than {SQUARE_LIMIT:.1%}, or one image, speaks of a defence that hides its gradient: "
        "give Square more steps, or attack it in a way of its own",
    )


def _fits_classes(spec: AdversarialSpec, outcomes: Outcomes) -> Guard:
    """Not a fault, but something to say: the list is another one on a network of few classes."""
    classes = outcomes.records[0].values["classes"] if outcomes.records else None
    changed = list(changes(spec, classes)) if classes is not None else []
    what = "; ".join(changed) or "none"
    return Guard(
        name="protocol_fits_classes",
        passed=True,
        value=len(changed),
        detail=f"what of AutoAttack's list was changed for a network of {classes} classes: {what}",
    )
