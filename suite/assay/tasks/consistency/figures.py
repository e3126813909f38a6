"""The pictures of the measure: distributions, top images with their fields, and the gap by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from assay.tasks.consistency.metric import Floats
from assay.tasks.consistency.outline import Box
from assay.tasks.consistency.scores import LayerEstimate

Pixels = npt.NDArray[np.uint8]
REAL_COLOUR, ADV_COLOUR, FLOOR_COLOUR = "#3b6ea8", "#c0504d", "#444444"


@dataclass(frozen=True)
class TopImage:
    """One image of a sheet.

    Attributes:
        pixels: (H, W, 3) uint8.
        caption: what it shows, e.g. its class.
        field: where the neuron looks, outlined.
        warned: draw a red frame, as in the paper's Fig. 2: the target of this adversarial image is what the neuron
            stands for.
    """

    pixels: Pixels
    caption: str
    field: Box
    warned: bool = False


@dataclass(frozen=True)
class NeuronSheet:
    """One neuron's top images, best first."""

    title: str
    real: Sequence[TopImage]
    adversarial: Sequence[TopImage]


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes that depend on nothing but the figure."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def consistency_histograms(
    consis: Floats, consis_adv: Floats, floor: float, floor_adv: float, title: str
) -> Figure:
    """The distribution over neurons on real (above) and adversarial (below) images: the paper's Fig. 5.

    Args:
        consis: (neurons,) on real images.
        consis_adv: (neurons,) on adversarial images.
        floor: mean floor of consis, drawn as a line.
        floor_adv: mean floor of consis_adv.
        title: of the figure.
    """
    figure = Figure(figsize=(6, 5), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    both = np.concatenate([consis, consis_adv])
    edges = np.histogram_bin_edges(both, bins=40)
    _histogram(upper, consis, edges, floor, "consis(n), real images", REAL_COLOUR)
    _histogram(lower, consis_adv, edges, floor_adv, "consis_adv(n), adversarial images", ADV_COLOUR)
    lower.set_xlabel("consistency")
    return figure


def _histogram(axes: Axes, values: Floats, edges: Floats, floor: float, label: str, colour: str) -> None:
    axes.hist(values, bins=edges.tolist(), color=colour, label=f"{label}, mean {values.mean():.4f}")
    axes.axvline(floor, color=FLOOR_COLOUR, linestyle="--", label=f"floor {floor:.4f}")
    axes.set_ylabel("neurons")
    axes.legend(loc="upper right", fontsize=8)


def top_image_sheet(neurons: Sequence[NeuronSheet]) -> Figure:
    """Two rows per neuron, real above adversarial, the receptive field outlined: the paper's Fig. 2 to 4."""
    rows = [
        (f"{sheet.title}\n{kind}", images)
        for sheet in neurons
        for kind, images in (("real", sheet.real), ("adversarial", sheet.adversarial))
    ]
    columns = max(len(images) for _, images in rows)
    figure = Figure(figsize=(1.5 * columns + 0.6, 1.7 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (label, images) in zip(grid, rows, strict=True):
        line[0].text(
            -0.1, 0.5, label, transform=line[0].transAxes, rotation=90, ha="right", va="center", size=7
        )
        for axes, image in zip(line, images, strict=False):
            _draw(axes, image)
    return figure


def _draw(axes: Axes, image: TopImage) -> None:
    height, width = image.pixels.shape[:2]
    field = image.field
    axes.imshow(image.pixels)
    axes.add_patch(
        _frame(field.left, field.top, field.right - field.left, field.bottom - field.top, "yellow")
    )
    if image.warned:
        axes.add_patch(_frame(0, 0, width, height, "red"))
    axes.set_title(image.caption, size=6)


def _frame(left: float, top: float, width: float, height: float, colour: str) -> Rectangle:
    return Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=1.5)


def gap_by_layer(real: Mapping[str, LayerEstimate], adversarial: Mapping[str, LayerEstimate]) -> Figure:
    """The mean excess over the floor with its interval, layer by layer in the order given."""
    layers = list(real)
    figure = Figure(figsize=(max(5.0, 0.9 * len(layers)), 4), layout="constrained")
    axes = figure.subplots()
    for estimates, colour, label in ((real, REAL_COLOUR, "real"), (adversarial, ADV_COLOUR, "adversarial")):
        values = np.array([estimates[layer].value for layer in layers])
        ends = [
            (estimate.low, estimate.high) if estimate.low is not None else (estimate.value, estimate.value)
            for estimate in (estimates[layer] for layer in layers)
        ]
        reach = np.abs(np.array(ends, dtype=np.float64).T - values)
        axes.errorbar(range(len(layers)), values, yerr=reach, color=colour, label=label, marker="o")
    axes.axhline(0, color=FLOOR_COLOUR, linestyle="--", label="floor")
    axes.set_xticks(range(len(layers)), layers, rotation=30, ha="right")
    axes.set_ylabel("excess over the floor")
    axes.legend()
    return figure
