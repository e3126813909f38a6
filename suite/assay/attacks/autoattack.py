"""Attacks one after another, each only on the images that still stand; AutoAttack is one such list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks import randomness
from assay.attacks.methods import check_settings
from assay.attacks.observe import Model
from assay.attacks.run import run_attack
from assay.attacks.settings import AttackSettings, Norm

Attack = tuple[str, AttackSettings]


@dataclass(frozen=True)
class SequenceResult:
    """The outcome of a list of attacks.

    Attributes:
        images: (N, C, H, W): the first successful adversarial image, or the clean one where none was found.
        broken_by: (N,) int64, the index in the list of the attack that succeeded, -1 where none did.
        steps_used: (N,) int64, over all attacks.
        zero_gradient: (N,) bool, in any gradient attack that the image met.
    """

    images: Tensor
    broken_by: Tensor
    steps_used: Tensor
    zero_gradient: Tensor


def standard_attacks(eps: float, norm: Norm, *, steps: int = 100, queries: int = 5000) -> tuple[Attack, ...]:
    """AutoAttack's standard list (Croce and Hein 2020) without FAB: APGD-CE, APGD-T (DLR), Square."""
    return (
        ("apgd", AttackSettings(eps=eps, norm=norm, steps=steps)),
        ("apgd_t", AttackSettings(eps=eps, norm=norm, steps=steps, restarts=9, loss="dlr")),
        ("square", AttackSettings(eps=eps, norm=norm, steps=queries, loss="margin")),
    )


def run_in_turn(
    attacks: Sequence[Attack],
    model: Model,
    images: Tensor,
    labels: Tensor,
    seeds: Tensor | Sequence[int],
    *,
    batch_size: int | None = None,
) -> SequenceResult:
    """Run untargeted attacks in order, each on the images that no earlier one has broken.

    Args and errors are those of `run.run_attack`; all settings are checked before the first attack begins.
    """
    for name, settings in attacks:
        check_settings(name, settings)
    count, device = len(images), images.device
    seeds = randomness.as_seeds(seeds, torch.device("cpu"))
    result = SequenceResult(
        images=images.clone(),
        broken_by=torch.full((count,), -1, dtype=torch.int64, device=device),
        steps_used=torch.zeros(count, dtype=torch.int64, device=device),
        zero_gradient=torch.zeros(count, dtype=torch.bool, device=device),
    )
    for index, (name, settings) in enumerate(attacks):
        rows = (result.broken_by < 0).nonzero().squeeze(1)
        if not len(rows):
            break
        outcome = run_attack(
            name, model, images[rows], labels[rows], settings, seeds[rows.cpu()], batch_size=batch_size
        )
        fallen = rows[outcome.success]
        result.images[fallen] = outcome.images[outcome.success]
        result.broken_by[fallen] = index
        result.steps_used[rows] += outcome.steps_used
        result.zero_gradient[rows] |= outcome.zero_gradient
    return result
