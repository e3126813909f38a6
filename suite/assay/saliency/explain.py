"""What a network by name, or in memory, looks at in some images: the call that ``assay.saliency(...)`` is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.saliency import maps

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from assay.models.in_memory import Said


def saliency(
    model: "str | Path | nn.Module",
    images: "Tensor | np.ndarray[Any, Any]",
    method: str = "gradient",
    *,
    target: "Tensor | Sequence[int] | int | None" = None,
    batch_size: int = 32,
    preprocessing: "Said" = None,
    device: str = "cpu",
    **settings: Any,
) -> "Tensor":
    """One saliency map per image.

    Args:
        model: a name, a card, or a module in memory (see :func:`assay.evaluate`).
        images: (N, C, H, W) in [0, 1], of the network's own size.
        method: such as ``gradient``, ``smoothgrad``, ``integrated_gradients``, ``grad_cam`` or ``occlusion``.
        target: the class that each map is about, or one for all; the predicted ones where it is left out.
        batch_size: images, or altered copies of one, in a pass.
        preprocessing: of a module in memory.
        device: where it is computed.
        settings: the method's own, such as ``samples=100``.

    Returns:
        (N, H, W), positive where the pixel speaks for the class.

    Raises:
        UserError: an unknown method or setting, images or classes that do not fit, a network that it cannot explain.
    """
    import torch

    from assay.models.given import classes, pictures, whole_number
    from assay.models.in_memory import as_model

    whole_number("batch_size", batch_size)
    loaded = as_model(model, preprocessing, device)
    pixels = pictures(images, loaded, device)
    if target is None:
        with torch.no_grad():
            about = loaded.module(pixels).argmax(1)
    else:
        each = [target] * len(pixels) if isinstance(target, int) else target
        about = classes(each, len(pixels), loaded, "target", device)
    return maps(loaded.module, pixels, about, method, batch_size=batch_size, **settings)
