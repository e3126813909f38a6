"""Noise: of values in [0, 1], float64 (H, W, C)."""

import numpy as np

from assay.data.corrupting.definitions.filters import Floats, Random


def gaussian_noise(picture: Floats, sigma: float, random: Random) -> Floats:
    """As in poor light."""
    return picture + random.normal(size=picture.shape, scale=sigma)


def shot_noise(picture: Floats, photons: float, random: Random) -> Floats:
    """Light comes in photons: Poisson's distribution."""
    return random.poisson(picture * photons) / float(photons)


def impulse_noise(picture: Floats, share: float, random: Random) -> Floats:
    """Salt and pepper: some values become 0 or 1."""
    hit = random.random(picture.shape) <= share
    salt = random.random(picture.shape) <= 0.5
    found: Floats = np.where(hit, salt.astype(picture.dtype), picture)
    return found


def speckle_noise(picture: Floats, sigma: float, random: Random) -> Floats:
    """Noise that grows with the value."""
    return picture + picture * random.normal(size=picture.shape, scale=sigma)
