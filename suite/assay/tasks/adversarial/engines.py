"""One attack on some images of a block: by our own loops, by foolbox's, or on another model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assay.attacks.ensemble import at_size
from assay.attacks.nearest import nearest
from assay.attacks.observe import Model
from assay.attacks.probe import retry_blind
from assay.attacks.run import AttackJob, least_likely_targets, run_job
from assay.attacks.settings import AttackResult, AttackSettings
from assay.tasks.adversarial.block import Block
from assay.tasks.adversarial.sources import source_model
from assay.tasks.adversarial.spec import AttackSpec


@dataclass(frozen=True)
class Found:
    """An attack's outcome on n images; ``retried`` (n,) bool: its loss was flat, so the margin was climbed."""

    result: AttackResult
    retried: Tensor


def attack_job(
    attack: AttackSpec, block: Block, rows: Tensor, seeds: Sequence[int], targets: Tensor | None
) -> AttackJob:
    """What is attacked: some rows of the block, a seed for each; ``targets`` (N,) are those of all rows."""
    return AttackJob(
        method=attack.method,
        model=_attacked_model(attack, block),
        images=block.images[rows],
        labels=block.labels[rows],
        seeds=seeds,
        targets=None if targets is None else targets[rows],
        batch_size=block.batch_size,
    )


def run_engine(attack: AttackSpec, job: AttackJob, settings: AttackSettings) -> Found:
    """The attack at one radius; where the loss was flat the image is attacked again with the logit margin."""
    nothing = torch.zeros(len(job.images), dtype=torch.bool, device=job.images.device)
    if attack.only_foolbox_has:
        return Found(_foreign(attack, job, settings.eps), nothing)
    if attack.backend == "foolbox":
        from assay.attacks.foolbox_backend import run_with_foolbox

        return Found(run_with_foolbox(job, settings), nothing)
    return Found(*retry_blind(job, settings, run_job(job, settings)))


def minimal_distances(attack: AttackSpec, job: AttackJob, settings: AttackSettings) -> AttackResult | None:
    """The nearest adversarial images by an attack that looks for them; None for one that needs a radius.

    The radius of ``settings`` is only where random restarts begin.
    """
    if not attack.only_foolbox_has:
        return nearest(job, settings) if attack.leaves_ball and attack.backend == "assay" else None
    from assay.attacks.foolbox_backend import needs_radius

    return None if needs_radius(attack.method, attack.options) else _foreign(attack, job, None)


def _foreign(attack: AttackSpec, job: AttackJob, eps: float | None) -> AttackResult:
    """Foolbox's randomness is not per image: so that no image depends on its batch, each is attacked alone."""
    from assay.attacks.foolbox_backend import run_named

    images, success = job.images.clone(), []
    for row in range(len(images)):
        alone = replace(job.select(torch.tensor([row])), batch_size=1)
        found, fell = run_named(attack.method, attack.options, alone, eps, seed=int(alone.seeds[0]))
        success.append(bool(fell[0]))
        if success[-1]:
            images[row] = found[0]
    done = torch.tensor(success, dtype=torch.bool, device=images.device)
    return AttackResult(images, done, torch.zeros_like(done, dtype=torch.int64), torch.zeros_like(done))


def _attacked_model(attack: AttackSpec, block: Block) -> Model:
    if attack.transfer_from is None:
        return block.model.module
    source = source_model(attack.transfer_from, str(block.images.device))
    return at_size(source.module, *source.info.preprocessing.crop)


_TARGETS: dict[str, Callable[[Block], Tensor | None]] = {
    "no": lambda _block: None,
    "least_likely": lambda block: least_likely_targets(
        block.model.module, block.images, block.labels, block.batch_size
    ),
    "dataset": lambda block: block.targets,
}


def targets_of(attack: AttackSpec, block: Block) -> Tensor | None:
    """(N,) int64: the classes that the attack aims at, or None."""
    return _TARGETS[attack.targeted](block)
