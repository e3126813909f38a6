"""A network with its card: pixels in [0, 1] go in, logits come out."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.data.pixels import read_picture
from assay.models.info import ModelInfo, Preprocessing, Resize
from assay.models.pictures import prepared

DEVICE_KINDS = {"cpu", "cuda"}  # what a network may be asked to compute on


class Normalised(nn.Module):
    """A network behind its normalisation: ``net((pixels - mean) / std)``, with one mean and one std per channel."""

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
    """A model that is ready to answer.

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

    def read(self, path: Path) -> Tensor:
        """The network's input for a picture's file, as :meth:`prepare` makes it.

        Raises:
            UserError: the file is no picture, or does not come to the network's size.
        """
        return self.of_own_size(self.prepare(read_picture(path, self.info.input_shape[0])), str(path))

    def of_own_size(self, image: Tensor, what: str) -> Tensor:
        """The image, (C, H, W), found to be of the network's size; ``what`` names it in the message.

        Raises:
            UserError: it is not.
        """
        if tuple(image.shape) != self.info.input_shape:
            raise UserError(
                f"{what}: is {tuple(image.shape)} where {self.info.name} reads {self.info.input_shape}; resize it"
            )
        return image

    def with_resize(self, resize: Resize) -> "LoadedModel":
        """The same network behind another resize, such as ``"direct"``, which then is exact."""
        return replace(self, info=self.info.with_resize(resize))

    def to(self, device: torch.device) -> "LoadedModel":
        """The same model, its network moved to ``device``."""
        return replace(self, module=self.module.to(device))


def normalised(net: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    """``net`` behind its normalisation, or ``net`` itself where that changes nothing."""
    if set(preprocessing.mean) == {0.0} and set(preprocessing.std) == {1.0}:
        return net
    return Normalised(net, preprocessing)


def device_of(network: nn.Module) -> torch.device:
    """Where the weights are; the CPU for a network without any."""
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def torch_device(name: str) -> torch.device:
    """The device called ``name``.

    Raises:
        UserError: no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; use cpu, cuda or cuda:1") from error
    if device.type not in DEVICE_KINDS:
        raise UserError(f"device {name!r} is not supported; use cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not there ({torch.cuda.device_count()} GPUs seen); use cpu")
    return device
