"""Digital corruptions: of values in [0, 1], float64 (H, W, C), except two that take 8-bit pictures."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from assay.data.corrupting.definitions.filters import Floats, Random, gaussian

Pixels = npt.NDArray[np.uint8]

_SMOOTHING, _REACH = 0.01, 0.005  # of elastic displacements, in sides of the picture


def contrast(picture: Floats, factor: float) -> Floats:
    """Every channel drawn towards its mean; nothing is random."""
    mean = picture.mean((0, 1), keepdims=True)
    found: Floats = (picture - mean) * factor + mean
    return found


def saturate(picture: Floats, setting: tuple[float, float]) -> Floats:
    """HSV's saturation is multiplied and raised; a pixel without a hue counts as red. Nothing is random."""
    factor, added = setting
    value, least = picture.max(2, keepdims=True), picture.min(2, keepdims=True)
    depth = np.divide(value - least, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(depth * factor + added, 0, 1)
    change = np.divide(wanted, depth, out=np.zeros_like(depth), where=depth > 0)
    coloured = value - (value - picture) * change
    grey = value * (1 - wanted * np.array([0.0, 1.0, 1.0])[: picture.shape[2]])
    found: Floats = np.where(depth > 0, coloured, grey)
    return found


def elastic_transform(picture: Floats, factor: float, random: Random) -> Floats:
    """Pixels move by smooth random displacements, of a size that follows the picture's."""
    height, width, _ = picture.shape
    reach, sigma = height * _REACH, (height * _SMOOTHING, width * _SMOOTHING)
    across, down = (
        gaussian(random.uniform(-reach, reach, (height, width)), sigma, mode="reflect", truncate=3) * factor
        for _ in range(2)
    )
    return _displaced(picture.astype(np.float32), across, down)


def small_elastic_transform(picture: Floats, setting: tuple[float, float, float], random: Random) -> Floats:
    """CIFAR-10-C's: a random affine map first, then displacements that need not be smooth."""
    size, smoothing, reach = setting
    height, width, _ = picture.shape
    side = min(height, width)
    mapped = _affine(picture.astype(np.float32), reach * side, random)
    across, down = (
        gaussian(random.uniform(-1, 1, (height, width)), smoothing * side, mode="reflect", truncate=3)
        * size
        * side
        for _ in range(2)
    )
    return _displaced(mapped, across, down)


def _displaced(picture: Floats, across: Floats, down: Floats) -> Floats:
    rows, columns = np.indices(picture.shape[:2])
    places = np.stack([rows + down.astype(np.float32), columns + across.astype(np.float32)])
    channels = [
        ndimage.map_coordinates(picture[..., channel], places, order=1, mode="reflect")
        for channel in range(picture.shape[2])
    ]
    return np.stack(channels, axis=2)


def _affine(picture: Floats, reach: float, random: Random) -> Floats:
    """The picture under the affine map that moves three points around its middle by at most ``reach``."""
    height, width, channels = picture.shape
    middle, arm = np.array([height // 2, width // 2], float), min(height, width) // 3
    before = middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    after = before + random.uniform(-reach, reach, before.shape)
    # Points are (x, y); what is wanted is the map back, from the new place to the old one, in (row, column).
    back = np.linalg.solve(np.column_stack([after, np.ones(3)]), before).T
    matrix, offset = back[::-1, 1::-1], back[::-1, 2]
    moved = [
        ndimage.affine_transform(picture[..., channel], matrix, offset, order=1, mode="mirror")
        for channel in range(channels)
    ]
    return np.stack(moved, axis=2)


def pixelate(picture: Pixels, scale: float, enlarge: Image.Resampling) -> Pixels:
    """Fewer, larger pixels; nothing is random."""
    height, width, _ = picture.shape
    small = _image(picture).resize((int(width * scale), int(height * scale)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), enlarge)).reshape(picture.shape)


def jpeg_compression(picture: Pixels, quality: int) -> Pixels:
    """JPEG's artefacts; a grey picture is compressed as a colour picture. Nothing is random."""
    buffer = io.BytesIO()
    _image(picture).convert("RGB").save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as compressed:
        found = compressed.convert("L") if picture.shape[2] == 1 else compressed
        return np.asarray(found).reshape(picture.shape)


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
