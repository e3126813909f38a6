"""One temperature per network, which calibrates its scores. Numpy alone.

Softmax scores depend on the logits' scale, which changes no decision: a network whose last layer is divided by two is
half as sure of everything, and its robust regions shrink. Temperature scaling (Guo et al. 2017, section 4.2) divides
the logits by the T that makes labelled pictures most likely. Logits times k have k times that T, so the scores after
it do not depend on k.
"""

from dataclasses import dataclass

import numpy as np

from assay.tasks.srvr.arrays import FloatArray, IntArray

_ROUNDS = 200  # how often the interval that holds log T is halved
_WIDEST = 18.0  # log of how far T may lie from the logits' own spread


@dataclass(frozen=True)
class Temperature:
    """What scores are divided by before the softmax.

    Attributes:
        value: T, in units of the logits; None where no finite one fits, since the labels are no likelier than chance.
        pictures: labelled pictures that it was fitted on.
        correct: how many of them are answered as labelled. Where all are, the likelihood grows without end as T falls.
            Then T makes the mean confidence (n + 1) / (n + 2), Laplace's estimate of such an accuracy.
    """

    value: float | None
    pictures: int
    correct: int


def fit_temperature(logits: FloatArray, labels: IntArray) -> Temperature:
    """The temperature of a network.

    Args:
        logits: (N, K) of labelled pictures.
        labels: (N,) class indices.
    """
    rows = np.arange(len(labels))
    centred = logits - logits.max(axis=1, keepdims=True)
    right = int((logits.argmax(axis=1) == labels).sum())
    own = centred[rows, labels]
    spread = float(-centred.mean())
    if spread == 0 or own.mean() <= centred.mean():
        return Temperature(None, len(labels), right)
    wanted = (len(labels) + 1) / (len(labels) + 2)

    def too_warm(inverse: float) -> bool:
        scores = np.exp(inverse * centred)
        scores /= scores.sum(axis=1, keepdims=True)
        if right == len(labels):
            return bool(scores[rows, labels].mean() < wanted)
        # the slope of the mean log-likelihood by 1/T, which falls as 1/T grows
        return bool((own - (scores * centred).sum(axis=1)).mean() > 0)

    low, high = -_WIDEST, _WIDEST
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_warm(np.exp(middle) / spread) else (low, middle)
    return Temperature(float(spread / np.exp((low + high) / 2)), len(labels), right)
