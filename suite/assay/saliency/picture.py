"""A picture of an image, its saliency maps, and each map over the image."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from assay.saliency.settings import METHODS, Shown

_COLUMNS = 5  # panels in a row at the most
_PANEL_INCHES, _DPI = 2.6, 130
_CLIPPED_PERCENT = 99.5  # a few pixels of a gradient are far stronger than all others
_COLOURS = "inferno"
_OPACITY = 0.65  # of the strongest colour: the image is seen below a broad map too

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Caption:
    """What a picture says of itself.

    Attributes:
        model: the network's name.
        image: the image's name.
        explained: the class that the maps are about, with its probability.
    """

    model: str
    image: str
    explained: str


def strength(saliency: Floats, shown: Shown) -> Floats:
    """A map (H, W) as strengths in [0, 1]: its absolute or positive part over its 99.5th percentile.

    A map without any such part is zero everywhere.
    """
    part = np.abs(saliency) if shown == "absolute" else np.maximum(saliency, 0)
    top = float(np.percentile(part, _CLIPPED_PERCENT)) or float(part.max())
    return np.zeros_like(part) if top == 0 else np.clip(part / top, 0, 1)


def overlay(image: Floats, strengths: Floats) -> Floats:
    """Strengths (H, W) as colours over the image's greys, (H, W, 3) in [0, 1]; weak ones let the image through."""
    grey = 0.25 + 0.6 * image.mean(axis=2, keepdims=True)
    colours = colormaps[_COLOURS](0.25 + 0.75 * strengths)[..., :3]
    weight = _OPACITY * np.sqrt(strengths)[..., None]
    blended: Floats = ((1 - weight) * grey + weight * colours).astype(np.float32)
    return blended


def draw(image: Floats, maps: Mapping[str, Floats], caption: Caption) -> bytes:
    """PNG of the image, the maps (absolute or positive, as the method has it), and each over the image.

    Args:
        image: (H, W, 1) or (H, W, 3) in [0, 1].
        maps: method to (H, W).
        caption: said above the picture.
    """
    image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    figure = Figure(dpi=_DPI, layout="constrained")
    figure.suptitle(f"{caption.model} on {caption.image}: saliency for {caption.explained}", fontsize=11)
    if len(maps) == 1:
        _one(figure, image, maps)
    else:
        _many(figure, image, maps)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _one(figure: Figure, image: Floats, maps: Mapping[str, Floats]) -> None:
    figure.set_size_inches(3 * _PANEL_INCHES * 1.2, 1.2 * _PANEL_INCHES + 0.7)
    first, second, third = figure.subplots(1, 3)
    ((method, saliency),) = maps.items()
    strengths = strength(saliency, METHODS[method].shown)
    _panel(first, image, "image")
    _panel(second, strengths, f"{METHODS[method].title} ({METHODS[method].shown})")
    _panel(third, overlay(image, strengths), "over the image")


def _many(figure: Figure, image: Floats, maps: Mapping[str, Floats]) -> None:
    """The image in the first place, and below each map the same over the image; rows are filled evenly."""
    panels = len(maps) + 1
    bands = -(-panels // _COLUMNS)
    columns = -(-panels // bands)
    figure.set_size_inches(columns * _PANEL_INCHES, bands * (2 * _PANEL_INCHES + 0.25) + 0.4)
    axes = figure.subplots(2 * bands, columns)
    for panel in axes.flat:
        panel.axis("off")
    _panel(axes[0, 0], image, "image")
    for place, (method, saliency) in enumerate(maps.items(), start=1):
        row, column = divmod(place, columns)
        strengths = strength(saliency, METHODS[method].shown)
        _panel(axes[2 * row, column], strengths, f"{METHODS[method].title} ({METHODS[method].shown})")
        _panel(axes[2 * row + 1, column], overlay(image, strengths), "")


def _panel(panel: Axes, pixels: Floats, title: str) -> None:
    panel.imshow(pixels, cmap=_COLOURS, vmin=0, vmax=1, interpolation="nearest")
    panel.set_title(title, fontsize=9)
    panel.axis("off")
