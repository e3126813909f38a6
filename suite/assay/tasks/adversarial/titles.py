"""What people call the figures of accuracy under attack, and which way is better. Without torch."""

from collections.abc import Iterator

from assay.results.document import Direction, Metric
from assay.results.tables import in_255ths
from assay.tasks.adversarial.spec import HEADLINE, AdversarialSpec

_OF_SERIES: dict[str, tuple[str, Direction]] = {
    "robust_accuracy": ("Robust accuracy", "up"),
    "robust_accuracy_of_correct": ("Robust accuracy of the correct", "up"),
    "robust_accuracy_8bit": ("Robust accuracy after rounding to 8 bit", "up"),
    "targeted_success": ("Target reached", "down"),
    "median_eps": ("Median eps that breaks an image", "up"),
    "mean_relative_l2": ("Mean relative L2 length that breaks an image", "up"),
    "median_distance": ("Median distance of the nearest adversarial image", "up"),
    "mean_radius": ("Mean eps withstood", "up"),
    "curve_area": ("Area under the accuracy-eps curve", "up"),
    "stands_at_largest": ("Standing at the largest eps", "up"),
}
_ALONE: dict[str, tuple[str, Direction]] = {
    "clean_accuracy": ("Clean accuracy", "up"),
    "certified_accuracy": ("Proved accuracy", "up"),
}


def titled(spec: AdversarialSpec, metrics: Iterator[Metric]) -> Iterator[Metric]:
    """The metrics with their titles and directions."""
    for metric in metrics:
        key, _, eps = metric.name.partition("@")
        series, _, figure = key.rpartition(":")
        words, direction = _OF_SERIES[figure] if series else _ALONE[key]
        method = f", {_method(spec, series)}" if series and metric.name != HEADLINE else ""
        at = f" at {in_255ths(eps)}" if eps else ""
        yield metric.model_copy(update={"title": f"{words}{at}{method}", "direction": direction})


def _method(spec: AdversarialSpec, series: str) -> str:
    """``worst of 4 methods``, or the series with a method's own capitals where it is one by name."""
    if series == "worst":
        return f"worst of {len(spec.attacks)} methods" if len(spec.attacks) > 1 else "worst case"
    return series.upper() if series in {"fgsm", "bim", "pgd", "mim", "apgd"} else series.replace("_", " ")
