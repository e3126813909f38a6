"""The images that excite each neuron most, kept while images stream by.

One 64-bit word holds an activation and its image: the float's order-preserving bits above, the reversed
image index below. Larger words are better and no two are equal, so the k largest of a union are the k largest of the
parts' k largest. Merging is associative and commutative, and ties in activation go to the lower image index. So neither
block order nor splitting changes the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.common.errors import UserError

TOP_SHARE = 0.01
MIN_TOP_IMAGES = 3
_INDEX_BITS = np.uint64(32)
_INDEX_MASK = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)


def top_count(n_images: int, share: float = TOP_SHARE) -> int:
    """How many images a neuron keeps: the top 1 %, at least 3.

    Raises:
        UserError: fewer than 3 images.
    """
    if n_images < MIN_TOP_IMAGES:
        raise UserError(f"neuron consistency needs at least {MIN_TOP_IMAGES} images, got {n_images}")
    return max(MIN_TOP_IMAGES, round(n_images * share))


@dataclass(frozen=True)
class TopImages:
    """The most exciting images of each neuron, best first.

    Attributes:
        activations: (neurons, kept) float32, descending along a row.
        images: (neurons, kept) int64, the image indices; equal activations stand by ascending index.
    """

    activations: npt.NDArray[np.float32]
    images: npt.NDArray[np.int64]

    def tied(self, k: int) -> npt.NDArray[np.bool_]:
        """Which neurons' top k were chosen by image order rather than activation: k-th equals (k+1)-th.

        A saturating activation (ReLU6) or a dead neuron does this; keep k + 1 images to know.

        Args:
            k: the images counted, fewer than those kept.
        """
        return np.equal(self.activations[:, k - 1], self.activations[:, k], dtype=np.bool_)

    def first(self, k: int) -> TopImages:
        """The k best of those kept."""
        return TopImages(self.activations[:, :k], self.images[:, :k])


class TopK:
    """A running top-k over images for every neuron, in O(neurons x k) memory.

    Args:
        n_neurons: rows.
        k: images kept per neuron.
    """

    def __init__(self, n_neurons: int, k: int) -> None:
        self.k = k
        self._kept = np.empty((n_neurons, 0), np.uint64)
        self._waiting: list[npt.NDArray[np.uint64]] = []

    def update(self, activations: npt.NDArray[np.float32], images: npt.NDArray[np.int64]) -> None:
        """Offer a batch of images.

        Args:
            activations: (images, neurons), finite.
            images: (images,) indices in [0, 2^32); an index is offered once over the whole stream.

        Raises:
            ValueError: an activation is NaN or infinite, or an index is out of range.
        """
        self._offer(_encode(activations.T, images[None, :]))

    def merge(self, part: TopImages) -> None:
        """Take in the top images of another part of the stream (a block's record)."""
        self._offer(_encode(part.activations, part.images))

    def result(self) -> TopImages:
        """The top images so far, k of them or as many as were offered."""
        self._settle()
        return _decode(np.sort(self._kept, axis=1)[:, ::-1])

    def _offer(self, words: npt.NDArray[np.uint64]) -> None:
        self._waiting.append(words)
        # Partitioning only when as many words wait as are kept costs O(1) per word, at any batch size.
        if sum(part.shape[1] for part in self._waiting) >= self.k:
            self._settle()

    def _settle(self) -> None:
        words = np.concatenate([self._kept, *self._waiting], axis=1)
        if words.shape[1] > self.k:
            words.partition(words.shape[1] - self.k, axis=1)
            words = words[:, -self.k :].copy()
        self._kept, self._waiting = words, []


def _encode(activations: npt.NDArray[np.float32], images: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    if not np.isfinite(activations).all():
        raise ValueError("an activation is NaN or infinite")
    if images.size and not 0 <= images.min() <= images.max() <= _INDEX_MASK:
        raise ValueError("an image index is outside [0, 2^32)")
    positive_zero = np.ascontiguousarray(activations, np.float32) + np.float32(0)
    bits = positive_zero.view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)  # unsigned order = order of the floats
    return (ordered.astype(np.uint64) << _INDEX_BITS) | (_INDEX_MASK - images.astype(np.uint64))


def _decode(words: npt.NDArray[np.uint64]) -> TopImages:
    ordered = (words >> _INDEX_BITS).astype(np.uint32)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    images = (_INDEX_MASK - (words & _INDEX_MASK)).astype(np.int64)
    return TopImages(activations=bits.view(np.float32), images=images)
