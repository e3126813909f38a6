"""A part that stands for the whole: a seeded draw with as many of each class, or simply what comes first."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Draw(StrEnum):
    """How a limited part is chosen."""

    BALANCED = "balanced"
    FIRST = "first"


class Drawable(NamedTuple):
    """What is drawn as a whole, such as a picture or a shape.

    Attributes:
        id: stable, and unique among what is drawn.
        class_: what it shows; None where nobody says, so that the draw is a plain seeded one.
    """

    id: str
    class_: str | int | None = None


def balanced_draw(items: Sequence[Drawable], count: int, seed: int) -> list[int]:
    """``count`` items, spread evenly over the classes (the numbers differ by at most one).

    Every item gets a place in its class's own seeded order, and the draw takes first places, then second places, and so
    on; the last round takes its classes in seeded order. An item's order depends on the seed and its id alone, so a
    smaller draw is part of a larger one. Other items change only who fills the last round.

    Args:
        items: with distinct ids.
        count: how many, at least 1; all if there are fewer.
        seed: of the draw.

    Returns:
        Their positions in ``items``, ascending.
    """
    order = sorted(range(len(items)), key=lambda position: _rank(items[position].id, seed))
    before: Counter[str | int | None] = Counter()
    rounds: list[tuple[int, int]] = []
    for place, position in enumerate(order):
        class_ = items[position].class_
        rounds.append((before[class_], place))
        before[class_] += 1
    return sorted(order[place] for _, place in sorted(rounds)[:count])


def _rank(item_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{item_id}".encode()).digest()
