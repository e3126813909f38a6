"""Running an attack: the checks, then one pool a start, restarts only for the images that stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assay.attacks.methods import check_settings, find_method
from assay.attacks.observe import Model, checked_logits
from assay.attacks.pool import Plan, run_pool
from assay.attacks.rows import Inputs
from assay.attacks.settings import AttackResult, AttackSettings
from assay.common import randomness
from assay.common.errors import UserError


@dataclass(frozen=True)
class AttackJob:
    """Images under one attack, whatever its settings.

    Attributes:
        method: A name in `methods.METHODS`.
        model: Pixels (n, C, H, W) in [0, 1] to logits (n, K), row by row (a network in eval mode).
        images: (N, C, H, W) floats in [0, 1].
        labels: (N,) int64.
        seeds: N integers; all randomness of an image comes from its own.
        targets: (N,) int64, the classes to reach; the attack is then targeted.
        batch_size: Most images in one pass of the model, N when None. As images fall, waiting ones take their
            places.
    """

    method: str
    model: Model
    images: Tensor
    labels: Tensor
    seeds: Tensor | Sequence[int]
    targets: Tensor | None = None
    batch_size: int | None = None

    def select(self, rows: Tensor) -> AttackJob:
        """The same attack on some of the images, (n,) int64."""
        seeds = randomness.as_seeds(self.seeds, self.images.device)
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            seeds=seeds[rows],
            targets=None if self.targets is None else self.targets[rows],
        )


def run_job(job: AttackJob, settings: AttackSettings) -> AttackResult:
    """Attack each image on its own; the outcome of one does not depend on which others are in the batch.

    The clean image is an iterate only of the methods that start there (fgsm, bim, mim): whether it was
    classified correctly to begin with is for the caller to know.

    Raises:
        UserError: Settings that the method cannot honour, images outside [0, 1], labels or targets that do
            not fit, or a model that does not return logits.
        NonFiniteLogitsError: The model returned NaN or infinite logits; it names the images.
    """
    check_settings(job.method, settings, targeted=job.targets is not None)
    return attack_inputs(plan_of(job, settings), as_inputs(job, settings))


def plan_of(job: AttackJob, settings: AttackSettings) -> Plan:
    """What the pool is to run."""
    batch_size = job.batch_size or max(len(job.images), 1)
    return Plan(job.model, find_method(job.method), settings, job.targets is not None, batch_size)


def attack_inputs(plan: Plan, inputs: Inputs) -> AttackResult:
    """Attack rows that are already checked, each with its own radius and step size; all starts.

    Raises:
        UserError: More starts than wrong classes, for a method that takes one a class.
        NonFiniteLogitsError: As `run_job`.
    """
    result: AttackResult | None = None
    for start, rows in starts(plan, inputs):
        if result is None:
            result = run_pool(start, rows)
            continue
        standing = (~result.success).nonzero().squeeze(1)
        if not len(standing):
            break
        result = merge(result, standing, run_pool(start, rows.select(standing)))
    assert result is not None
    return result


def starts(plan: Plan, inputs: Inputs) -> Iterator[tuple[Plan, Inputs]]:
    """What each start runs: all rows, with seeds of its own, aimed at the next class where the method aims.

    Raises:
        UserError: More starts than wrong classes, for a method that takes one a class.
    """
    aims = _runners_up(plan, inputs) if plan.method.aims_at_runners_up else None
    for start in range(plan.settings.restarts):
        seeds = randomness.derive(inputs.seeds, start)
        targets = inputs.targets if aims is None else aims[:, start]
        yield replace(plan, first=start == 0), replace(inputs, seeds=seeds, targets=targets)


def least_likely_targets(
    model: Model, images: Tensor, labels: Tensor, batch_size: int | None = None
) -> Tensor:
    """(N,) int64: the class with the lowest logit of each image (Kurakin et al. 2017), never its label."""
    logits = _clean_logits(model, images, batch_size or max(len(images), 1))
    return logits.scatter(1, labels.to(images.device)[:, None], torch.inf).argmin(dim=1)


def as_inputs(job: AttackJob, settings: AttackSettings) -> Inputs:
    """The rows of an attack, checked.

    Raises:
        UserError: Images outside [0, 1], or labels, seeds or targets that do not fit them.
    """
    images, labels, targets, seeds = job.images, job.labels, job.targets, job.seeds
    count, device = len(images), images.device
    if images.dim() != 4 or not images.is_floating_point():
        raise UserError(f"images must be (N, C, H, W) floats, got {tuple(images.shape)} of {images.dtype}")
    if count and not (images.min() >= 0 and images.max() <= 1):
        raise UserError("images must lie in [0, 1]: mean and std belong to the model, not to its input")
    for name, values in (("labels", labels), ("seeds", seeds), ("targets", targets)):
        if values is not None and len(values) != count:
            raise UserError(f"{name}: expected one an image ({count}), got {len(values)}")
    if targets is not None and bool((targets == labels).any()):
        where = (targets == labels).nonzero().squeeze(1)[0].item()
        raise UserError(f"targets: the target of the image at position {where} is its own label")
    step_size = settings.eps if settings.step_size is None else settings.step_size
    return Inputs(
        position=torch.arange(count),
        images=images,
        labels=labels.to(device),
        targets=None if targets is None else targets.to(device),
        seeds=randomness.as_seeds(seeds, device),
        eps=torch.full((count,), settings.eps, dtype=torch.float64, device=device),
        step_size=torch.full((count,), step_size, dtype=torch.float64, device=device),
    )


def _runners_up(plan: Plan, inputs: Inputs) -> Tensor:
    """(N, restarts) int64: the most likely wrong classes at the clean images, the likeliest first."""
    logits = _clean_logits(plan.model, inputs.images, plan.batch_size)
    starts, classes = plan.settings.restarts, logits.shape[1]
    if starts >= classes:
        raise UserError(
            f"{plan.method.name}: one start a wrong class, so restarts must be below the number of classes, "
            f"{classes}; got {starts}"
        )
    others = logits.scatter(1, inputs.labels[:, None], -torch.inf)
    return others.topk(starts, dim=1).indices


def _clean_logits(model: Model, images: Tensor, batch_size: int) -> Tensor:
    """(N, K) logits of the images, without gradients."""
    positions = torch.arange(len(images))
    with torch.no_grad():
        parts = torch.split(positions, batch_size)
        return torch.cat([checked_logits(model, images[rows], rows) for rows in parts])


def merge(result: AttackResult, rows: Tensor, again: AttackResult) -> AttackResult:
    """The result with some rows replaced by those of a later start; steps add up."""
    return AttackResult(
        images=result.images.index_copy(0, rows, again.images),
        success=result.success.index_copy(0, rows, again.success),
        steps_used=result.steps_used.index_add(0, rows, again.steps_used),
        zero_gradient=result.zero_gradient.index_copy(
            0, rows, again.zero_gradient | result.zero_gradient[rows]
        ),
    )
