"""Pictures at the size and with the channels that a network takes (no torch)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.common.errors import UserError
from assay.models.info import Preprocessing

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

_MOST = 2**14  # pixels per side after a resize; more would fill the memory before any message


def prepared(image: NDArray[np.uint8], preprocessing: Preprocessing, name: str) -> NDArray[np.uint8]:
    """One image at a network's size, (C, H, W) uint8: channels, resize, crop.

    Args:
        image: (H, W, C).
        preprocessing: of the network.
        name: of the network, for messages.

    Raises:
        UserError: as :meth:`LoadedModel.prepare`.
    """
    pixels = _with_channels(image, len(preprocessing.mean), name)
    pixels = _centre_crop(_resized(pixels, preprocessing, name), preprocessing, name)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _with_channels(image: NDArray[np.uint8], channels: int, name: str) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.dtype != np.uint8:
        raise UserError(
            f"{name} takes an image as uint8 (height, width, channels), not {image.dtype} {image.shape}"
        )
    if image.shape[2] == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    if image.shape[2] != channels:
        raise UserError(
            f"{name} takes images of {channels} channels, this one has {image.shape[2]}; "
            "choose a data set or a model of the other kind"
        )
    return image


def _resized(image: NDArray[np.uint8], preprocessing: Preprocessing, name: str) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    target = _resize_target(height, width, preprocessing)
    if target == (height, width):
        return image
    if min(target) == 0:
        raise UserError(
            f"{name} keeps the aspect ratio, and the image of {height} x {width} would have no pixel left; "
            "leave it out"
        )
    if max(target) > _MOST:
        raise UserError(
            f"{name} resizes the image of {height} x {width} to more than {_MOST} pixels a side; correct its card"
        )
    resample = _FILTERS[preprocessing.interpolation]
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    resized = np.asarray(picture.resize((target[1], target[0]), resample))
    return resized.reshape(*target, image.shape[2])


def _resize_target(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """(height, width) after the resize.

    Where only the shorter side is given, the longer one is rounded down, as torchvision does. Where the image must
    cover a rectangle or fit into it, both sides are rounded to the nearest, as timm does.
    """
    resize = preprocessing.resize
    if resize is None:
        return height, width
    if resize == "direct":
        return preprocessing.crop
    if isinstance(resize, int):
        shorter = min(height, width)
        return resize * height // shorter, resize * width // shorter
    if preprocessing.fit == "exact":
        return resize
    ratios = height / resize[0], width / resize[1]
    ratio = min(ratios) if preprocessing.fit == "cover" else max(ratios)
    return round(height / ratio), round(width / ratio)


def _centre_crop(image: NDArray[np.uint8], preprocessing: Preprocessing, name: str) -> NDArray[np.uint8]:
    crop_height, crop_width = preprocessing.crop
    image = _padded(image, preprocessing, name)
    height, width = image.shape[:2]
    top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
    return image[top : top + crop_height, left : left + crop_width]


def _padded(image: NDArray[np.uint8], preprocessing: Preprocessing, name: str) -> NDArray[np.uint8]:
    """The image with a border, where it is smaller than the crop; an odd pixel goes below and to the right."""
    size = image.shape[:2]
    short = [max(0, wanted - side) for side, wanted in zip(size, preprocessing.crop, strict=True)]
    if not any(short):
        return image
    if preprocessing.pad is None:
        raise UserError(
            f"{name} takes {preprocessing.crop[0]} x {preprocessing.crop[1]} pixels and does not enlarge, "
            f"the image has {size[0]} x {size[1]}; choose a data set of larger images"
        )
    top, left = (missing // 2 for missing in short)
    bordered = np.empty((size[0] + short[0], size[1] + short[1], image.shape[2]), np.uint8)
    bordered[:] = preprocessing.pad
    bordered[top : top + size[0], left : left + size[1]] = image
    return bordered
