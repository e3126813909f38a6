"""Pictures of maps, regions, traces and renders, as PNG bytes; no torch, no global state of matplotlib."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.maps import GridAxis
from assay.tasks.srvr.traps import Trap

COLOURS = {"naive": "#d7191c", "OIR_B": "#00b8d4", "OIR_W": "#f048c6", "trapezoid": "#e66101"}
_OTHER_COLOUR = "#4d4d4d"
_LONGEST = 24  # characters of a name beside curves
_DPI = 110


@dataclass(frozen=True)
class RegionMark:
    """A region to draw on a map, with the point it grew from; all (azimuth, elevation) in degrees."""

    method: str
    low: tuple[float, float]
    high: tuple[float, float]
    initial: tuple[float, float]


def map_figure(
    scores: FloatArray,
    azimuth: GridAxis,
    elevation: GridAxis,
    title: str,
    regions: Sequence[RegionMark] = (),
    traps: Sequence[Trap] = (),
) -> bytes:
    """A semantic map (E, A) with regions, initial points and traps on it (the paper's Fig. 3 to 5)."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    image = _draw_map(axes, scores, azimuth, elevation, traps)
    figure.colorbar(image, ax=axes, label="score of the class")
    for region in regions:
        _draw_region(axes, region)
    if regions or traps:
        _legend_once(figure, axes)
    axes.set(xlabel="azimuth (°)", ylabel="elevation (°)", title=title)
    return _png(figure)


def map_grid_figure(
    maps: Mapping[str, tuple[FloatArray, Sequence[Trap]]], azimuth: GridAxis, elevation: GridAxis, title: str
) -> bytes:
    """Semantic maps with their traps, two in a row, each under its name."""
    columns = min(len(maps), 2)
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(2 + 4 * columns, 0.8 + 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.ravel()[len(maps) :]:
        axes.set_axis_off()
    for axes, (name, (scores, traps)) in zip(panels.ravel(), maps.items(), strict=False):
        image = _draw_map(axes, scores, azimuth, elevation, traps)
        axes.set_title(name, fontsize="small")
    figure.colorbar(image, ax=panels, label="score of the class")
    figure.supxlabel("azimuth (°)")
    figure.supylabel("elevation (°)")
    figure.suptitle(title)
    return _png(figure)


def trace_figure(traces: Mapping[str, FloatArray], names: Sequence[str], title: str) -> bytes:
    """The bounds over the iterations, a panel for each parameter (the paper's Fig. 10 to 12).

    Args:
        traces: method to (T, 2, n): lower and upper bounds after each update.
        names: the n parameters.
        title: of the figure.
    """
    figure = Figure(figsize=(8, 2.4 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), squeeze=False)[:, 0]
    for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for method, trace in traces.items():
            colour = COLOURS.get(method, _OTHER_COLOUR)
            axes.plot(trace[:, 0, k], color=colour, label=method)
            axes.plot(trace[:, 1, k], color=colour)
        axes.set(xlabel="iteration", ylabel=name)
    panels[0].legend(loc="upper left", fontsize="small")
    figure.suptitle(title)
    return _png(figure)


def profile_figure(profiles: Mapping[str, FloatArray], axis: GridAxis, title: str) -> bytes:
    """Maps of one parameter as curves (the paper's Fig. 1): name to (count,) scores."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for name, scores in profiles.items():
        axes.plot(axis.values, scores, label=name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…")
    axes.set(xlabel=axis.name, ylabel="score of the class", ylim=(0, 1.02), title=title)
    figure.legend(loc="outside right upper", fontsize="small")
    return _png(figure)


def contact_sheet(images: npt.NDArray[np.floating], captions: Sequence[str], columns: int = 6) -> bytes:
    """Renders side by side, each with its caption.

    Args:
        images: (K, S, S) grey or (K, S, S, 3) intensities in [0, 1].
        captions: K lines.
        columns: images in a row.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image, caption in zip(panels, images, captions, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(caption, fontsize=7)
    return _png(figure)


def _draw_map(
    axes: Axes, scores: FloatArray, azimuth: GridAxis, elevation: GridAxis, traps: Sequence[Trap]
) -> AxesImage:
    """A map (E, A) and its traps' lowest cells; the axes end where regions do."""
    extent = (
        azimuth.low - azimuth.step / 2,
        azimuth.low + azimuth.step * (azimuth.count - 0.5),
        elevation.low - elevation.step / 2,
        elevation.low + elevation.step * (elevation.count - 0.5),
    )
    image = axes.imshow(
        scores,
        origin="lower",
        extent=extent,
        aspect="auto",
        vmin=0,
        vmax=1,
        cmap="viridis",
        interpolation="nearest",
    )
    if traps:
        centres = [(trap.azimuth_deg, trap.elevation_deg) for trap in traps]
        axes.plot(*zip(*centres, strict=True), "x", color="#ff7f00", label="trap")
    seam = azimuth.low + azimuth.step * azimuth.count  # regions end here, half a cell beyond the last one
    axes.set_ylim(extent[2:])
    axes.set_xlim(extent[0], seam if azimuth.periodic else extent[1])
    return image


def _draw_region(axes: Axes, region: RegionMark) -> None:
    """The rectangle of a region and its initial point."""
    colour = COLOURS.get(region.method, _OTHER_COLOUR)
    width, height = region.high[0] - region.low[0], region.high[1] - region.low[1]
    axes.add_patch(
        Rectangle(region.low, width, height, fill=False, edgecolor=colour, linewidth=1.6, label=region.method)
    )
    axes.plot(*region.initial, marker="o", markersize=4, color="white", markeredgecolor=colour)


def _legend_once(figure: Figure, axes: Axes) -> None:
    """A legend below the map that names each kind of mark once."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    labels = list(unique)
    figure.legend(
        [unique[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=len(labels),
        fontsize="small",
    )


def _png(figure: Figure) -> bytes:
    """The figure as a PNG without a creation date, so that equal figures are equal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
