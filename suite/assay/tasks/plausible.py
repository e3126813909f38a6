"""Whether a model's clean answers can be what its maker meant: the guard against pictures read wrongly. No torch.

A network that gets its pictures in another range, order or size than it was trained on still answers, and every
figure about it is then wrong without a word.
"""

from collections.abc import Sequence

from assay.results.document import Guard, ModelCard, StatedAccuracy
from assay.results.statistics import wilson_interval
from assay.specs import TaskSpec
from assay.tasks.base import Record, Summary, Task

GUARD = "clean_accuracy_plausible"
_MEND = "`assay doctor MODEL --data D` finds how the network wants its pictures"


def summary_of(
    task: Task[TaskSpec, object], spec: TaskSpec, records: Sequence[Record], model: ModelCard
) -> Summary:
    """The family's summary, and this guard where the family scores labels.

    Args:
        task: the family.
        spec: of the job.
        records: those without an error.
        model: as the job's document has it.
    """
    summary = task.summarise(spec, records)
    guard = task.plausible(spec, records, model)
    return summary if guard is None else Summary(summary.metrics, (*summary.guards, guard))


def plausible_accuracy(correct: Sequence[bool], model: ModelCard, top_k: int = 1) -> Guard:
    """The guard for a family that knows of each undisturbed picture whether it was classified as labelled.

    Args:
        correct: one a picture.
        model: its number of classes, and the accuracy that its card states.
        top_k: of the highest logits, how many may be the label's.
    """
    low, high = wilson_interval(sum(correct), len(correct))
    value = sum(correct) / len(correct) if correct else 0.0
    measured = (
        f"clean accuracy {_percent(value)} [{_percent(low)}, {_percent(high)}] of {len(correct)} images"
    )
    return plausible(measured, (value, low, high), min(top_k / model.num_classes, 1.0), model.clean_accuracy)


def plausible(
    measured: str, figures: tuple[float, float, float], chance: float, stated: StatedAccuracy | None
) -> Guard:
    """The guard for a share of right answers.

    Args:
        measured: the share in words, with its interval.
        figures: the share, and both ends of its 95 % interval.
        chance: the share that guessing gives.
        stated: what to compare with; None for chance alone. Its own interval counts where its number of images is
            known: the two must not lie apart.
    """
    value, low, high = figures
    promise, least = _promise(stated)
    fault = None
    if low <= chance:
        fault = f"reaches down to chance, {_percent(chance)}; {_MEND}, or there are too few images to tell"
    elif high < least:
        fault = f"lies wholly below {promise}; {_MEND}"
    known = f"; chance {_percent(chance)}" + (f"; {promise}" if promise else "")
    return Guard(
        name=GUARD,
        passed=fault is None,
        value=value,
        limit=least if fault and low > chance else chance,
        detail=f"{measured} {fault}" if fault else measured + known,
    )


def _promise(stated: StatedAccuracy | None) -> tuple[str, float]:
    """What the card states in words, and the least accuracy that agrees with it."""
    if stated is None:
        return "", 0.0
    least = wilson_interval(round(stated.value * stated.n), stated.n)[0] if stated.n else stated.value
    counted = f" ({stated.n} images)" if stated.n else ""
    return f"what the card states, {_percent(stated.value)} on {stated.data}{counted}", least


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
