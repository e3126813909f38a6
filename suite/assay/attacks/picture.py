"""One attacked image as a picture: before, after, and the amplified difference, with what the network says."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from torch import Tensor

_PANEL_INCHES, _DPI = 3.1, 130


@dataclass(frozen=True)
class AttackWords:
    """What stands in the picture.

    Attributes:
        title: above everything.
        before: the network's answer to the image.
        after: its answer to the attacked one.
    """

    title: str
    before: str
    after: str


def amplified(change: Tensor) -> tuple[Tensor, float | None]:
    """A difference of images around middle grey, its largest entry at black or white; and by how much it was amplified.

    None where nothing changed.
    """
    largest = float(change.abs().max())
    return (0.5 + 0.5 * change / largest, 0.5 / largest) if largest else (change + 0.5, None)


def attack_png(image: Tensor, adversarial: Tensor, words: AttackWords) -> bytes:
    """The PNG of an image and an adversarial one, (C, H, W) in [0, 1] each."""
    from matplotlib.figure import Figure

    change, factor = amplified(adversarial - image)
    said = "no difference" if factor is None else f"difference, x {factor:.3g}"
    figure = Figure(figsize=(3 * _PANEL_INCHES, _PANEL_INCHES + 0.5), dpi=_DPI, layout="constrained")
    figure.suptitle(words.title, fontsize=10)
    panels = ((image, words.before), (change, said), (adversarial, words.after))
    for panel, (pixels, title) in zip(figure.subplots(1, 3), panels, strict=True):
        shown = pixels.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
        shown = np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown
        panel.imshow(shown, interpolation="nearest")
        panel.set_title(title, fontsize=9)
        panel.axis("off")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
