"""What people call the figures of semantic robustness, and which way is better. Without torch."""

from collections.abc import Iterator

from assay.results.document import Direction, Metric
from assay.tasks.srvr.spec import CALIBRATED

_SERIES: dict[str, tuple[str, Direction]] = {
    CALIBRATED: ("Views in robust regions, calibrated", "up"),
    "srvr": ("Views in robust regions (SRVR)", "up"),
    "srvr_network": ("Views in robust regions, on the network", "up"),
    "adversarial_volume": ("Views in adversarial regions", "down"),
    "adversarial_volume_network": ("Views in adversarial regions, on the network", "down"),
}
_ALONE: dict[str, tuple[str, Direction]] = {
    "temperature": ("Temperature of the scores", "none"),
    "views_recognised": ("Views answered with the class", "up"),
    "mean_nsm": ("Mean score of the class", "up"),
    "shapes_recognised": ("Shapes recognised", "up"),
    "map_network_iou": ("Agreement of map and network", "none"),
    "best_band": ("Best band of views", "up"),
    "traps": ("Traps", "down"),
    "trap_area": ("Area of a trap", "down"),
    "trap_depth": ("Depth of a trap", "down"),
}


def titled(metrics: Iterator[Metric]) -> Iterator[Metric]:
    """The metrics with their titles and directions."""
    for metric in metrics:
        key, _, part = metric.name.partition(":")
        words, direction = _SERIES[key] if key in _SERIES else _ALONE[key]
        if part == "converged":
            words, direction = f"Searches that came to rest, {words}", "none"
        elif part:
            words = f"{words}, {part.removeprefix('class:')}"
        yield metric.model_copy(update={"title": words, "direction": direction})
