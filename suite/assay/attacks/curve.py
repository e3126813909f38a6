"""A whole accuracy-eps curve by binary search: what fell is not tried at larger radii, what stood not at smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from assay.attacks.methods import check_settings
from assay.attacks.rows import Inputs
from assay.attacks.run import AttackJob, as_inputs, attack_inputs, plan_of
from assay.attacks.settings import AttackResult, AttackSettings
from assay.common.errors import UserError


@dataclass(frozen=True)
class SmallestEps:
    """Where each image falls.

    Attributes:
        level: (N,) int64, index of the smallest radius at which the attack succeeded; the number of radii
            where it never did.
        images: (N, C, H, W), the adversarial image found at that radius, the clean image where none was.
        steps_used: (N,) int64, gradient steps over all attacks that the image met.
        zero_gradient: (N,) bool, in any of them.
    """

    level: Tensor
    images: Tensor
    steps_used: Tensor
    zero_gradient: Tensor


def bisect(job: AttackJob, curve: Sequence[AttackSettings]) -> SmallestEps:
    """Each image's smallest radius by binary search: ceil(log2(radii + 1)) attacks at most, at its own radii.

    It takes for granted that an image which stands at one radius stands at all smaller ones, as it would against
    an exact attack.

    Raises:
        UserError: Settings that the method cannot honour, radii that do not ascend, or settings that
            differ in more than radius and step size.
    """
    inputs = _checked_inputs(job, curve)
    if len({replace(level, eps=0.0, step_size=None) for level in curve}) > 1:
        raise UserError("bisect: the settings of a curve may differ in eps and step_size only")
    low = torch.zeros(len(inputs), dtype=torch.int64, device=job.images.device)
    high = torch.full_like(low, len(curve))
    found = SmallestEps(
        high,
        job.images.clone(),
        steps_used=torch.zeros_like(low),
        zero_gradient=torch.zeros_like(low, dtype=torch.bool),
    )
    while len(open_rows := (low < high).nonzero().squeeze(1)):
        middle = (low[open_rows] + high[open_rows]) // 2
        result = attack_inputs(plan_of(job, curve[0]), _at_levels(inputs.select(open_rows), curve, middle))
        fell = result.success
        high[open_rows[fell]] = middle[fell]
        low[open_rows[~fell]] = middle[~fell] + 1
        _note(found, open_rows, result)
    return found


def _note(found: SmallestEps, rows: Tensor, result: AttackResult) -> None:
    """Add one round's outcome, in place; a success is at a smaller radius than any before it."""
    found.images[rows[result.success]] = result.images[result.success]
    found.steps_used[rows] += result.steps_used
    found.zero_gradient[rows] |= result.zero_gradient


def _at_levels(inputs: Inputs, curve: Sequence[AttackSettings], levels: Tensor) -> Inputs:
    """The rows with the radius and step size of their levels."""
    eps = torch.tensor([level.eps for level in curve], dtype=torch.float64, device=levels.device)
    step_size = torch.tensor(
        [_step_size(level) for level in curve], dtype=torch.float64, device=levels.device
    )
    return replace(inputs, eps=eps[levels], step_size=step_size[levels])


def _step_size(settings: AttackSettings) -> float:
    return settings.eps if settings.step_size is None else settings.step_size


def _checked_inputs(job: AttackJob, curve: Sequence[AttackSettings]) -> Inputs:
    """The job's rows.

    Raises:
        UserError: What is wrong with the job or its radii.
    """
    for settings in curve:
        check_settings(job.method, settings, targeted=job.targets is not None)
    radii = [settings.eps for settings in curve]
    if not radii or any(b <= a for a, b in pairwise(radii)):
        raise UserError(f"the eps of a curve must be at least one, each above the last; got {radii}")
    return as_inputs(job, curve[0])
