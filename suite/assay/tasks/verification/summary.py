"""From verdicts to verification rates; pure, and without torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.data.layouts.base import UNLABELLED
from assay.results.document import Guard, Metric
from assay.tasks.base import Record, Summary
from assay.tasks.shared.own_answers import labels_are_answers
from assay.tasks.verification import search_summary
from assay.tasks.verification.metrics import median, plain, rate, share
from assay.tasks.verification.spec import RELATIVE_SUP, WITHIN_QUARTER, VerificationSpec, property_name
from assay.tasks.verification.titles import titled

COVER_TOLERANCE = 1e-12  # relative error of the sum of the cells' areas


def summarise(spec: VerificationSpec, records: Sequence[Record]) -> Summary:
    """Rates with Wilson intervals per combination and property; delta*, margins, cells and seconds per combination.

    What was proved and what was only looked for are figures of their own; of ``auto`` one verifier took all images.
    """
    if spec.verifier == "search" or any("verifier" in record.values for record in records):
        combination, guards = search_summary.combination, search_summary.guards
    else:
        combination, guards = _combination, _guards
    metrics = [
        metric
        for name in spec.names
        for metric in combination([r.values for r in records if r.values["perturbation"] == name], name, spec)
    ]
    found = [*guards(spec, records)]
    if without_labels(records):
        found.append(labels_are_answers("clean_accuracy_plausible"))
    return Summary(metrics=tuple(titled(spec, metrics)), guards=tuple(found))


def without_labels(records: Sequence[Record]) -> bool:
    """Whether the pictures had no labels; the question needs none, a guard does."""
    return bool(records) and all(record.values["label"] == UNLABELLED for record in records)


def _combination(rows: Sequence[Mapping[str, Any]], name: str, spec: VerificationSpec) -> Iterator[Metric]:
    yield from _relative(name, rows)
    decided = [all(found["verdict"] != "unknown" for found in row["properties"].values()) for row in rows]
    yield rate(f"{name}:decided", decided, headline=True)
    for delta in (*spec.deltas, None):
        key = property_name(delta)
        verdicts = [row["properties"][key]["verdict"] for row in rows]
        yield rate(f"{name}:{key}:robust", [found == "robust" for found in verdicts], headline=True)
        yield rate(f"{name}:{key}:violated", [found == "violated" for found in verdicts])
        yield rate(f"{name}:{key}:decided", [found != "unknown" for found in verdicts])
        shares = [row["properties"][key]["satisfied"] for row in rows if row["complete"]]
        shown = delta is None  # beside the share of the attention
        yield share(f"{name}:{key}:mean_share_satisfied", shares, "share of Theta", headline=shown)
    gaps = [row["satisfies_cr_not_ar"] for row in rows if row["complete"]]
    yield share(f"{name}:mean_share_CR_but_not_AR({spec.deltas[-1]:g})", gaps, "share of Theta")
    complete = [row for row in rows if row["complete"]]
    yield median(f"{name}:median_delta_star", [row["sup_ai"] for row in complete], "ai", headline=True)
    yield median(f"{name}:median_min_margin", [row["min_margin"] for row in complete], "logits")
    yield median(f"{name}:median_cells", [row["cells"] for row in complete], "cells")
    seconds = [row["seconds"] for row in rows]
    yield median(f"{name}:median_seconds", seconds, "s", headline=True)
    yield plain(f"{name}:p95_seconds", _quantile(seconds, 0.95), len(seconds), "s")


def _relative(name: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Inconsistency relative to the attention itself, over all images; what was not decided counts as not proved.

    So no network gains by being hard to decide. A part of the range that was not listed counts as beyond a quarter, and
    an undecided image counts as having the largest supremum. None for older records.
    """
    noted = [row for row in rows if row.get("relative") is not None]
    yield share(
        f"{name}:{WITHIN_QUARTER}",
        [row["relative"]["satisfied"] for row in noted],
        "proportion",
        headline=True,
    )
    yield median(f"{name}:{RELATIVE_SUP}", [_relative_sup(row) for row in noted], "ratio", headline=True)


def _relative_sup(row: Mapping[str, Any]) -> float:
    sup, norm = row["sup_ai"], row["relative"]["norm"]
    if not row["complete"]:
        return math.inf
    return sup / norm if norm else math.inf if sup else 0.0


def _quantile(values: Sequence[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def _guards(spec: VerificationSpec, records: Sequence[Record]) -> Iterator[Guard]:
    """Guards: how a verdict could be a lie. Each was checked for every image."""
    rows = [record.values for record in records]
    cover = max((abs(row["covered"] - 1) for row in rows if row["complete"]), default=0.0)
    yield Guard(
        name="theta_is_covered",
        passed=cover <= COVER_TOLERANCE,
        value=cover,
        limit=COVER_TOLERANCE,
        detail="largest relative difference between the cells' volumes and Theta's, over the complete images",
    )
    missed = sum(row["audit_missed"] for row in rows)
    yield Guard.none_found(
        "audit_found_no_gap",
        missed,
        "random points of Theta whose activation pattern is not that of a listed cell",
    )
    unconfirmed = sum(
        found["verdict"] == "violated" and found["witness"] is None
        for row in rows for found in row["properties"].values()
    )  # fmt: skip
    yield Guard.none_found(
        "violations_confirmed",
        unconfirmed,
        "violated verdicts without a point where the network itself, in float64, violates the property",
    )
    nested = sum(not _nested(spec, row) for row in rows)
    yield Guard.none_found(
        "shares_are_nested",
        nested,
        "images whose share satisfying AR shrinks as delta grows, or whose shares do not add up",
    )


def _nested(spec: VerificationSpec, row: Mapping[str, Any]) -> bool:
    found = row["properties"]  # stored records name them in alphabetical order: AR(10) before AR(3)
    sums = [part["satisfied"] + part["violated"] + part["partial"] for part in found.values()]
    shares = [found[property_name(delta)]["satisfied"] for delta in spec.deltas]
    return shares == sorted(shares) and all(abs(total - row["covered"]) < 1e-9 for total in sums)
