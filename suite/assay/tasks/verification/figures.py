"""Pictures of a verification, as Figs. 1 to 3 of Munakata et al.: regions, saliency panels, ai on a ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from torch import Tensor

from assay.tasks.verification.attention import counted_labels, saliency_maps
from assay.tasks.verification.network import PiecewiseNetwork
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.verify import PropertyFinding, Verification

Target = Path | BinaryIO

_SATISFIED, _VIOLATED, _PARTIAL = "#4477aa", "#cc3311", "#eecc66"


def region_map(result: Verification, theta: Theta, image: Tensor, target: Target) -> None:
    """Draw where each property holds, a panel a finding, and the image at chosen points (Fig. 3).

    Blue cells satisfy the property, red ones violate it throughout, yellow ones in part; the black line
    borders the part connected to the unperturbed image. If there are three parameters, the first two are drawn.

    Args:
        result: of `verify`, with at least one cell.
        theta: the range that was verified, of two or three parameters.
        image: (C, H, W), the image itself.
        target: PNG file or stream to write.
    """
    figure = Figure(figsize=(4.6 * len(result.findings), 6.2), layout="constrained")
    columns = figure.subplots(2, len(result.findings), squeeze=False, height_ratios=(3, 1))
    for (panel, strip), finding in zip(columns.T, result.findings, strict=True):
        points = _chosen_points(theta, finding)
        _draw_regions(panel, result, finding, theta)
        for number, point in enumerate(points, 1):
            panel.annotate(
                str(number), point[:2].tolist(), ha="center", bbox={"boxstyle": "circle", "fc": "white"}
            )
        strip.imshow(
            _side_by_side([theta.apply(image.double(), point) for point in points]),
            cmap="gray",
            vmin=0,
            vmax=1,
        )
        strip.set_title("image at " + ", ".join(str(number + 1) for number in range(len(points))), fontsize=9)
        strip.axis("off")
    _write(figure, target)


def _draw_regions(panel: Axes, result: Verification, finding: PropertyFinding, theta: Theta) -> None:
    assert result.table is not None
    table = result.table
    satisfied, violated = table.satisfied(finding.delta), table.violated(finding.delta)
    for rows, colour in ((violated, _VIOLATED), (~satisfied & ~violated, _PARTIAL), (satisfied, _SATISFIED)):
        corners = [points[:, :2].numpy() for points in table.cells.points[rows]]
        panel.add_collection(PolyCollection(corners, facecolors=colour, edgecolors="white", linewidths=0.1))
    if finding.component is not None and theta.dimension == 2:
        panel.add_collection(
            LineCollection(list(finding.component.boundary.numpy()), colors="black", linewidths=1.2)
        )
    name = finding.name if finding.delta is None else f"AR, delta = {finding.delta:g}"
    title = f"{name}: {finding.verdict} ({finding.satisfied:.1%} satisfied)"
    panel.set_title(title, pad=14)  # clear of the points on the edge
    panel.set_xlim(float(theta.lower[0]), float(theta.upper[0]))
    panel.set_ylim(float(theta.lower[1]), float(theta.upper[1]))
    panel.set_xlabel(theta.names[0])
    panel.set_ylabel(theta.names[1])


def _chosen_points(theta: Theta, finding: PropertyFinding) -> list[Tensor]:
    """The lowest corner, the farthest safe point if any, the middle and the highest corner of the range."""
    points = [theta.lower, (theta.lower + theta.upper) / 2, theta.upper]
    if finding.component is not None and finding.component.farthest is not None:
        points.insert(1, finding.component.farthest)
    return points


@dataclass(frozen=True)
class MapColumn:
    """The image at one point of the range, and its maps summed over channels.

    Attributes:
        title: above the column.
        image: (C, H, W).
        actual: (H, W).
        expected: (H, W).
    """

    title: str
    image: Tensor
    actual: Tensor
    expected: Tensor


def saliency_panels(
    network: PiecewiseNetwork, image: Tensor, theta: Theta, points: Sequence[Tensor], target: Target
) -> None:
    """Draw the image, its actual and expected saliency map and their difference, one column per point (Fig. 2).

    Maps are the predicted label's, summed over channels; the titles give ai for that label.

    Args:
        network: the network.
        image: (C, H, W).
        theta: the range.
        points: parameters `(d,)` to show.
        target: PNG file or stream to write.
    """
    image = image.double()
    label = network.logits(image[None])[0].argmax(0, keepdim=True)
    original = saliency_maps(network.module, image, label)
    columns = []
    for point in points:
        moved = theta.apply(image, point)
        actual, expected = saliency_maps(network.module, moved, label), theta.expected(original, point)
        inconsistency = float((actual - expected).norm())
        columns.append(
            MapColumn(point_title(point, inconsistency), moved, actual[0].sum(0), expected[0].sum(0))
        )
    draw_columns(columns, target)


def point_title(point: Tensor, inconsistency: float) -> str:
    """A column's title: the parameters, and ai there."""
    return f"({', '.join(f'{value:.3g}' for value in point.tolist())})\nai = {inconsistency:.2f}"


def draw_columns(columns: Sequence[MapColumn], target: Target, method: str = "") -> None:
    """Draw columns of image, actual and expected map and their difference; ``method`` names how the maps are made."""
    figure = Figure(figsize=(2.1 * len(columns), 8.4), layout="constrained")
    axes = figure.subplots(4, len(columns), squeeze=False)
    for panels, column in zip(axes.T, columns, strict=True):
        maps = [column.actual, column.expected, column.actual - column.expected]
        reach = max(float(heat.abs().max()) for heat in maps) or 1.0
        panels[0].imshow(_side_by_side([column.image]), cmap="gray", vmin=0, vmax=1)
        panels[0].set_title(column.title, fontsize=9)
        for panel, heat in zip(panels[1:], maps, strict=True):
            panel.imshow(heat.numpy(), cmap="seismic", vmin=-reach, vmax=reach)
    actual = f"actual ({method})" if method else "actual"
    for panel, name in zip(axes[:, 0], ("image", actual, "expected", "difference"), strict=True):
        panel.set_ylabel(name)
    for panel in axes.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    _write(figure, target)


def ray(
    network: PiecewiseNetwork,
    image: Tensor,
    question: ProofQuestion,
    label: int,
    target: Target,
    points: int = 100,
) -> None:
    """Draw ai from the lowest to the highest corner of the range, with the thresholds asked for (Fig. 1).

    Args:
        network: the network.
        image: (C, H, W).
        question: the range, the thresholds, and which labels' maps count.
        label: the predicted label.
        target: PNG file or stream to write.
        points: evenly spaced points to compute ai at.
    """
    theta, image = question.theta, image.double()
    labels = counted_labels(network.logits(image[None])[0], question.labels)
    original = saliency_maps(network.module, image, labels)
    steps = torch.linspace(0, 1, points, dtype=torch.float64)
    values = []
    for step in steps:
        point = torch.lerp(theta.lower, theta.upper, step)
        actual = saliency_maps(network.module, theta.apply(image, point), labels)
        values.append(float((actual - theta.expected(original, point)).flatten(1).norm(dim=1).sum()))
    whose = label_words(question.labels, label)
    draw_ray(values, question.deltas, theta.names, f"attention inconsistency of {whose}", target)


def label_words(labels: str, label: int) -> str:
    """The labels whose maps count, in words."""
    return {"all": "all labels", "top5": "the five likeliest labels"}.get(labels, f"label {label}")


def draw_ray(
    values: Sequence[float], deltas: Sequence[float], names: Sequence[str], what: str, target: Target
) -> None:
    """Draw ai at evenly spaced points from the lowest to the highest corner.

    Args:
        values: ai at the points.
        deltas: thresholds.
        names: of the parameters.
        what: the values in words.
        target: PNG file or stream to write.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    panel = figure.subplots()
    panel.plot(torch.linspace(0, 1, len(values), dtype=torch.float64).numpy(), values)
    for delta in deltas:
        panel.axhline(delta, linestyle="--", color="grey", linewidth=0.8)
    panel.set_xlabel(f"from the lowest to the highest {', '.join(names)}")
    panel.set_ylabel(what)
    _write(figure, target)


def _side_by_side(images: Sequence[Tensor]) -> Tensor:
    """Images `(C, H, W)` in one row: `(H, W')` of one channel, `(H, W', 3)` of three, clamped to [0, 1]."""
    row = torch.cat([torch.nn.functional.pad(image, (0, 1), value=1.0) for image in images], 2).clamp(0, 1)
    return row.permute(1, 2, 0) if len(row) == 3 else row.mean(0)


def _write(figure: Figure, target: Target) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(target, format="png")
