"""``labels: predicted``: the network's own clean answer in the place of a label, for pictures without labels.

A family then says how often the answer stays what it was, right or wrong: what it calls accuracy elsewhere is the
agreement with that answer.
"""

from typing import Literal

from assay.results.document import Guard

Labels = Literal["data", "predicted"]


def as_agreement(words: str) -> str:
    """A figure's key or title where there are no labels, and so no accuracy."""
    return words.replace("accuracy", "agreement").replace("Accuracy", "Agreement")


def labels_are_answers(left_out: str) -> Guard:
    """Why guards and figures are not there that need labels; it never fails."""
    return Guard(
        name="labels_are_answers", passed=True,
        detail=f"there are no labels, and nothing says whether the clean answers are right, so {left_out} are left out",
    )  # fmt: skip
