"""Weather: of values in [0, 1], float64 (H, W, C)."""

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.data.corrupting.definitions.filters import Floats, Random, luma, motion, zoomed

_FROST = Path(__file__).resolve().parents[1] / "frost"
_FROST_FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
_FROST_SCALE = 1.1  # of the smallest frost picture that covers
_SMALL_FROST_STEP = 5  # CIFAR-10-C takes every fifth pixel
_CUBIC = -0.75  # of the cubic that OpenCV resizes with


def snow(picture: Floats, setting: tuple[float, ...], random: Random, centred: bool) -> Floats:
    """Flakes that fall, and a paler world."""
    mean, spread, zoom, threshold, radius, sigma, kept = setting
    single = picture.astype(np.float32)
    height, width, _ = single.shape
    flakes: Floats = random.normal(size=(height, width, 1), loc=mean, scale=spread)
    flakes = zoomed(flakes, zoom, centred)
    flakes[flakes < threshold] = 0
    flakes = motion(np.clip(flakes, 0, 1), int(radius), sigma, random.uniform(-135, -45))
    flakes = np.round(flakes * 255)[:height, :width] / 255
    pale = np.maximum(single, luma(single) * 1.5 + 0.5)
    found: Floats = kept * single + (1 - kept) * pale + flakes + np.rot90(flakes, 2)
    return found


def frost(picture: Floats, weights: tuple[float, float], random: Random, small: bool) -> Floats:
    """Ice on the lens: a random part of one of five pictures."""
    height, width, channels = picture.shape
    chosen = int(random.integers(len(_FROST_FILES)))
    ice = _small_frost(chosen) if small else _frost(chosen, height, width)
    top = random.integers(0, ice.shape[0] - height)
    left = random.integers(0, ice.shape[1] - width)
    part = ice[top : top + height, left : left + width] / 255.0
    return weights[0] * picture + weights[1] * (luma(part) if channels == 1 else part)


@cache
def _frost_picture(chosen: int) -> npt.NDArray[np.uint8]:
    with Image.open(_FROST / _FROST_FILES[chosen]) as picture:
        return np.asarray(picture.convert("RGB"))


@cache
def _small_frost(chosen: int) -> npt.NDArray[np.uint8]:
    half = _SMALL_FROST_STEP // 2
    return _frost_picture(chosen)[half::_SMALL_FROST_STEP, half::_SMALL_FROST_STEP]


def least_frost_side(small: bool) -> int | None:
    """The least side that is too large for CIFAR-10-C's small frost pictures; None where all fit."""
    return min(min(_small_frost(each).shape[:2]) for each in range(len(_FROST_FILES))) if small else None


@lru_cache(maxsize=2 * len(_FROST_FILES))
def _frost(chosen: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A frost picture that is somewhat larger than height and width."""
    ice = _frost_picture(chosen)
    factor = _FROST_SCALE * max(1.0, height / ice.shape[0], width / ice.shape[1])
    size = [int(np.ceil(side * factor)) for side in ice.shape[:2]]
    rows, columns = (_cubic(side, wanted) for side, wanted in zip(ice.shape[:2], size, strict=True))
    down = np.tensordot(rows, ice.astype(np.float64), axes=(1, 0))
    resized = np.tensordot(columns, down, axes=(1, 1)).transpose(1, 0, 2)
    return np.clip(np.round(resized), 0, 255).astype(np.uint8)


def _cubic(side: int, wanted: int) -> Floats:
    """(wanted, side): what each wanted pixel takes of those that there are; the border is repeated."""
    places = (np.arange(wanted) + 0.5) * (side / wanted) - 0.5
    first = np.floor(places).astype(np.int64)
    matrix = np.zeros((wanted, side))
    for offset in range(-1, 3):
        away = np.abs(places - first - offset)
        near = ((_CUBIC + 2) * away - (_CUBIC + 3)) * away**2 + 1
        far = ((_CUBIC * away - 5 * _CUBIC) * away + 8 * _CUBIC) * away - 4 * _CUBIC
        weight = np.where(away <= 1, near, far)
        np.add.at(matrix, (np.arange(wanted), np.clip(first + offset, 0, side - 1)), weight)
    return matrix


def fog(picture: Floats, setting: tuple[float, float], random: Random) -> Floats:
    """Fog of uneven density, and less contrast behind it."""
    weight, decay = setting
    height, width, _ = picture.shape
    side = 1 << (max(height, width) - 1).bit_length()
    brightest = picture.max()
    foggy = picture + weight * plasma(side, decay, random)[:height, :width, np.newaxis]
    found: Floats = foggy * brightest / (brightest + weight)
    return found


def plasma(side: int, decay: float, random: Random) -> Floats:
    """A rough landscape of heights in [0, 1] by the diamond-square method on a torus (Fournier et al. 1982).

    Args:
        side: of the square, a power of two.
        decay: what the roughness is divided by at each finer step.
        random: of the roughness.
    """
    heights = np.zeros((side, side))
    step, roughness = side, 100.0

    def mean_of(four: Floats) -> Floats:
        return four / 4 + roughness * random.uniform(-roughness, roughness, four.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        sums = corners + np.roll(corners, -1, 0)
        sums = sums + np.roll(sums, -1, 1)
        heights[half::step, half::step] = mean_of(sums)
        middles = heights[half::step, half::step]
        above = middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1)
        heights[::step, half::step] = mean_of(above)
        beside = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0)
        heights[half::step, ::step] = mean_of(beside)
        step, roughness = half, roughness / decay
    heights -= heights.min()
    found: Floats = heights / heights.max()
    return found


def brightness(picture: Floats, added: float) -> Floats:
    """HSV's value is raised, hue and saturation stay; nothing is random."""
    value = picture.max(2, keepdims=True)
    raised = np.clip(value + added, 0, 1)
    factor = np.divide(raised, value, out=np.ones_like(value), where=value > 0)
    found: Floats = np.where(value > 0, picture * factor, raised)
    return found
