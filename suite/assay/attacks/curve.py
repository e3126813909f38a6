"""A whole accuracy-eps curve by binary search: what fell is not tried at larger radii, what stood not at smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.run import checked, run_starts
from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError


def bisect(
    attack: AttackSettings, images: AttackedImages, radii: Sequence[Fraction | float]
) -> tuple[Tensor, AttackResult]:
    """Each image's smallest radius by binary search: ceil(log2(radii + 1)) attacks at most, at its own radii.

    It assumes that an image that stands at one radius stands at all smaller ones, as it would against an exact attack.

    Returns:
        (N,) int64, the index of the smallest radius at which the attack succeeded, or the number of radii where it
        never did; and the result at that radius, or the clean image. Its steps are those of all attacks on the image,
        and `zero_gradient` is set if any of them met one.

    Raises:
        UserError: Radii or a rule of success that the method cannot honour, or radii that do not ascend.
    """
    if not radii or any(larger <= smaller for smaller, larger in pairwise(radii)):
        raise UserError(
            f"the eps of a curve must be at least one, each above the last; got {[float(eps) for eps in radii]}"
        )
    images, exact = checked(attack, images, *radii), [Fraction(eps) for eps in radii]
    # An image stands at all radii below `low` and falls at `high`; the last `high` is a radius that is not there.
    low = torch.zeros(len(images), dtype=torch.int64, device=images.images.device)
    high = torch.full_like(low, len(exact))
    found = AttackResult.blank(images.images.clone())
    # Images share passes though they stand at different radii: each round, every open one is tried in its own middle.
    while len(open_rows := (low < high).nonzero().squeeze(1)):
        middle = (low[open_rows] + high[open_rows]) // 2
        result = run_starts(attack, images.select(open_rows).within(attack, exact, middle))
        fell = result.success
        high[open_rows[fell]] = middle[fell]
        low[open_rows[~fell]] = middle[~fell] + 1
        _note(found, open_rows, result)
    return high, replace(found, success=high < len(exact))


def _note(found: AttackResult, rows: Tensor, result: AttackResult) -> None:
    """Add one round's outcome, in place; a success is at a smaller radius than any before it."""
    found.images[rows[result.success]] = result.images[result.success]
    found.steps_used[rows] += result.steps_used
    found.zero_gradient[rows] |= result.zero_gradient
    found.passes[rows] += result.passes
