"""What a figure rests on, as a word and a sign: a proof, or the worst that an attack or a search found.

What was found can only be made worse by looking longer. So the true figure is on one side of it, where the figure is a
bound at all.
"""

from typing import Literal

from assay.results.document import Direction

Evidence = Literal["", "proved", "found", "looked at"]
"""What a figure rests on: it holds for every change in the range; it is the worst of the changes tried; it is a share
of those tried, and so no bound; or it is simply what was measured."""

_WORDS: dict[Evidence, str] = {"": "", "proved": "proved", "found": "found", "looked at": "found"}
_SIGNS: dict[Direction, str] = {"up": "≤ ", "down": "≥ ", "none": ""}


def word_of(evidence: Evidence) -> str:
    """``proved``, ``found`` or nothing."""
    return _WORDS[evidence]


def sign_of(evidence: Evidence, direction: Direction) -> str:
    """What stands before a figure that was found, with a blank: the true one is at most, or at least, as large."""
    return _SIGNS[direction] if evidence == "found" else ""
