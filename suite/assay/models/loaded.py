"""A network with its card: pixels in [0, 1] go in, logits come out."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from assay.errors import UserError
from assay.models.info import ModelInfo, Preprocessing, Resize

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


class Normalised(nn.Module):
    """A network behind its normalisation: ``net((pixels - mean) / std)``, mean and std a value a channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(-1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W) in [0, 1]; returns logits (N, classes)."""
        logits: Tensor = self.net((pixels - self.mean) / self.std)
        return logits


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be asked.

    Attributes:
        info: its card.
        module: in eval mode and without parameter gradients; (N, C, H, W) float32 in [0, 1] to logits.
    """

    info: ModelInfo
    module: nn.Module

    def __post_init__(self) -> None:
        self.module.eval().requires_grad_(False)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        """The network's input for one image.

        Args:
            image: (H, W, C) uint8; a single channel is repeated for a network that takes three.

        Returns:
            (C, H, W) float32 in [0, 1], of ``info.input_shape``, on the CPU.

        Raises:
            UserError: the image has other channels than the network, or is smaller than the crop.
        """
        pixels = prepared(image, self.info.preprocessing, self.info.name)
        return torch.from_numpy(pixels.astype(np.float32)) / 255

    def with_resize(self, resize: Resize) -> "LoadedModel":
        """The same network behind another resize, such as ``"direct"``, which then is exact."""
        changed = {"resize": resize, "fit": "exact", **({"pad": None} if resize == "direct" else {})}
        preprocessing = self.info.preprocessing.model_copy(update=changed)
        return replace(self, info=self.info.model_copy(update={"preprocessing": preprocessing}))

    def to(self, device: torch.device) -> "LoadedModel":
        """The same model, its network moved to ``device``."""
        return replace(self, module=self.module.to(device))


def normalised(net: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    """``net`` behind its normalisation, or ``net`` itself where that changes nothing."""
    if set(preprocessing.mean) == {0.0} and set(preprocessing.std) == {1.0}:
        return net
    return Normalised(net, preprocessing)


def torch_device(name: str) -> torch.device:
    """The device called ``name``.

    Raises:
        UserError: no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; use cpu, cuda or cuda:1") from error
    if device.type not in {"cpu", "cuda"}:
        raise UserError(f"device {name!r} is not supported; use cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not there ({torch.cuda.device_count()} GPUs seen); use cpu")
    return device


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
    resample = _FILTERS[preprocessing.interpolation]
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    resized = np.asarray(picture.resize((target[1], target[0]), resample))
    return resized.reshape(*target, image.shape[2])


def _resize_target(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """(height, width) after the resize.

    Where only the shorter side is given the longer is rounded down, as torchvision does; where a rectangle is to be
    covered, or to contain the image, both are rounded to the nearest, as timm does.
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
    """The image with a border, where it is smaller than the crop; an odd pixel more goes below and to the right."""
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
