"""The matrix of a study as a picture: tau in colour, its interval in words, a frame where it is shown."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from assay.board.study.findings import Pair
from assay.board.study.table import Measure

_CELL = 1.25  # inches
_HALF = 0.47  # of a cell, with a gap to its neighbours
_DARK = 0.6  # |tau| above which ink is white


def matrix_png(measures: Sequence[Measure], pairs: Sequence[Pair]) -> bytes:
    """The matrix: measures along both sides, the pairs below the diagonal.

    Args:
        measures: in the order of the pairs.
        pairs: of :func:`assay.board.study.findings.pairs_of`.
    """
    count = len(measures)
    at = {measure.id: index for index, measure in enumerate(measures)}
    figure = Figure(figsize=(2.6 + _CELL * (count - 1), 1.6 + _CELL * (count - 1)), layout="constrained")
    panel = figure.subplots()
    colours = figure.colorbar(
        _coloured(panel, pairs, at), ax=panel, shrink=0.6, label="Kendall's τ (better goes with better)"
    )
    colours.outline.set_visible(False)
    panel.set_xlim(-0.5, count - 1.5)
    panel.set_ylim(count - 0.5, 0.5)
    panel.set_xticks(range(count - 1), [_wrapped(measure.title, 15) for measure in measures[:-1]], fontsize=8)
    panel.set_yticks(range(1, count), [_wrapped(measure.title, 22) for measure in measures[1:]], fontsize=8)
    panel.tick_params(length=0)
    panel.set_aspect("equal")
    for side in panel.spines.values():
        side.set_visible(False)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _coloured(panel: Axes, pairs: Sequence[Pair], at: Mapping[str, int]) -> ScalarMappable:
    """Draw a cell per pair; gives what the colour bar is of."""
    scale = ScalarMappable(Normalize(-1, 1), "RdBu")
    for pair in pairs:
        tau, x, y = pair.association.tau, at[pair.a.id], at[pair.b.id]
        _cell(panel, x, y, facecolor="#eeeeee" if tau is None else scale.cmap((1 + tau) / 2))
        if tau is None:
            _cell(panel, x, y, fill=False, hatch="//", edgecolor="#bbbbbb", linewidth=0)
        if pair.shown:
            _cell(panel, x, y, fill=False, edgecolor="black", linewidth=2)
        ink = "white" if tau is not None and abs(tau) > _DARK else "black"
        panel.text(x, y, _words(pair), ha="center", va="center", fontsize=8, color=ink)
    return scale


def _cell(panel: Axes, x: int, y: int, **look: Any) -> None:
    panel.add_patch(Rectangle((x - _HALF, y - _HALF), 2 * _HALF, 2 * _HALF, **look))


def _words(pair: Pair) -> str:
    found = pair.association
    if found.tau is None:
        return f"n {found.clusters}"
    interval = f"\n[{found.low:.2f}, {found.high:.2f}]" if found.low is not None else ""
    return f"{found.tau:.2f}{interval}\nn {found.clusters}"


def _wrapped(title: str, width: int) -> str:
    return "\n".join(textwrap.wrap(title, width))
