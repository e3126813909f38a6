"""Pictures of what the search found, as Figs. 1 and 2 of Munakata et al.; the heat map's method is named."""

from __future__ import annotations

import io

import torch
from torch import Tensor

from assay.tasks.verification.figures import MapColumn, draw_columns, draw_ray, label_words, point_title
from assay.tasks.verification.moves import Motions
from assay.tasks.verification.readings import UnchangedImages, logits_and_maps
from assay.tasks.verification.search import SearchFinding
from assay.tasks.verification.spec import VerificationSpec

RAY_POINTS = 25


def pictures(
    origin: UnchangedImages, motions: Motions, found: SearchFinding, spec: VerificationSpec
) -> dict[str, bytes]:
    """PNG by name: image and maps at three points of the range, and ai along it.

    Args:
        origin: one image.
        motions: the range.
        found: what the search found there.
        spec: thresholds, and whose maps count.
    """
    return {"saliency.png": _saliency(origin, motions, found), "ray.png": _ray(origin, motions, found, spec)}


def _saliency(origin: UnchangedImages, motions: Motions, found: SearchFinding) -> bytes:
    """The lowest corner, the middle of the range, and where the attention was found most inconsistent."""
    points = [motions.lower, (motions.lower + motions.upper) / 2, found.ai.theta]
    theta = torch.stack(points).to(origin.images)
    label = origin.label[:, None]
    _, original = logits_and_maps(origin.module, origin.images, label, origin.saliency)
    moved = motions.apply(origin.images.expand(len(points), -1, -1, -1), theta)
    every = label.expand(len(points), -1)
    _, actual = logits_and_maps(origin.module, moved, every, origin.saliency)
    expected = motions.expected(original.expand(len(points), -1, -1, -1, -1), theta)
    inconsistency = (actual - expected).flatten(1).norm(dim=1).tolist()
    columns = [
        MapColumn(point_title(point, value), *shown)
        for point, value, *shown in zip(
            points, inconsistency, moved.cpu(), _summed(actual), _summed(expected), strict=True
        )
    ]
    buffer = io.BytesIO()
    draw_columns(columns, buffer, origin.saliency)
    return buffer.getvalue()


def _summed(maps: Tensor) -> Tensor:
    """`(N, 1, C, H, W)` to `(N, H, W)` on the host."""
    return maps[:, 0].sum(1).cpu()


def _ray(origin: UnchangedImages, motions: Motions, found: SearchFinding, spec: VerificationSpec) -> bytes:
    steps = torch.linspace(0, 1, RAY_POINTS, dtype=torch.float64)[:, None]
    theta = torch.lerp(motions.lower, motions.upper, steps)
    values = origin.attention(motions, torch.zeros(RAY_POINTS, dtype=torch.int64), theta)[:, 0].tolist()
    what = f"attention inconsistency of {label_words(spec.labels, found.label)}\n(heat map: {spec.saliency})"
    buffer = io.BytesIO()
    draw_ray(values, spec.deltas, motions.names, what, buffer)
    return buffer.getvalue()
