"""The losses of the training methods: pure functions of logits and features, each a mean over the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (N, K).
        labels: (N,) int64.
    """
    return functional.cross_entropy(logits, labels)


def kl_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """(N,) KL(softmax(logits) || softmax(other)) = sum_k p_k (log p_k - log q_k), in nats.

    Gradients flow through both: Karkehabadi's equation 1 and TRADES (Zhang et al. 2019, equation 5) hold neither fixed.
    """
    log_p, log_q = functional.log_softmax(logits, dim=1), functional.log_softmax(other, dim=1)
    return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)


def feature_distance(features: Tensor, other: Tensor) -> Tensor:
    """(N,) ||phi(x) - phi(x*)||_2 over all channels and places (Dong et al.; the norm, not its square).

    Its gradient where the two are equal is 0.

    Args:
        features: (N, ...).
        other: of the same shape.
    """
    distance: Tensor = torch.linalg.vector_norm((features - other).flatten(1), dim=1)
    return distance
