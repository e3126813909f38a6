"""Renders that get noisy, blurred or foggy before the network sees them; every view by a seed of its own."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from assay.data.corrupting.corruption import Corruption
from assay.data.corrupting.level import Level, corrupted


def corrupted_renders(images: Tensor, corruption: Corruption, views: Sequence[str]) -> Tensor:
    """The renders of some views, rounded to 8 bit and corrupted as pictures are.

    Args:
        images: (N, 3, S, S) in [0, 1].
        corruption: what is done to them.
        views: a name for each, which seeds its random numbers.

    Returns:
        (N, 3, S, S) float32 in [0, 1] on the images' device.
    """
    pixels = (images.permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
    settings = corruption.settings_for(pixels.shape[1:])
    level = Level(corruption.kind, corruption.severity, settings, corruption.seed)
    made = np.stack([corrupted(picture, level, view) for picture, view in zip(pixels, views, strict=True)])
    return torch.from_numpy(made.transpose(0, 3, 1, 2)).to(images.device, torch.float32) / 255


def view_names(shape: str, points: Tensor) -> list[str]:
    """A name for each view of a shape: the shape's id and the point (n,) of the semantic space, to six digits."""
    return [f"{shape}@{','.join(f'{value:.6g}' for value in point)}" for point in points.tolist()]
