"""What an attack is asked to do, and what comes back. Nothing here imports torch at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Norm = Literal["linf", "l2"]
LossName = Literal["cross_entropy", "margin", "dlr"]
MomentumNorm = Literal["l1", "l2"]


@dataclass(frozen=True)
class AttackSettings:
    """One attack's parameters; lengths are in units of pixels in [0, 1].

    Attributes:
        eps: Radius of the ball around each image.
        norm: The ball's norm.
        step_size: Length of one step (L-infinity: of each pixel); None for methods that choose their own.
        steps: Number of steps; for a black-box method the number of queries.
        restarts: Number of independent starts; a start after the first is only made for images that stand.
        momentum: Decay of the accumulated gradient (MIM's mu).
        momentum_norm: Norm that MIM divides each gradient by (Dong et al. 2018: l1).
        loss: The loss that is climbed.
        top_k: An untargeted attack succeeds when the label leaves the k highest logits, a targeted one when
            the target enters them.
        early_stop: Stop an image at its first successful iterate. Otherwise every step of a start is taken,
            and only its last iterate is judged, as textbooks and most libraries do.
        draws: Passes whose logits, loss and gradient are averaged at every look: the expectation over the randomness
            of a network that is random at test time (Athalye et al. 2018).
    """

    eps: float
    norm: Norm = "linf"
    step_size: float | None = None
    steps: int = 1
    restarts: int = 1
    momentum: float = 1.0
    momentum_norm: MomentumNorm = "l1"
    loss: LossName = "cross_entropy"
    top_k: int = 1
    early_stop: bool = True
    draws: int = 1


@dataclass(frozen=True)
class AttackResult:
    """The outcome of an attack, one row an image, in the order of the input.

    Attributes:
        images: (N, C, H, W) in [0, 1]: the first successful iterate, or the last one where none succeeded.
        success: (N,) bool.
        steps_used: (N,) int64, gradient steps taken over all starts (black-box: queries after the first); 0
            for an image whose first start was already misclassified.
        zero_gradient: (N,) bool: the loss gradient was exactly zero at some step before success, so that a
            gradient method was blind there. Always False for black-box methods.
    """

    images: Tensor
    success: Tensor
    steps_used: Tensor
    zero_gradient: Tensor
