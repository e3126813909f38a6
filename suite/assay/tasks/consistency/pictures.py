"""The page's figures of a job, drawn from its records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from assay.tasks.base import Figure, Record
from assay.tasks.consistency.blocks import SmallPictures, read_small_pictures
from assay.tasks.consistency.figures import (
    NeuronSheet,
    TopImage,
    consistency_histograms,
    gap_by_layer,
    to_png,
    top_image_sheet,
)
from assay.tasks.consistency.hierarchy import Hierarchy
from assay.tasks.consistency.metric import ranked_by_gap
from assay.tasks.consistency.outline import Box
from assay.tasks.consistency.scores import Scoring, estimates
from assay.tasks.consistency.spec import ConsistencySpec

SHEET_COLUMNS = 3


def figures(spec: ConsistencySpec, records: Sequence[Record]) -> list[Figure]:
    """Histograms (Fig. 5), top images (Fig. 2 to 4), the ranked gap, and the excess by layer."""
    scoring = Scoring.where_possible(spec, records)
    if scoring is None:
        return []
    drawn = [_histograms(scoring), _ranked_gap(scoring)]
    sheet = _sheet(scoring, records)
    drawn += [sheet] if sheet else []
    return [*drawn, _by_layer(scoring)] if len(scoring.layers) > 1 and scoring.one_class_each else drawn


def _histograms(scoring: Scoring) -> Figure:
    scores = scoring.headline_scores(scoring.headline)
    real, made = scores["real"], scores["adversarial"]
    title = f"{scoring.headline}, sigma {scoring.spec.headline_sigma}"
    picture = consistency_histograms(
        real.consis, made.consis, float(real.floor.mean()), float(made.floor.mean()), title
    )
    caption = (
        f"Consistency of the {len(real.consis)} neurons of {scoring.headline}: mean {real.consis.mean():.4f} on "
        f"{scoring.counts['real']} real images (floor {real.floor.mean():.4f}) and {made.consis.mean():.4f} on "
        f"{scoring.counts['adversarial']} adversarial ones (floor {made.floor.mean():.4f}); the floor is what "
        "shuffled labels give."
    )
    return Figure("consistency-histograms", "Consistency of neurons", caption, "png", to_png(picture))


def _ranked_gap(scoring: Scoring) -> Figure:
    scores = scoring.headline_scores(scoring.headline)
    real, made = scores["real"].consis, scores["adversarial"].consis
    order = ranked_by_gap(real, made)
    gaps = (real - made)[order]
    chart = go.Figure(
        go.Scatter(
            x=list(range(1, len(order) + 1)),
            y=gaps.round(6).tolist(),
            customdata=order.tolist(),
            mode="lines",
            hovertemplate="neuron %{customdata}: %{y:.4f}<extra></extra>",
        )
    )
    chart.update_layout(
        xaxis_title="neurons by gap",
        yaxis_title="consis(n) − consis_adv(n)",
        template="plotly_white",
        margin={"t": 30},
    )
    first = ", ".join(f"{neuron} ({gap:+.3f})" for neuron, gap in zip(order[:5], gaps[:5], strict=False))
    caption = (
        f"Neurons of {scoring.headline} by what they lose on adversarial images: {np.mean(gaps > 0):.0%} lose, "
        f"{np.mean(gaps < 0):.0%} gain. Largest losses: {first}."
    )
    return Figure(
        "consistency-gap", "Gap between real and adversarial images", caption, "plotly", str(chart.to_json())
    )


def _sheet(scoring: Scoring, records: Sequence[Record]) -> Figure | None:
    found = read_small_pictures(records, SHEET_COLUMNS)
    if not found:
        return None
    top_class = scoring.headline_scores(scoring.headline)["real"].top_class
    captions = _Captions(records, scoring.merged.hierarchy)
    sheets = [
        NeuronSheet(
            f"neuron {neuron}",
            captions.images(found[neuron, "real"]),
            captions.images(found[neuron, "adversarial"], int(top_class[neuron])),
        )
        for neuron in sorted({neuron for neuron, _ in found})
    ]
    caption = (
        f"Real and adversarial images that excite {len(sheets)} evenly spaced neurons of {scoring.headline} most, with "
        "the part that moves the neuron outlined; a red frame marks an adversarial image whose target is the class "
        "that the neuron stands for among real images."
    )
    return Figure("top-images", "What excites a neuron", caption, "png", to_png(top_image_sheet(sheets)))


class _Captions:
    """What an image shows, and what it was made to be taken for."""

    def __init__(self, records: Sequence[Record], hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._concepts: dict[int, list[int]] = {}
        self._made: dict[int, tuple[int, int]] = {}
        for record in records:
            real, made = record.values["real"], record.values["adversarial"]
            self._concepts |= dict(zip(real["images"], real["concepts"], strict=True))
            pairs = zip(made["sources"], made["targets"], strict=True)
            self._made |= dict(zip(made["images"], pairs, strict=True))

    def images(self, pictures: SmallPictures, stands_for: int | None = None) -> list[TopImage]:
        """The pictures with captions; adversarial ones where ``stands_for`` is given."""
        numbers = pictures.images.tolist()
        captions = [self._caption(number, stands_for is not None) for number in numbers]
        return [
            TopImage(
                pixels, caption, Box(*box), stands_for is not None and self._made[number][1] == stands_for
            )
            for pixels, caption, box, number in zip(
                pictures.pixels, captions, pictures.boxes.tolist(), numbers, strict=True
            )
        ]

    def _caption(self, number: int, adversarial: bool) -> str:
        source, target = self._made[number] if adversarial else (number, None)
        shown = self._name(self._concepts[source][0])
        return shown if target is None else f"{shown}\n→ {self._name(target)}"

    def _name(self, label: int) -> str:
        inside = label < len(self._hierarchy.classes)
        return self._hierarchy.class_name(label)[:22] if inside else f"class {label}"


def _by_layer(scoring: Scoring) -> Figure:
    sigma = float(scoring.spec.headline_sigma)
    found = {layer: estimates(scoring, layer, sigma) for layer in scoring.layers}
    real, made = (
        {layer: of_layer[name] for layer, of_layer in found.items()} for name in ("excess", "excess_adv")
    )
    gaps = {layer: real[layer].value - made[layer].value for layer in real}
    widest = max(gaps, key=lambda layer: gaps[layer])
    caption = (
        f"Excess over the floor by layer, 95 % intervals over images; the gap between real and adversarial "
        f"images is widest at {widest} ({gaps[widest]:+.4f})."
    )
    return Figure("gap-by-layer", "Where the gap arises", caption, "png", to_png(gap_by_layer(real, made)))
