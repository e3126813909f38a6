"""What becomes of AutoAttack's list on a network of few classes. Without torch.

Its DLR loss divides by the gap to the third logit, towards a target by that to the third and fourth, and its targeted
attacks aim at nine wrong classes. The original warns where a network has fewer, and then fails; here the margin, the
same difference undivided, is climbed, and every wrong class there is is aimed at.
"""

from collections.abc import Iterator

from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec


def fitted(spec: AdversarialSpec, classes: int) -> AdversarialSpec:
    """The spec as it is run on a network of so many classes; one without a protocol stays as it is."""
    if spec.protocol is None:
        return spec
    return spec.model_copy(update={"attacks": tuple(_fitted(attack, classes) for attack in spec.attacks)})


def changes(spec: AdversarialSpec, classes: int) -> Iterator[str]:
    """What :func:`fitted` changes, a phrase an attack."""
    for asked, run in zip(spec.attacks, fitted(spec, classes).attacks, strict=True):
        if run.loss != asked.loss:
            yield f"{asked.series} climbs the {run.loss} instead of {asked.loss}"
        if run.restarts != asked.restarts:
            yield f"{asked.series} aims at {run.restarts} wrong classes instead of {asked.restarts}"


def _fitted(attack: AttackSpec, classes: int) -> AttackSpec:
    aims = attack.aims_at_runners_up
    short = attack.loss == "dlr" and classes < (4 if aims else 3)
    return attack.model_copy(
        update={
            "loss": "margin" if short else attack.loss,
            "restarts": min(attack.restarts, classes - 1) if aims else attack.restarts,
        }
    )
