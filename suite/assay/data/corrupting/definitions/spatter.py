"""Spatter: water or mud on the lens. OpenCV's steps, on SciPy."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from assay.data.corrupting.definitions.filters import Floats, Random, gaussian, luma

Pixels = npt.NDArray[np.uint8]

_WATER = np.array([175, 238, 238]) / 255
_MUD = np.array([63, 42, 20]) / 255
_EDGES_FROM, _EDGES_SURE = 50, 150  # gradients, of Canny's method
_FARTHEST = 20  # pixels from a drop's edge
_LIGHT = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # falls from the upper left
_TANGENT = 13573  # of 22.5 degrees, in units of 2 ** -15
_DIAGONAL, _KNIGHT = 1.4, 2.1969  # lengths of steps (1, 1) and (2, 1) (Borgefors 1986)


def spatter(
    picture: Floats, setting: tuple[float, float, float, float, float, bool], random: Random
) -> Floats:
    """Drops where smooth noise is high: shaded water, or opaque mud.

    Args:
        picture: (H, W, C) in [0, 1].
        setting: see :mod:`assay.data.corrupting.definitions.settings`.
        random: of the noise.
    """
    mean, spread, sigma, threshold, last, mud = setting
    single = picture.astype(np.float32)
    noise = random.normal(size=picture.shape[:2], loc=mean, scale=spread)
    drops = gaussian(noise, sigma)
    drops[drops < threshold] = 0
    if mud:
        cover = gaussian((drops > threshold).astype(np.float32), last)
        cover[cover < 0.8] = 0
        cover = cover[..., np.newaxis]
        return single * (1 - cover) + _coloured(_MUD, cover, picture.shape[2])
    light = _shaded((drops * 255).astype(np.uint8))
    brightest = light.max()
    if brightest > 0:
        light = light * (last / brightest)
    return single + _coloured(_WATER, light[..., np.newaxis], picture.shape[2])


def _coloured(colour: Floats, amount: Floats, channels: int) -> Floats:
    layer = np.clip(amount * colour, 0, 1)
    return luma(layer) if channels == 1 else layer


def _shaded(drops: Pixels) -> Floats:
    """Drops with a bright and a dark side: the distance from their edges, seen in a slanting light."""
    distance = np.minimum(_chamfer(_edges(drops)), _FARTHEST).astype(np.float32)
    smooth = ndimage.uniform_filter(distance, 3, mode="mirror").astype(np.uint8)
    relief = ndimage.correlate(_equalised(smooth).astype(np.int64), _LIGHT, mode="mirror").clip(0, 255)
    return drops * np.round(ndimage.uniform_filter(relief.astype(np.float64), 3, mode="mirror"))


def _edges(grey: Pixels) -> npt.NDArray[np.bool_]:
    """Canny's edges (1986), with Sobel's gradients and the sum of their sizes, in whole numbers."""
    signed = grey.astype(np.int64)
    dx, dy = (ndimage.sobel(signed, axis, mode="nearest") for axis in (1, 0))
    strength = np.abs(dx) + np.abs(dy)
    around = np.pad(strength, 1)
    height, width = grey.shape

    def beside(down: int, right: int) -> npt.NDArray[np.int64]:
        return around[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat, steep = np.abs(dy) << 15, np.abs(dx) * _TANGENT
    across = flat < steep
    along = flat > steep + (np.abs(dx) << 16)
    falling = (dx < 0) != (dy < 0)
    slanted = np.where(
        falling,
        (strength > beside(-1, 1)) & (strength > beside(1, -1)),
        (strength > beside(-1, -1)) & (strength > beside(1, 1)),
    )
    level = (strength > beside(0, -1)) & (strength >= beside(0, 1))
    upright = (strength > beside(-1, 0)) & (strength >= beside(1, 0))
    ridge = np.where(across, level, np.where(along, upright, slanted)) & (strength > _EDGES_FROM)
    parts, _ = ndimage.label(ridge, np.ones((3, 3)))
    sure = np.unique(parts[ridge & (strength > _EDGES_SURE)])
    return ridge & np.isin(parts, sure)


def _chamfer(edges: npt.NDArray[np.bool_]) -> Floats:
    """The distance to the nearest edge in steps of 1, 1.4 and 2.1969; far away where there is none."""
    if not edges.any():
        return np.full(edges.shape, np.inf)
    nearest = ndimage.distance_transform_edt(~edges, return_distances=False, return_indices=True)
    away = np.abs(nearest - np.indices(edges.shape))
    long, short = away.max(0), away.min(0)
    low = (long - 2 * short) + _KNIGHT * short
    high = _KNIGHT * (long - short) + _DIAGONAL * (2 * short - long)
    found: Floats = np.where(long >= 2 * short, low, high)
    return found


def _equalised(grey: Pixels) -> Pixels:
    """Every brightness as often as any other, the darkest at 0."""
    counts = np.bincount(grey.ravel(), minlength=256)
    darkest = int(counts.argmax() if counts.max() == grey.size else np.flatnonzero(counts)[0])
    rest = grey.size - counts[darkest]
    if rest == 0:
        return grey
    counts[darkest] = 0
    table = np.round(counts.cumsum() * (255 / rest))
    found: Pixels = np.clip(table, 0, 255).astype(np.uint8)[grey]
    return found
