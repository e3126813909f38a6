"""The losses that an attack climbs, and when it has won. All per image: (N, K) logits in, (N,) out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks.settings import LossName
from assay.common.errors import UserError

Loss = Callable[[Tensor, Tensor, Tensor | None, int], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None = None, top_k: int = 1) -> Tensor:
    """Cross-entropy of the labels, or minus that of the targets; `top_k` plays no part."""
    del top_k
    if targets is None:
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return -torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def margin(logits: Tensor, labels: Tensor, targets: Tensor | None = None, top_k: int = 1) -> Tensor:
    """How far the attacker is ahead (Carlini and Wagner 2017, f6, without its clamp); it does not saturate.

    Untargeted: the k-th highest other logit minus the label's. Targeted: the target's minus the k-th
    highest other. Positive exactly where the attack has won, up to ties.
    """
    if targets is None:
        return _kth_other(logits, labels, top_k) - _at(logits, labels)
    return _at(logits, targets) - _kth_other(logits, targets, top_k)


def dlr(logits: Tensor, labels: Tensor, targets: Tensor | None = None, top_k: int = 1) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020, 6 and 7): the margin, free of the logits' scale.

    With z sorted, z1 >= z2 >= ...: untargeted (k-th other - z_y) / (z1 - z3); targeted
    (z_t - z_y) / (z1 - (z3 + z4) / 2).

    Raises:
        UserError: Fewer than three classes (targeted: four).
    """
    needed = 3 if targets is None else 4
    if logits.shape[1] < needed:
        raise UserError(
            f"loss 'dlr' needs at least {needed} classes, this model has {logits.shape[1]}: choose margin"
        )
    ranked = logits.topk(needed, dim=1).values
    tiny = torch.finfo(logits.dtype).tiny
    if targets is None:
        ahead = _kth_other(logits, labels, top_k) - _at(logits, labels)
        return ahead / (ranked[:, 0] - ranked[:, 2]).clamp_min(tiny)
    ahead = _at(logits, targets) - _at(logits, labels)
    return ahead / (ranked[:, 0] - ranked[:, 2:4].mean(dim=1)).clamp_min(tiny)


LOSSES: dict[LossName, Loss] = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}


def in_top(logits: Tensor, classes: Tensor, top_k: int = 1) -> Tensor:
    """(N,) bool: whether each row's class is among its `top_k` highest logits; the lower class wins a tie."""
    if top_k == 1:
        return logits.argmax(dim=1) == classes
    own = _at(logits, classes)[:, None]
    before = torch.arange(logits.shape[1], device=logits.device) < classes[:, None]
    ahead = (logits > own) | ((logits == own) & before)
    return ahead.sum(dim=1) < top_k


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)


def _kth_other(logits: Tensor, classes: Tensor, top_k: int) -> Tensor:
    """The k-th highest logit among all classes but the given one."""
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.amax(dim=1) if top_k == 1 else others.topk(top_k, dim=1).values[:, -1]
