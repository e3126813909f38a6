"""Second looks at images that an attack left standing: is the model robust, or is the attack blind?"""

from __future__ import annotations

from dataclasses import replace

from assay.attacks import randomness
from assay.attacks.run import Job, run_job
from assay.attacks.settings import AttackResult, AttackSettings, Norm


def black_box_probe(job: Job, eps: float, norm: Norm, *, queries: int = 100) -> AttackResult:
    """A short random search (Square, whatever the job's method) that needs no gradients.

    An image that it breaks, and a gradient attack does not, shows that the gradients mislead (Athalye et
    al. 2018).

    Args:
        job: The images that stood.
        eps: Radius.
        norm: The ball's norm.
        queries: Forward passes an image, at most.
    """
    asked = AttackSettings(eps=eps, norm=norm, steps=queries, loss="margin")
    return run_job(replace(job, method="square"), asked)


def retry_blind(job: Job, settings: AttackSettings, first: AttackResult) -> AttackResult:
    """Attack again, on the logit margin, the images that stood where the loss had no gradient.

    The cross-entropy of logits scaled by 1e5 has gradient zero in float32, and their margin has not. In
    the result `zero_gradient` is that of `first`: such an image is to be marked even where the retry
    succeeds.

    Args:
        job: The job of `first`.
        settings: The settings of `first`.
        first: The outcome to mend.
    """
    rows = (first.zero_gradient & ~first.success).nonzero().squeeze(1)
    if not len(rows):
        return first
    seeds = randomness.as_seeds(job.seeds, job.images.device)[rows]
    targets = None if job.targets is None else job.targets[rows]
    blind = replace(job, images=job.images[rows], labels=job.labels[rows], seeds=seeds, targets=targets)
    again = run_job(blind, replace(settings, loss="margin"))
    return AttackResult(
        images=first.images.index_copy(0, rows, again.images),
        success=first.success.index_copy(0, rows, again.success),
        steps_used=first.steps_used.index_add(0, rows, again.steps_used),
        zero_gradient=first.zero_gradient,
    )
