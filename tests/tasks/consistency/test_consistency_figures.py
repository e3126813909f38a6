"""The figures say what was measured, and the same input gives the same bytes."""

import numpy as np

from assay.tasks.consistency.figures import (
    NeuronSheet,
    TopImage,
    consistency_histograms,
    gap_by_layer,
    to_png,
    top_image_sheet,
)
from assay.tasks.consistency.outline import Box
from assay.tasks.consistency.scores import LayerEstimate


def histograms():
    rng = np.random.default_rng(0)
    return consistency_histograms(rng.uniform(size=100), rng.uniform(size=100), 0.33, 0.34, "a net")


def top_image(value, warned=False):
    return TopImage(np.full((8, 8, 3), value, np.uint8), f"class {value}", Box(1, 2, 5, 7), warned)


def test_both_distributions_count_every_neuron_on_one_scale():
    upper, lower = histograms().axes
    assert [sum(bar.get_height() for bar in axes.patches) for axes in (upper, lower)] == [100, 100]
    assert upper.get_xlim() == lower.get_xlim()


def test_a_sheet_shows_each_image_with_its_field_outlined():
    sheet = NeuronSheet("neuron 7", [top_image(10), top_image(20)], [top_image(30, warned=True)])
    axes = top_image_sheet([sheet, sheet]).axes
    assert len(axes) == 4 * 2
    shown = [panel.get_title() for panel in axes[:4]]
    assert shown == ["class 10", "class 20", "class 30", ""]
    field = axes[0].patches[0]
    assert (field.get_x(), field.get_y(), field.get_width(), field.get_height()) == (1.5, 0.5, 5, 4)
    assert [len(panel.patches) for panel in axes[:4]] == [1, 1, 2, 0]  # the warned one has a frame too


def test_layers_stand_in_the_order_given():
    real = {"late": LayerEstimate(0.2, 0.1, 0.3, 9), "early": LayerEstimate(0.1, 0.0, 0.2, 9)}
    adversarial = {"late": LayerEstimate(0.0, -0.1, 0.1, 9), "early": LayerEstimate(0.1, 0.0, 0.2, 9)}
    axes = gap_by_layer(real, adversarial).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["late", "early"]


def test_png_bytes_repeat():
    assert to_png(histograms()).startswith(b"\x89PNG")
    assert to_png(histograms()) == to_png(histograms())
