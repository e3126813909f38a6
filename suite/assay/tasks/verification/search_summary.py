"""Figures of what the search found; pure, without torch. Names and titles say that nothing is proved."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.results.document import Direction, Guard, Metric
from assay.tasks.base import Record
from assay.tasks.verification.metrics import median, rate, share
from assay.tasks.verification.spec import (
    RELATIVE_SUP_FOUND,
    WITHIN_QUARTER_SEEN,
    VerificationSpec,
    property_name,
)

_ALONE: dict[str, tuple[str, Direction]] = {
    WITHIN_QUARTER_SEEN: ("Not proved: attention seen within ¼", "up"),
    RELATIVE_SUP_FOUND: ("At least: change of the attention found, median", "down"),
    "median_sup_ai_found": ("At least: attention inconsistency found, median", "down"),
    "median_min_margin_found": ("At most: smallest margin found, median", "up"),
}
_OF_PROPERTY: dict[str, tuple[str, Direction]] = {
    "found_broken": ("{} found broken", "down"),
    "mean_share_seen": ("Not proved: share of the points looked at with {}", "up"),
}
BOUNDS = {RELATIVE_SUP_FOUND, "median_sup_ai_found", "median_min_margin_found", "found_broken"}
"""Last parts of the keys of figures that bound the truth on one side: what was not found is no better."""
SHARES = {WITHIN_QUARTER_SEEN, "mean_share_seen"}
"""The same of shares of the points looked at, which bound nothing."""


def of_properties(
    spec: VerificationSpec, titles: Mapping[str, tuple[str, Direction]]
) -> dict[str, tuple[str, Direction]]:
    """Title and direction of each figure of AR at every delta, and of CR, by its key."""
    found = {}
    for delta in (*spec.deltas, None):
        name = property_name(delta)
        people = "CR (label kept)" if delta is None else name
        for key, (title, direction) in titles.items():
            found[f"{name}:{key}"] = (title.format(people), direction)
    return found


def figures(spec: VerificationSpec) -> Mapping[str, tuple[str, Direction]]:
    """Title and direction by the key behind the combination's name."""
    found = {**_ALONE, **of_properties(spec, _OF_PROPERTY)}
    if spec.saliency == "gradient":
        return found
    return {key: (f"{title} ({spec.saliency})", direction) for key, (title, direction) in found.items()}


def combination(rows: Sequence[Mapping[str, Any]], name: str, spec: VerificationSpec) -> Iterator[Metric]:
    """The figures of one combination's rows."""
    within = [row["within_quarter"] for row in rows]
    yield share(f"{name}:{WITHIN_QUARTER_SEEN}", within, "proportion", headline=True)
    ratios = [_infinite_if_none(row["sup_ai_relative"]) for row in rows]
    yield median(f"{name}:{RELATIVE_SUP_FOUND}", ratios, "ratio", headline=True)
    for delta in (*spec.deltas, None):
        key = property_name(delta)
        broken = [row["properties"][key]["verdict"] == "violated" for row in rows]
        yield rate(f"{name}:{key}:found_broken", broken, headline=delta is None)
        seen = [row["properties"][key]["seen"] for row in rows]
        yield share(
            f"{name}:{key}:mean_share_seen", seen, "share of the points looked at", headline=delta is None
        )
    yield median(f"{name}:median_sup_ai_found", [row["sup_ai"] for row in rows], "ai")
    yield median(f"{name}:median_min_margin_found", [row["min_margin"] for row in rows], "logits")


def _infinite_if_none(ratio: float | None) -> float:
    return float("inf") if ratio is None else ratio


def guards(spec: VerificationSpec, records: Sequence[Record]) -> Iterator[Guard]:
    """Guards: how a finding could be a lie, and how nothing could have been found."""
    rows = [record.values for record in records]
    yield Guard.none_found(
        "attention_is_not_zero",
        sum(not row["norm"] for row in rows),
        "images whose own heat map is zero everywhere: the network passes no gradient to its pixels",
    )
    yield Guard.none_found(
        "seen_again_in_float64",
        sum(not row["confirmed"] for row in rows),
        "images where a fresh pass in float64 differs by more than 1 % from what the search saw",
    )
    unconfirmed = sum(
        not _bears_out(row["properties"][property_name(delta)], delta)
        for row in rows for delta in (*spec.deltas, None)
    )  # fmt: skip
    yield Guard.none_found(
        "violations_confirmed",
        unconfirmed,
        "violated verdicts without a point where the network itself, in float64, violates the property",
    )


def _bears_out(found: Mapping[str, Any], delta: float | None) -> bool:
    witness = found["witness"]
    if found["verdict"] != "violated":
        return witness is None
    if witness is None:
        return False
    return bool(witness["value"] < 0) if delta is None else bool(witness["value"] > delta)
