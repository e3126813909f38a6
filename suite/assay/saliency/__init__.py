"""What a network looks at: saliency maps by published methods, and how well they align with the image.

``settings`` says which methods there are and what each can be asked, without importing torch;
``compute`` makes the maps, most of them by Captum (here as :func:`maps` and :func:`channel_maps`). The package itself
can be called, as ``assay.saliency(...)``: see :func:`assay.saliency.explain.saliency`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def maps(
    network: "nn.Module",
    images: "Tensor",
    target: "Tensor",
    method: str,
    *,
    batch_size: int = 32,
    **settings: Any,
) -> "Tensor":
    """One saliency map per image; see :func:`assay.saliency.compute.maps`."""
    from assay.saliency import compute
    from assay.saliency.settings import settings_of

    return compute.maps(network, images, target, settings_of(method, settings), batch_size)


def channel_maps(
    network: "nn.Module",
    images: "Tensor",
    target: "Tensor",
    method: str,
    *,
    batch_size: int = 32,
    **settings: Any,
) -> "Tensor":
    """The saliency of every component of every image; see :func:`assay.saliency.compute.channel_maps`."""
    from assay.saliency import compute
    from assay.saliency.settings import settings_of

    return compute.channel_maps(network, images, target, settings_of(method, settings), batch_size)


class _Called(ModuleType):
    """A package that can be called by its own name, since most users need only that call."""

    def __call__(self, *arguments: Any, **settings: Any) -> "Tensor":
        """See :func:`assay.saliency.explain.saliency`."""
        from assay.saliency.explain import saliency

        return saliency(*arguments, **settings)


sys.modules[__name__].__class__ = _Called
