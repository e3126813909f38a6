"""Pictures as 8-bit PNGs, and back. Torch is imported only where pixels are written or read."""

import io
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


_MOST_PIXELS = 2**24
"""The most pixels that are unpacked: far more than any network takes, and far less than fills the memory."""


def png_bytes(image: "Tensor") -> bytes:
    """One (C, H, W) image in [0, 1] as an 8-bit PNG, grey for one channel and RGB for three."""
    import torch

    pixels = (image * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def read_png(content: bytes) -> "Tensor":
    """(C, H, W) float32 in [0, 1], as :func:`png_bytes` wrote it.

    Raises:
        ValueError: it is no whole picture, or claims to be a giant.
    """
    import torch

    try:
        picture = Image.open(io.BytesIO(content), formats=["PNG"])
        if prod(picture.size) > _MOST_PIXELS:
            raise ValueError("more pixels than a network takes")
        pixels = np.asarray(picture)
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise ValueError("a picture that is not a complete PNG") from error
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)) / 255
