"""The page of a device's measurement: one file that needs no network and runs no script."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.board.html import environment, policy

_TEMPLATES = Path(__file__).parent / "templates"


def device_page(document: Mapping[str, Any]) -> str:
    """The page as HTML, of a document that ``assay bench-device`` writes."""
    rates = [row["images_per_second"] or 0 for row in document["speed"]["measured"]]
    return (
        environment(_TEMPLATES)
        .get_template("device.html")
        .render(policy=policy([]), document=document, fastest=max(rates, default=0) or 1)
    )
