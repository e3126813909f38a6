"""What is drawn of a run: adversarial images as 8-bit PNGs, sheets of one image over eps, and the accuracy-eps curves.

Nothing here knows of any attack. Torch and plotly are imported only where they are used, because readers of results
need the pictures' names alone.
"""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from assay.results.document import Metric
from assay.results.tables import in_255ths
from assay.tasks.adversarial.records import state
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import curve_points
from assay.tasks.base import Figure, Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from torch import Tensor

_CELL = 112  # pixels, the side of a picture
_TEXT = 15  # pixels, the height of a line of text
_GAP = 6
_STATES = {"proved": "#2a7f62", "undecided": "#b8b8b8", "broken": "#b5473c"}


def png_name(series: str, eps: Fraction, unit_id: str) -> str:
    """The adversarial image of one unit, attack and radius; the unit's id with odd characters escaped."""
    return f"adversarial/{series}/{str(eps).replace('/', '_')}/{quote(unit_id, safe='')}.png"


def sheet_name(unit_id: str) -> str:
    """The sheet of one unit's adversarial images."""
    return f"sheets/{quote(unit_id, safe='')}.png"


def rounded(images: "Tensor") -> "Tensor":
    """Images in [0, 1] with each pixel at the nearest of 0/255 .. 255/255."""
    return (images * 255).round().clamp(0, 255) / 255


Adversarial = Mapping[tuple[str, Fraction], tuple["Tensor", "Tensor"]]
"""By series and radius: an image's adversarial image, (C, H, W) in [0, 1], and its logits, (K,)."""


def sheet_png(clean: "Tensor", label: int, adversarial: "Adversarial") -> bytes:
    """The sheet of one image as a PNG: per attack one line of images and one of differences, per radius one column.

    Args:
        clean: the image, (C, H, W) in [0, 1].
        label: its class.
        adversarial: the order of the series is that of the sheet's lines.
    """
    methods = list(dict.fromkeys(series for series, _ in adversarial))
    radii = sorted({eps for _, eps in adversarial})
    wide, high = _CELL + _GAP, 2 * _CELL + 4 * _TEXT + _GAP
    sheet = Image.new("RGB", (wide * len(radii) + _GAP, high * len(methods) + _GAP), "white")
    for line, series in enumerate(methods):
        for column, eps in enumerate(radii):
            corner = _GAP + column * wide, _GAP + line * high
            image, logits = adversarial[series, eps]
            confidence, answer = logits.softmax(0).max(0)
            mark = "right" if int(answer) == label else "WRONG"
            said = f"{int(answer)} ({float(confidence):.0%}) {mark}"
            _draw_cell(sheet, corner, (f"{series}, eps {eps}", said), (image, image - clean))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    words: tuple[str, str],
    pixels: tuple["Tensor", "Tensor"],
) -> None:
    """Title and answer, the image, its amplified difference (C, H, W), and by how much it is amplified."""
    from assay.attacks.picture import amplified

    left, top = corner
    (title, said), (image, change) = words, pixels
    amplified_change, factor = amplified(change)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    colour = "firebrick" if said.endswith("WRONG") else "black"
    pen.text((left, top), title, fill="black", font=font)
    pen.text((left, top + _TEXT), said, fill=colour, font=font)
    sheet.paste(_picture(image), (left, top + 2 * _TEXT))
    sheet.paste(_picture(amplified_change), (left, top + 2 * _TEXT + _CELL))
    words_below = "no change" if factor is None else f"x {factor:.0f}"
    pen.text((left, top + 2 * _TEXT + 2 * _CELL), words_below, fill="black", font=font)


def _picture(image: "Tensor") -> Image.Image:
    """An image of one or three channels at the cell's size; small ones are enlarged pixel by pixel."""
    pixels: NDArray[np.uint8] = (
        (image.detach().cpu().clamp(0, 1) * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0)
    )
    pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    small = max(pixels.shape[:2]) < _CELL
    how = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
    return Image.fromarray(pixels).resize((_CELL, _CELL), how)


def figures(spec: AdversarialSpec, records: Sequence[Record]) -> list[Figure]:
    """The curves, then the sheets that were drawn."""
    sheets = [
        _sheet(spec, record, number)
        for number, record in enumerate(
            record for record in records if sheet_name(record.unit_id) in record.files
        )
    ]
    known = [_known(spec, records)] if spec.proofs is not None else []
    return [_curves(spec, records), *known, *sheets]


def _sheet(spec: AdversarialSpec, record: Record, number: int) -> Figure:
    smallest = {
        series: in_255ths(eps) if eps else "none" for series, eps in record.values["smallest_eps"].items()
    }
    found = ", ".join(f"{series}: {eps}" for series, eps in smallest.items())
    carried = (
        ""
        if spec.curve == "each"
        else " An image that fell at a smaller eps is shown again at the larger ones."
    )
    caption = (
        f"Image {record.unit_id}, label {record.values['label']}, answered {record.values['predicted']}: its "
        "adversarial images over eps, and below each its difference from the clean image, amplified as written."
        f"{carried} Smallest eps at which it is misclassified: {found}."
    )
    return Figure(
        f"sheet-{number}", "Adversarial images", caption, "png", record.files[sheet_name(record.unit_id)]
    )


def _curves(spec: AdversarialSpec, records: Sequence[Record]) -> Figure:
    """One curve per method with its 95 % Wilson intervals, eps in units of 1/255."""
    import plotly.graph_objects as go

    curves: dict[str, list[Metric]] = {}
    for metric in curve_points(spec, records):
        if metric.series is not None:
            curves.setdefault(metric.series, []).append(metric)
    chart = go.Figure()
    for name, points in curves.items():
        chart.add_trace(_curve(name, sorted(points, key=lambda point: point.x or 0.0), _scale(spec)))
    chart.update_layout(
        xaxis_title=_unit(spec),
        yaxis_title="accuracy (all images)",
        yaxis_range=[-0.02, 1.02],
        yaxis_tickformat=".0%",
        hovermode="x unified",
        template="plotly_white",
        margin={"t": 30},
    )
    lowest = max(curves.get("worst", ()), key=lambda point: point.x or 0.0, default=None)
    worst = f" Worst case over the methods at the largest eps: {lowest.value:.1%}." if lowest else ""
    turn = " In turn: each curve is that of the attacks up to it, together." if spec.in_turn else ""
    caption = f"Accuracy over eps on {len(records)} images, 95 % Wilson intervals.{turn}{worst}"
    return Figure("accuracy-eps", "Accuracy under attack", caption, "plotly", str(chart.to_json()))


def _known(spec: AdversarialSpec, records: Sequence[Record]) -> Figure:
    """At each eps the shares that are proved, undecided and broken, one bar."""
    import plotly.graph_objects as go

    chart = go.Figure()
    shares = {}
    for name, colour in _STATES.items():
        shares[name] = [
            sum(state(record, eps) == name for record in records) / max(len(records), 1) for eps in spec.radii
        ]
        eps_shown = [f"{_scale(spec) * float(eps):.4g}" for eps in spec.radii]
        chart.add_trace(go.Bar(name=name, x=eps_shown, y=shares[name], marker_color=colour))
    chart.update_layout(
        barmode="stack",
        xaxis_title=_unit(spec),
        xaxis_type="category",
        yaxis_title="share of images",
        yaxis_tickformat=".0%",
        template="plotly_white",
        margin={"t": 30},
    )
    last = ", ".join(f"{name} {values[-1]:.1%}" for name, values in shares.items())
    caption = f"What is known of {len(records)} images at each eps. At the largest: {last}."
    return Figure("proved-or-broken", "Proved, undecided or broken", caption, "plotly", str(chart.to_json()))


def _unit(spec: AdversarialSpec) -> str:
    return "eps (units of 1/255)" if spec.norm == "linf" else f"eps ({spec.norm.upper()}, pixels in [0, 1])"


def _scale(spec: AdversarialSpec) -> float:
    return 255.0 if spec.norm == "linf" else 1.0


def _curve(name: str, points: Sequence[Metric], scale: float) -> "go.Scatter":
    import plotly.graph_objects as go

    values = [point.value or 0.0 for point in points]
    return go.Scatter(
        name=name,
        mode="lines+markers",
        line_dash={"worst": "dash", "certified": "dot"}.get(name, "solid"),
        x=[scale * (point.x or 0.0) for point in points],
        y=values,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(point.ci_high or 0.0) - value for point, value in zip(points, values, strict=True)],
            "arrayminus": [
                value - (point.ci_low or 0.0) for point, value in zip(points, values, strict=True)
            ],
            "thickness": 1,
        },
    )
