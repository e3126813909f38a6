"""What families tell of their work beside the times: forward and backward passes by name. Never part of an answer."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_KINDS = ("forward", "backward")


def told(entries: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """The sum of all passes that entries of a log tell of; a count that is no number is left out."""
    total: Counter[str] = Counter()
    for entry in entries:
        for name, count in entry.items():
            if name.partition(":")[0] in _KINDS and type(count) is int:
                total[name] += count
    return total


def part_of(passes: Mapping[str, int], first: int, end: int, units: int) -> dict[str, int]:
    """The share of the units from ``first`` to before ``end`` of ``units``; all parts add up to the whole."""
    return {name: count * end // units - count * first // units for name, count in passes.items()}


def as_text(passes: Mapping[str, int]) -> str:
    """Forward and backward passes: ``apgd 1010+1000; square 5001+0``."""
    names = dict.fromkeys(key.partition(":")[2] for key in passes)
    counts = {name: [passes.get(f"{kind}:{name}", 0) for kind in _KINDS] for name in names}
    return "; ".join(f"{name} {forward}+{backward}" for name, (forward, backward) in counts.items())
