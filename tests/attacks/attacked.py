"""An attack with its arguments one by one, as tests like to vary them."""

from collections.abc import Sequence

from torch import Tensor

from assay.attacks.observe import Model
from assay.attacks.run import AttackJob, run_job
from assay.attacks.settings import AttackResult, AttackSettings


def run_attack(
    method: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    settings: AttackSettings,
    seeds: Tensor | Sequence[int],
    **options: object,
) -> AttackResult:
    return run_job(AttackJob(method, model, images, labels, seeds, **options), settings)
