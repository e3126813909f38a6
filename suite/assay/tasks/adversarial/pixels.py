"""Pixels in [0, 1] as 8-bit PNGs, and back."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def rounded(images: Tensor) -> Tensor:
    """Images in [0, 1] with each pixel at the nearest of 0/255 .. 255/255."""
    return (images * 255).round().clamp(0, 255) / 255


def png_bytes(image: Tensor) -> bytes:
    """One (C, H, W) image in [0, 1] as an 8-bit PNG, grey for one channel and RGB for three."""
    pixels = (image * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def read_png(content: bytes) -> Tensor:
    """(C, H, W) float32 in [0, 1], as :func:`png_bytes` wrote it."""
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)) / 255
