"""TensorBoard: event files, a folder for each model and task, by torch's writer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.exports.figures import ExportedFigure, ExportedResult, figures_of
from assay.exports.places import portable


def write(results: Sequence[ExportedResult], out: Path) -> None:
    """Write a log folder.

    A figure is the scalars ``KEY/value``, ``KEY/ci_low`` and ``KEY/ci_high`` at step 0, and a text ``KEY`` with all of
    its facts. Points of a curve also are the scalar ``SERIES/curve``, a step each in the order of the curve. Intervals
    stand under "Custom scalars".

    Args:
        results: each becomes a run of TensorBoard's; the run of a result in doubt is named by its doubt.
        out: the folder.
    """
    from torch.utils.tensorboard import SummaryWriter

    for result in results:
        document = result.document
        name = ".".join(filter(None, (portable(document.task), result.doubt)))
        time = (result.finished or datetime.now(UTC)).timestamp()
        with SummaryWriter(str(out / portable(document.model.name) / name)) as writer:
            figures = list(figures_of(result))
            for figure in figures:
                _add_figure(writer, figure, time)
            _add_curves(writer, figures, time)
            bands = {
                figure.key: ["Margin", _band(figure)] for figure in figures if len(_scalars(figure)) == 3
            }
            if bands:
                writer.add_custom_scalars({document.task: bands})
            if result.doubt:
                writer.add_text(result.doubt, result.explanation, 0, time)


def _scalars(figure: ExportedFigure) -> dict[str, float]:
    metric = figure.metric
    values = {"value": metric.value, "ci_low": metric.ci_low, "ci_high": metric.ci_high}
    return {f"{figure.key}/{name}": value for name, value in values.items() if value is not None}


def _band(figure: ExportedFigure) -> list[str]:
    return [f"{figure.key}/{name}" for name in ("value", "ci_low", "ci_high")]


def _add_figure(writer: Any, figure: ExportedFigure, time: float) -> None:
    for tag, value in _scalars(figure).items():
        writer.add_scalar(tag, value, 0, time, new_style=True, double_precision=True)
    rows = [f"| {name} | {value} |" for name, value in {"value": figure.value, **figure.facts}.items()]
    writer.add_text(figure.key, "\n".join([f"| {figure.heading} | |", "|---|---|", *rows]), 0, time)


def _add_curves(writer: Any, figures: Sequence[ExportedFigure], time: float) -> None:
    curves: dict[str, list[ExportedFigure]] = {}
    for figure in figures:
        if figure.metric.series is not None:
            curves.setdefault(figure.metric.series, []).append(figure)
    for series, points in curves.items():
        tag = "/".join(filter(None, (points[0].of.doubt, series, "curve")))
        for step, point in enumerate(points):
            writer.add_scalar(tag, point.value, step, time, new_style=True, double_precision=True)
