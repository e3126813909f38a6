"""Filters that several corruptions share. Pictures are (H, W, C) arrays."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, sparse

Floats = npt.NDArray[np.floating[Any]]
Random = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def luma(picture: Floats) -> Floats:
    """(H, W, 1) brightness of a picture; a grey picture is its own."""
    return picture if picture.shape[2] == 1 else (picture @ _LUMA.astype(picture.dtype))[..., np.newaxis]


def gaussian(picture: Floats, sigma: float | tuple[float, float], **how: Any) -> Floats:
    """The picture (H, W) or (H, W, C) blurred along its sides, its border repeated."""
    sigmas = (sigma, sigma) if isinstance(sigma, int | float) else sigma
    options: dict[str, Any] = {"mode": "nearest", "truncate": 4.0} | how
    blurred: Floats = ndimage.gaussian_filter(picture, sigmas, axes=(0, 1), **options)
    return blurred


def correlate(picture: Floats, kernel: Floats) -> Floats:
    """Every channel correlated with a square kernel of odd side, mirrored at the border without repeating it."""
    height, width, _ = picture.shape
    reach = len(kernel) // 2
    padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    size = [fft.next_fast_len(side, real=True) for side in padded.shape[:2]]
    spectrum = fft.rfft2(padded, size, axes=(0, 1))
    spectrum *= fft.rfft2(kernel[::-1, ::-1], size)[..., np.newaxis]
    found: Floats = fft.irfft2(spectrum, size, axes=(0, 1), overwrite_x=True)
    return found[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def disk(radius: float, smoothing: float) -> Floats:
    """A disk of weight 1, its edge smoothed by a small Gaussian, as float64 of float32 values."""
    reach = 8 if radius <= 8 else round(radius)
    places = np.arange(-reach, reach + 1)
    flat = (places[:, np.newaxis] ** 2 + places**2 <= radius**2).astype(np.float32)
    flat /= flat.sum()
    half = 1 if radius <= 8 else 2
    weights = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * smoothing**2))
    weights = (weights / weights.sum()).astype(np.float32)
    smooth = ndimage.correlate1d(
        ndimage.correlate1d(flat, weights, 0, mode="mirror"), weights, 1, mode="mirror"
    )
    return smooth.astype(np.float64)


def motion(picture: Floats, radius: int, sigma: float, angle: float) -> Floats:
    """The picture drawn along a line: half a Gaussian of 2 ``radius`` + 1 steps at ``angle`` degrees.

    A step moves by whole pixels and repeats the border; steps that leave the picture are left out.
    """
    height, width = picture.shape[:2]
    steps = 2 * radius + 1
    weights = np.exp(-(np.arange(steps) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    down, across = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    moves = [(-math.ceil(step * down - 0.5), -math.ceil(step * across - 0.5)) for step in range(steps)]
    inside = [move for move in moves if abs(move[0]) < height and abs(move[1]) < width]
    reach = max(max(abs(dy), abs(dx)) for dy, dx in inside)
    padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.float64)
    blurred, moved = np.zeros(picture.shape), np.empty(picture.shape)
    for weight, (dy, dx) in zip(weights, inside, strict=False):
        top, left = reach - dy, reach - dx
        np.multiply(padded[top : top + height, left : left + width], weight, out=moved)
        blurred += moved
    return blurred


def zoomed(picture: Floats, factor: float, centred: bool) -> Floats:
    """The picture's middle, enlarged by linear interpolation to the picture's size or a little more.

    Args:
        picture: (H, W, C).
        factor: at least 1.
        centred: cut what is too much from both sides, as for CIFAR-10-C; left where it is otherwise.
    """
    height, width, channels = picture.shape
    rows, columns = (_enlarging(side, factor, centred) for side in (height, width))
    tall = (rows @ picture.reshape(height, -1).astype(np.float64)).reshape(-1, width, channels)
    wide = columns @ tall.transpose(1, 0, 2).reshape(width, -1)
    found: Floats = wide.reshape(-1, tall.shape[0], channels).transpose(1, 0, 2).astype(picture.dtype)
    return found


@lru_cache(maxsize=256)
def _enlarging(side: int, factor: float, centred: bool) -> sparse.csr_array:
    """(new, side): each new pixel lies between two of the old ones."""
    kept = math.ceil(side / factor)
    size = round(kept * factor)
    places = (side - kept) // 2 + np.arange(size) * ((kept - 1) / max(size - 1, 1))
    if centred:
        cut = (size - side) // 2
        places = places[cut : cut + side]
    low = np.minimum(places.astype(np.int64), side - 1)
    share = places - low
    row = np.arange(len(places))
    values = np.concatenate([1 - share, share])
    columns = np.concatenate([low, np.minimum(low + 1, side - 1)])
    return sparse.csr_array((values, (np.concatenate([row, row]), columns)), shape=(len(places), side))
