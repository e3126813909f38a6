"""What a chunk's work took, as sums and shares of logs of times. Never part of an answer.

Seconds and counts of passes are spent, as are the forward and backward passes that families tell of by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COUNTED = ("passes", "images")  # of the network, in the times of a chunk
_KINDS = ("forward", "backward")


def told(entries: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """The sum of all passes that entries of a log tell of; a count that is no number is left out."""
    total: Counter[str] = Counter()
    for entry in entries:
        for name, count in entry.items():
            if name.partition(":")[0] in _KINDS and type(count) is int:
                total[name] += count
    return total


def summed(times: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The times of the whole from its parts: the last part's, with the sums of what was spent."""
    spent = {name for part in times for name in part if _is_spent(name)}
    sums = {name: round(sum(part.get(name, 0) for part in times), 6) for name in spent}
    return {**times[-1], **sums, **told(times)}


def shared(times: Mapping[str, Any], first: int, end: int, units: int) -> dict[str, Any]:
    """The times of the units from ``first`` to before ``end``: their share of what ``units`` spent."""
    share = (end - first) / units
    own = {name: round(value * share, 6) if _is_spent(name) else value for name, value in times.items()}
    return own | part_of(told([times]), first, end, units)


def _is_spent(name: str) -> bool:
    return name.endswith("_seconds") or name in COUNTED


def part_of(passes: Mapping[str, int], first: int, end: int, units: int) -> dict[str, int]:
    """The share of the units from ``first`` to before ``end`` of ``units``; all parts add up to the whole."""
    return {name: count * end // units - count * first // units for name, count in passes.items()}


def as_text(passes: Mapping[str, int]) -> str:
    """Forward and backward passes: ``apgd 1010+1000; square 5001+0``."""
    names = dict.fromkeys(key.partition(":")[2] for key in passes)
    counts = {name: [passes.get(f"{kind}:{name}", 0) for kind in _KINDS] for name in names}
    return "; ".join(f"{name} {forward}+{backward}" for name, (forward, backward) in counts.items())
