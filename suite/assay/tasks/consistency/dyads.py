"""How far likeness would be off had other images been drawn: a standard error that resamples images. No torch.

What labels say of a layer is the mean likeness A of the pairs of different images that excite one neuron. With C_ij the
number of neurons that have images i and j among their top ones, P = sum C_ij A_ij / sum C_ij over i != j. The excess is
(P - other) / (1 - other), other being the likeness of any two images (:func:`..metric.label_floor`).

Neurons are no sample to resample: they share images, and one image that excites many of them moves them all. Two pairs
that share no image are independent. So the variance of P is the sum of e_ij e_kl over the pairs of pairs that share
one, with e_ij = C_ij (A_ij - P) / sum C (dyadic clusters: Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from assay.tasks.consistency.metric import Floats, Ints

_MOST_PAIRS = 20_000_000  # of top images over all neurons; with more, the double count below is left in
_ROWS = 4096  # images at a time; their likeness to all classes is held in memory


@dataclass(frozen=True)
class Likeness:
    """The mean likeness of pairs and what each image and pair adds to its error.

    Attributes:
        value: P; NaN where no neuron has two different images.
        same: mean over neurons of the share of ordered pairs of top images that stem from one source.
        sums: (sources,) sum over j of e_ij.
        pairs: (sources, sources) e_ij; None where there are too many.
    """

    value: float
    same: float
    sums: Floats
    pairs: csr_array | None

    def times(self, factor: float) -> Likeness:
        """The errors in another unit."""
        pairs = None if self.pairs is None else self.pairs * factor
        return Likeness(self.value, self.same, self.sums * factor, pairs)

    def less(self, other: Likeness) -> Likeness:
        """The errors of a difference of two that rest on the same sources."""
        pairs = None if self.pairs is None or other.pairs is None else csr_array(self.pairs - other.pairs)
        return Likeness(self.value - other.value, math.nan, self.sums - other.sums, pairs)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the interval's width, by Student's t with as many degrees of freedom as images weigh.

        Every pair stands in the sums of both its images, so that its own square is counted twice; one is taken off,
        which matters where labels say nothing. Left in, where the pairs are too many, the interval is too wide.
        """
        from scipy import stats

        variance, freedom = self._spread()
        return float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)

    def p_value(self, difference: float) -> float:
        """Two-sided: how likely a figure lies as far from zero with these errors, if the true one is zero."""
        from scipy import stats

        variance, freedom = self._spread()
        if variance == 0:
            return float(difference == 0)
        return 2 * float(stats.t.sf(abs(difference) / math.sqrt(variance), freedom))

    def _spread(self) -> tuple[float, float]:
        """The variance, and the degrees of freedom."""
        of_images = float((self.sums**2).sum())
        own = 0.0 if self.pairs is None else float(self.pairs.power(2).sum())
        variance = max(4 * of_images - 2 * own, 2 * own)
        freedom = max(of_images**2 / float((self.sums**4).sum()) - 1, 1.0) if of_images else 1.0
        return variance, freedom


def likeness(top_sources: Ints, membership: csr_array, similarity: Floats) -> Likeness:
    """The likeness of the images that excite a layer's neurons.

    Args:
        top_sources: (neurons, k), the source of each top image.
        membership: (sources, concepts).
        similarity: (concepts, concepts), A.
    """
    neurons, kept = top_sources.shape
    starts = np.arange(0, neurons * kept + 1, kept)
    counts = csr_array(
        (np.ones(top_sources.size), top_sources.ravel(), starts),
        shape=(neurons, membership.shape[0]),
        copy=True,  # the next line sorts in place
    )
    counts.sum_duplicates()
    squares = np.asarray(counts.power(2).sum(axis=0), dtype=np.float64).ravel()
    # Row sums of C without its diagonal: every neuron has `kept` top images.
    weights = kept * np.asarray(counts.sum(axis=0)).ravel() - squares
    total = float(weights.sum())
    same = float(squares.sum()) / (neurons * kept**2)
    if total == 0:
        return Likeness(math.nan, same, np.zeros(len(weights)), None)
    alike = _alike(counts, membership, similarity, squares)
    value = float(alike.sum()) / total
    return Likeness(
        value, same, (alike - value * weights) / total, _pairs(counts, membership, similarity, value, total)
    )


def _alike(counts: csr_array, membership: csr_array, similarity: Floats, squares: Floats) -> Floats:
    """(sources,): sum over j != i of C_ij A_ij."""
    seen = (counts @ membership) @ similarity
    of_images, found = counts.T.tocsr(), np.empty(len(squares))
    for first in range(0, len(squares), _ROWS):
        rows = slice(first, first + _ROWS)
        own = membership[rows]
        every = np.asarray(own.multiply(of_images[rows] @ seen).sum(axis=1)).ravel()
        itself = np.asarray(own.multiply(own @ similarity).sum(axis=1)).ravel()
        found[rows] = every - squares[rows] * itself
    return found


def _pairs(
    counts: csr_array, membership: csr_array, similarity: Floats, value: float, total: float
) -> csr_array | None:
    """e_ij of images of one class each."""
    one_class_each = bool((np.diff(membership.indptr) == 1).all())
    if (
        not one_class_each
        or float(np.diff(counts.indptr).astype(float) @ np.diff(counts.indptr)) > _MOST_PAIRS
    ):
        return None
    together, labels = (counts.T @ counts).tocoo(), membership.indices
    row, column = together.coords
    errors = together.data * (similarity[labels[row], labels[column]] - value) / total
    apart = row != column
    return csr_array((errors[apart], (row[apart], column[apart])), shape=together.shape)
