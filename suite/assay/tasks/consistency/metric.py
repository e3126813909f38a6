"""Neuron consistency (Dong et al., section 3.2) and its floor. No torch.

A neuron n is summed up by p, the share of each concept among the images that excite it most. Its consistency is p^T A
p, with A the similarity of concepts in a hierarchy. Few images push the figure up by themselves (k images of k
unrelated classes give 1/k), so it is read against its floor: its expectation when the images' labels are shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dtrmm
from scipy.sparse import csr_array

from assay.common.errors import UserError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def one_hot(labels: Ints, n_classes: int) -> csr_array:
    """Membership (images, classes) of images with one class each."""
    rows = np.arange(len(labels))
    return csr_array((np.ones(len(labels)), (rows, labels)), shape=(len(labels), n_classes))


def multi_hot(concepts: Sequence[Sequence[int]], n_concepts: int) -> csr_array:
    """Membership (images, concepts) of images that contain several concepts each."""
    rows = np.repeat(np.arange(len(concepts)), [len(row) for row in concepts])
    columns = np.array([concept for row in concepts for concept in row], dtype=np.int64)
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(concepts), n_concepts))


def concept_shares(top: Ints, membership: csr_array) -> Floats:
    """p: the share of each concept among the top images, Pr(x contains c | x activates n).

    Args:
        top: (neurons, k) image indices.
        membership: (images, concepts), 1 where the image contains the concept.

    Returns:
        (neurons, concepts) in [0, 1]; rows sum to 1 where every image has one class.
    """
    neurons, kept = top.shape
    starts = np.arange(0, neurons * kept + 1, kept)
    picks = csr_array(
        (np.full(top.size, 1.0 / kept), top.ravel(), starts), shape=(neurons, membership.shape[0])
    )
    shares: Floats = (picks @ membership).toarray()
    return shares


def consistency(shares: Floats, similarity: Floats) -> Floats:
    """consis(n) = p^T A p of all neurons at once, as the row sums of (P A) o P.

    A is symmetric, so its lower triangle with the off-diagonal doubled gives the same sums at half the cost.

    Args:
        shares: (neurons, concepts), P.
        similarity: (concepts, concepts), A, symmetric.

    Returns:
        (neurons,).
    """
    used = np.flatnonzero(shares.any(axis=0))  # concepts that no top image shows add nothing
    weights = 2 * np.tril(similarity[np.ix_(used, used)])
    np.fill_diagonal(weights, similarity.diagonal()[used])
    held = shares.T[used] if len(used) < shares.shape[1] else shares.T
    weighed = dtrmm(1.0, np.asfortranarray(weights), held, lower=1)
    values: Floats = np.einsum("cn,cn->n", weighed, held)
    return values


@dataclass(frozen=True)
class Floor:
    """What shuffled labels give, in expectation.

    Attributes:
        same: mean of m^T A m over sources, m being a source's concepts: the weight of a pair of images of
            one source (1 for single labels).
        other: mean of m^T A m' over pairs of different sources.
    """

    same: float
    other: float


def label_floor(membership: csr_array, similarity: Floats) -> Floor:
    """The two constants of the exact mean of consis(n) over all permutations of the sources' labels.

    Args:
        membership: (sources, concepts); images made from one source (its adversarial versions) keep their
            common label in a permutation, so that copies of one image do not pass for consistency.
        similarity: (concepts, concepts), A.

    Raises:
        UserError: fewer than two sources, which leave nothing to permute.
    """
    n_sources = membership.shape[0]
    if n_sources < 2:
        raise UserError(f"the label-permutation floor needs at least 2 source images, got {n_sources}")
    weighed = membership @ similarity
    own = float(membership.multiply(weighed).sum())
    total = membership.sum(axis=0)
    return Floor(
        same=own / n_sources,
        other=(float(total @ similarity @ total) - own) / (n_sources * (n_sources - 1)),
    )


def expected_floor(top_sources: Ints, floor: Floor) -> Floats:
    """The floor of each neuron: E[p^T A p] when labels are permuted among the sources.

    With s the share of ordered pairs of top images (a pair of an image with itself included) that stem
    from one source, the expectation is s * same + (1 - s) * other. For k unrelated images s = 1/k.

    Args:
        top_sources: (neurons, k) source index of each top image.
        floor: from `label_floor` over these sources.

    Returns:
        (neurons,).
    """
    alike = _same_source_share(top_sources)
    return alike * floor.same + (1 - alike) * floor.other


def _same_source_share(top_sources: Ints) -> Floats:
    """(neurons,): sum over sources of (count / k)^2, from the run lengths of each sorted row."""
    neurons, kept = top_sources.shape
    ordered = np.sort(top_sources, axis=1)
    starts = np.ones((neurons, kept), bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    at = np.flatnonzero(starts)
    runs = np.diff(np.append(at, neurons * kept))
    share: Floats = np.zeros(neurons)
    np.add.at(share, at // kept, (runs / kept) ** 2)
    return share


def permuted_means(
    top_sources: Ints, membership: csr_array, similarity: Floats, n_permutations: int, seed: int
) -> Floats:
    """Mean consis(n) over neurons for random permutations of the sources' labels.

    Its spread is the sampling error of the mean over neurons (which share images) under the floor's
    hypothesis; its mean tends to the mean of `expected_floor`.

    Returns:
        (n_permutations,).
    """
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(membership.shape[0]) for _ in range(n_permutations))
    return np.array(
        [consistency(concept_shares(top_sources, membership[order]), similarity).mean() for order in orders]
    )


def excess(value: float, floor: float) -> float:
    """(consis - floor) / (1 - floor): 0 at the floor, 1 for neurons of one class each.

    Comparable between sample sizes, unlike consis itself. Meant for images of one class each, whose
    consis cannot exceed 1.
    """
    return (value - floor) / (1 - floor)


@dataclass(frozen=True)
class NeuronScores:
    """One layer's neurons on one set of images, arrays of length neurons.

    Attributes:
        consis: p^T A p.
        floor: its expectation under permuted labels.
        top_class: the concept most frequent among the neuron's top images, the lower index where two tie.
    """

    consis: Floats
    floor: Floats
    top_class: Ints


def score_neurons(top_sources: Ints, membership: csr_array, similarity: Floats) -> NeuronScores:
    """Consistency, floor and top class of every neuron of a layer.

    Args:
        top_sources: (neurons, k), the source of each top image: the image itself among real images, the
            image it was made from among adversarial ones.
        membership: (sources, concepts), from `one_hot` or `multi_hot`.
        similarity: (concepts, concepts), A.
    """
    shares = concept_shares(top_sources, membership)
    return NeuronScores(
        consis=consistency(shares, similarity),
        floor=expected_floor(top_sources, label_floor(membership, similarity)),
        top_class=shares.argmax(axis=1).astype(np.int64),
    )


def ranked_by_gap(consis: Floats, consis_adv: Floats) -> Ints:
    """Neurons by descending consis - consis_adv: who loses most on adversarial images comes first."""
    return np.argsort(consis_adv - consis, kind="stable").astype(np.int64)
