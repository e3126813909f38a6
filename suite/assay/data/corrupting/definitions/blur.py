"""Blur: of values in [0, 1], float64 (H, W, C)."""

from collections.abc import Sequence

import numpy as np

from assay.data.corrupting.definitions.filters import (
    Floats,
    Random,
    correlate,
    disk,
    gaussian,
    motion,
    zoomed,
)


def gaussian_blur(picture: Floats, sigma: float) -> Floats:
    """A Gaussian; nothing is random."""
    return gaussian(picture, sigma)


def defocus_blur(picture: Floats, setting: tuple[float, float]) -> Floats:
    """Out of focus: a disk; nothing is random."""
    return correlate(picture, disk(*setting))


def glass_blur(picture: Floats, setting: tuple[float, int, int], random: Random) -> Floats:
    """Behind frosted glass: blur, move pixels by at most ``reach``, blur.

    The published code means to swap two pixels and, as both sides of its assignment are views of one array, copies one
    onto the other. Every published picture shows it so, and so does this.
    """
    sigma, reach, rounds = setting
    height, width, channels = picture.shape
    smooth = (gaussian(picture, sigma) * 255).astype(np.uint8)
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    here = (rows[:, np.newaxis] * width + columns).ravel()
    shuffled = list(range(height * width))
    for _ in range(rounds):
        moves = random.integers(-reach, reach, size=(len(here), 2))
        there = here + moves[:, 1] * width + moves[:, 0]
        for place, source in zip(
            here.tolist(), there.tolist(), strict=True
        ):  # each sees what the last one did
            shuffled[place] = shuffled[source]
    moved = smooth.reshape(-1, channels)[shuffled].reshape(picture.shape)
    return gaussian(moved / 255.0, sigma)


def motion_blur(picture: Floats, setting: tuple[int, float], random: Random) -> Floats:
    """The camera moves along a line at a random angle, at most 45 degrees from the horizontal."""
    return motion(picture * 255, *setting, random.uniform(-45, 45)) / 255


def zoom_blur(picture: Floats, factors: Sequence[float], centred: bool) -> Floats:
    """The camera moves forward: the mean over zooms; nothing is random."""
    single = picture.astype(np.float32)
    total = np.zeros_like(single)
    for factor in factors:
        layer = zoomed(single, float(factor), centred)[: single.shape[0], : single.shape[1]]
        total[: layer.shape[0], : layer.shape[1]] += layer  # a rounded size may lack a pixel
    return (single + total) / (len(factors) + 1)
