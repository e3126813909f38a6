"""What people call the figures of verification, and which way is better. Without torch."""

from collections.abc import Iterator, Mapping, Sequence

from assay.results.document import Direction, Metric
from assay.results.evidence import Evidence
from assay.tasks.verification import search_summary
from assay.tasks.verification.spec import RELATIVE_SUP, WITHIN_QUARTER, VerificationSpec

_ALONE: dict[str, tuple[str, Direction]] = {
    WITHIN_QUARTER: ("Attention proved within ¼", "up"),
    RELATIVE_SUP: ("Largest change of the attention, median", "down"),
    "decided": ("Images decided", "up"),
    "median_delta_star": ("Smallest delta that holds, median", "down"),
    "median_min_margin": ("Smallest margin, median", "up"),
    "median_cells": ("Activation cells, median", "none"),
    "median_seconds": ("Seconds an image, median", "down"),
    "p95_seconds": ("Seconds an image, 95th percentile", "down"),
}
_OF_PROPERTY: dict[str, tuple[str, Direction]] = {
    "robust": ("{} proved robust", "up"),
    "violated": ("{} violated", "down"),
    "decided": ("{} decided", "up"),
    "mean_share_satisfied": ("Share of the range with {}", "up"),
}
_MEASURED = {"decided", "median_cells", "median_seconds", "p95_seconds"}  # of the work itself


def evidence_of(metric: str) -> Evidence:
    """What a figure rests on, by its key: the search's own say in their names that nothing is proved."""
    key = metric.rpartition(":")[2]
    if key in search_summary.BOUNDS:
        return "found"
    if key in search_summary.SHARES:
        return "looked at"
    return "" if key in _MEASURED else "proved"


def titled(spec: VerificationSpec, metrics: Sequence[Metric]) -> Iterator[Metric]:
    """The metrics with their titles and directions."""
    words, known = combination_words(spec), _figures(spec)
    for metric in metrics:
        name = next(name for name in words if metric.name.startswith(f"{name}:"))
        title, direction = known[metric.name.removeprefix(f"{name}:")]
        yield metric.model_copy(update={"title": f"{title}, {words[name]}", "direction": direction})


def combination_words(spec: VerificationSpec) -> Mapping[str, str]:
    """Each combination as written, longest first, to ``brightness + patch``, or as written where two are alike."""
    words = {
        name: " + ".join(_kind(text) for text in combination)
        for name, combination in zip(spec.names, spec.combinations, strict=True)
    }
    alike = list(words.values())
    return {
        name: words[name] if alike.count(words[name]) == 1 else name
        for name in sorted(words, key=len, reverse=True)
    }


def _kind(text: str) -> str:
    """``translation x`` of ``translation:x:0:1``, ``patch`` of ``patch:0:0.5:3:3:2x2``."""
    kind, *parts = text.split(":")
    return f"{kind} {parts[0]}" if parts[0].isalpha() else kind


def _figures(spec: VerificationSpec) -> Mapping[str, tuple[str, Direction]]:
    ar = f"AR({spec.deltas[-1]:g})"
    return {
        **_ALONE,
        **search_summary.of_properties(spec, _OF_PROPERTY),
        f"mean_share_CR_but_not_{ar}": (f"Share with CR and not {ar}", "down"),
        **search_summary.figures(spec),
    }
