"""Running an attack: the checks, then one pool a start, restarts only for the images that stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from assay.attacks import randomness
from assay.attacks.methods import check_settings, find_method
from assay.attacks.observe import Model, checked_logits
from assay.attacks.pool import Plan, run_pool
from assay.attacks.rows import Inputs
from assay.attacks.settings import AttackResult, AttackSettings
from assay.errors import UserError


def run_attack(
    method: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    settings: AttackSettings,
    seeds: Tensor | Sequence[int],
    *,
    targets: Tensor | None = None,
    batch_size: int | None = None,
) -> AttackResult:
    """Attack each image on its own; the outcome of one does not depend on which others are in the batch.

    The clean image is an iterate only of the methods that start there (fgsm, bim, mim): whether it was
    classified correctly to begin with is for the caller to know.

    Args:
        method: A name in `methods.METHODS`.
        model: Pixels (n, C, H, W) in [0, 1] to logits (n, K), row by row (a network in eval mode).
        images: (N, C, H, W) floats in [0, 1].
        labels: (N,) int64.
        settings: The attack's parameters.
        seeds: N integers; all randomness of an image comes from its own.
        targets: (N,) int64, the classes to reach; the attack is then targeted.
        batch_size: Most images in one pass of the model, N when None. As images fall, waiting ones take their
            places.

    Raises:
        UserError: Settings that the method cannot honour, images outside [0, 1], labels or targets that do
            not fit, or a model that does not return logits.
        NonFiniteLogitsError: The model returned NaN or infinite logits; it names the images.
    """
    declared = find_method(method)
    check_settings(method, settings, targeted=targets is not None)
    inputs = _inputs(images, labels, settings, seeds, targets)
    plan = Plan(model, declared, settings, targets is not None, batch_size or max(len(images), 1))
    result = run_pool(plan, _restarted(inputs, 0))
    for restart in range(1, settings.restarts):
        standing = (~result.success).nonzero().squeeze(1)
        if not len(standing):
            break
        again = run_pool(plan, _restarted(inputs.select(standing), restart))
        result = _merge(result, standing, again)
    return result


def least_likely_targets(
    model: Model, images: Tensor, labels: Tensor, batch_size: int | None = None
) -> Tensor:
    """(N,) int64: the class with the lowest logit of each image (Kurakin et al. 2017), never its label."""
    targets = []
    positions = torch.arange(len(images))
    with torch.no_grad():
        for rows in torch.split(positions, batch_size or max(len(images), 1)):
            logits = checked_logits(model, images[rows], rows)
            others = logits.scatter(1, labels[rows.to(labels.device), None], torch.inf)
            targets.append(others.argmin(dim=1))
    return torch.cat(targets)


def _inputs(
    images: Tensor,
    labels: Tensor,
    settings: AttackSettings,
    seeds: Tensor | Sequence[int],
    targets: Tensor | None,
) -> Inputs:
    """The rows of an attack, checked.

    Raises:
        UserError: They do not fit together.
    """
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


def _restarted(inputs: Inputs, restart: int) -> Inputs:
    """The same rows with the seeds of another start."""
    return replace(inputs, seeds=randomness.derive(inputs.seeds, restart))


def _merge(result: AttackResult, rows: Tensor, again: AttackResult) -> AttackResult:
    """The result with some rows replaced by those of a later start; steps add up."""
    return AttackResult(
        images=result.images.index_copy(0, rows, again.images),
        success=result.success.index_copy(0, rows, again.success),
        steps_used=result.steps_used.index_add(0, rows, again.steps_used),
        zero_gradient=result.zero_gradient.index_copy(
            0, rows, again.zero_gradient | result.zero_gradient[rows]
        ),
    )
