"""Second looks at images that an attack left standing: is the model robust, or is the attack blind?"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from assay.attacks.run import AttackJob, merge, run_job
from assay.attacks.settings import AttackResult, AttackSettings, Norm


def black_box_probe(
    job: AttackJob, eps: float, norm: Norm, *, queries: int = 100, top_k: int = 1
) -> AttackResult:
    """A short random search (Square, whatever the job's method) that needs no gradients.

    An image that it breaks, and a gradient attack does not, shows that the gradients mislead (Athalye et
    al. 2018).

    Args:
        job: The images that stood.
        eps: Radius.
        norm: The ball's norm.
        queries: Forward passes an image, at most.
        top_k: An image falls when its label leaves the k highest logits.
    """
    asked = AttackSettings(eps=eps, norm=norm, steps=queries, loss="margin", top_k=top_k)
    return run_job(replace(job, method="square"), asked)


def retry_blind(job: AttackJob, settings: AttackSettings, first: AttackResult) -> tuple[AttackResult, Tensor]:
    """Attack again, on the logit margin, the images that stood where the loss had no gradient.

    The cross-entropy of logits scaled by 1e5 has gradient zero in float32, and their margin has not.

    Args:
        job: The job of `first`.
        settings: The settings of `first`.
        first: The outcome to mend.

    Returns:
        The mended outcome, whose `zero_gradient` is the margin's where it was climbed; and (N,) bool: where it was.
    """
    blind = first.zero_gradient & ~first.success
    if settings.loss == "margin" or not bool(blind.any()):
        return first, torch.zeros_like(blind)
    rows = blind.nonzero().squeeze(1)
    again = run_job(job.select(rows), replace(settings, loss="margin"))
    mended = merge(first, rows, again)
    seen = first.zero_gradient.index_copy(0, rows, again.zero_gradient)
    return replace(mended, zero_gradient=seen), blind
