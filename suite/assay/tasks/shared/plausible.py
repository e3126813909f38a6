"""Whether a model's clean answers can be what its maker meant: the guard against pictures read wrongly. No torch.

A network that gets its pictures in another range, order or size than it was trained on still answers, and every figure
about it is then silently wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assay.common.statistics import wilson_interval
from assay.data.corrupting.corruption import is_corrupted
from assay.results.document import Guard, ModelCard, StatedAccuracyField

OTHER_IMAGES = 0.02
"""How far accuracy may lie below the stated one on other images, some of which are harder."""
GUARD = "clean_accuracy_plausible"
_MEND = "`assay doctor MODEL --data D` finds how the network wants its pictures"


@dataclass(frozen=True)
class ExpectedAccuracy:
    """What is known of a clean accuracy before it is measured.

    Attributes:
        num_classes: of the model.
        stated: by the model's card, or None; also None for corrupted pictures, which no card speaks of.
        data: the name of the data set that it is measured on.
    """

    num_classes: int
    stated: StatedAccuracyField | None
    data: str

    @classmethod
    def of(cls, model: ModelCard, data: str) -> "ExpectedAccuracy":
        """Of a model, as a result document has it."""
        stated = None if is_corrupted(data) else model.clean_accuracy
        return cls(model.num_classes, stated, data)


def plausible_accuracy(correct: Sequence[bool], expected: ExpectedAccuracy, top_k: int = 1) -> Guard:
    """The guard for a family that knows whether each clean picture was classified as labelled.

    Args:
        correct: one per picture.
        expected: of the model.
        top_k: of the highest logits, how many may be the label's.
    """
    low, high = wilson_interval(sum(correct), len(correct))
    value = sum(correct) / len(correct) if correct else 0.0
    measured = (
        f"clean accuracy {_percent(value)} [{_percent(low)}, {_percent(high)}] of {len(correct)} images"
    )
    chance = min(top_k / expected.num_classes, 1.0)
    return plausible(measured, (value, low, high), chance, _promise(expected, len(correct)))


def plausible(
    measured: str, figures: tuple[float, float, float], chance: float, promise: tuple[str, float] = ("", 0.0)
) -> Guard:
    """The guard for a share of right answers.

    Args:
        measured: the share in words, with its interval.
        figures: the share, and both ends of its 95 % interval.
        chance: the share that guessing gives.
        promise: what the card states in words, and the least share that agrees with it.
    """
    value, low, high = figures
    stated, least = promise
    fault = None
    if low <= chance:
        fault = f"reaches down to chance, {_percent(chance)}; {_MEND}, or there are too few images to tell"
    elif high < least:
        fault = f"lies wholly below {stated}; {_MEND}"
    known = f"; chance {_percent(chance)}" + (f"; {stated}" if stated else "")
    return Guard(
        name=GUARD,
        passed=fault is None,
        value=value,
        limit=least if fault and low > chance else chance,
        detail=f"{measured} {fault}" if fault else measured + known,
    )


def _promise(expected: ExpectedAccuracy, n: int) -> tuple[str, float]:
    """What the card states in words, and the least accuracy on ``n`` images of the job's data that agrees with it.

    On other images than the statement's, the lower end of its own interval counts, less :data:`OTHER_IMAGES`.
    """
    stated = expected.stated
    if stated is None:
        return "", 0.0
    counted = f" ({stated.n} images)" if stated.n else ""
    words = f"what the card states, {_percent(stated.value)} on {stated.data}{counted}"
    if stated.data == expected.data and stated.n in (None, n):
        return words, stated.value
    least = wilson_interval(round(stated.value * stated.n), stated.n)[0] if stated.n else stated.value
    return words, least - OTHER_IMAGES


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
