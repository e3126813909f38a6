"""One attacked image as a picture: before, after, and the amplified difference, with what the network says."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
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


def attack_png(image: Tensor, adversarial: Tensor, words: AttackWords) -> bytes:
    """The PNG of an image and an adversarial one, (C, H, W) in [0, 1] each."""
    change = adversarial - image
    largest = float(change.abs().max())
    amplified = 0.5 + 0.5 * change / largest if largest else change + 0.5
    factor = f"difference, x {0.5 / largest:.3g}" if largest else "no difference"
    figure = Figure(figsize=(3 * _PANEL_INCHES, _PANEL_INCHES + 0.5), dpi=_DPI, layout="constrained")
    figure.suptitle(words.title, fontsize=10)
    panels = ((image, words.before), (amplified, factor), (adversarial, words.after))
    for panel, (pixels, title) in zip(figure.subplots(1, 3), panels, strict=True):
        shown = pixels.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
        shown = np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown
        panel.imshow(shown, interpolation="nearest")
        panel.set_title(title, fontsize=9)
        panel.axis("off")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
