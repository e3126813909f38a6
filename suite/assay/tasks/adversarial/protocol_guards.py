"""What the authors of AutoAttack warn of, looked for where a spec names their protocol. Without torch."""

from collections.abc import Iterator
from itertools import pairwise

from assay.results.document import Guard
from assay.tasks.adversarial.records import Outcomes
from assay.tasks.adversarial.spec import AdversarialSpec

SQUARE_LIMIT = 0.002  # AutoAttack's: what Square may take off the accuracy that gradients left


def protocol_guards(spec: AdversarialSpec, outcomes: Outcomes) -> Iterator[Guard]:
    """What AutoAttack's authors warn of beyond what is looked for in every run."""
    if any(attack.method == "square" for attack in spec.attacks):
        yield _square_breaks_little(spec, outcomes)
    yield _no_dynamic_defence(outcomes)
    yield _fits_classes(spec, outcomes)


def _no_dynamic_defence(outcomes: Outcomes) -> Guard:
    """Records without it are older than the check, which is no pass; the others say whether it was found."""
    seen = [record.values["checks"].get("dynamic") for record in outcomes.records]
    unseen = seen.count(None)
    if unseen:
        return Guard(
            name="no_dynamic_defence",
            passed=False,
            detail=f"not looked at in {unseen} of {len(seen)} records, which were made before this was looked for: "
            "whether the network changes with what it is asked is unknown; run the job again in a new folder",
        )
    return Guard.none_found(
        "no_dynamic_defence",
        sum(map(bool, seen)),
        "images that the network answered otherwise after the attacks than before, or for which it ran a backward pass "
        "of its own; AutoAttack does not adapt to such a defence: attack it in a way of its own",
    )


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
    changed = list(spec.fitting_changes(classes)) if classes is not None else []
    what = "; ".join(changed) or "none"
    return Guard(
        name="protocol_fits_classes",
        passed=True,
        value=len(changed),
        detail=f"what of AutoAttack's list was changed for a network of {classes} classes: {what}",
    )
