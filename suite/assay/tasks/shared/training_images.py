"""Whether a network was scored on pictures that it was trained on: which units are of such, and the guard."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.results.document import Guard, Metric, TrainingOverlap
from assay.results.tables import format_interval, format_value

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.data.layouts import Sample
    from assay.models.info import TrainedOn

TOLERATED = 0.005
"""Share of a task's units that may be of training pictures: public data sets hold some pictures in both their parts."""
GUARD = "not_trained_on"

Shown = tuple[str, "Sequence[tuple[Dataset, Sample]]"]
"""A unit's id, and the data sets' own pictures that it is about."""


def training_overlap(
    trained_on: "TrainedOn", data: str, units: Iterable[Shown], roots: Sequence[Path]
) -> TrainingOverlap | None:
    """Which units are of pictures that the network was trained on; None where its training pictures are not here.

    Args:
        trained_on: what is known of them.
        data: the name of the job's data set.
        units: that are asked for.
        roots: where data sets are looked for.

    Raises:
        UserError: the list of the training pictures cannot be read.
    """
    if trained_on.file is None and trained_on.data == data:
        return TrainingOverlap(data=data, units=tuple(unit_id for unit_id, _ in units))
    known = _hashes_of(trained_on, tuple(roots))
    if known is None:
        return None
    hashes = _Hashes()
    seen = (unit_id for unit_id, pictures in units if any(hashes.of(*each) in known for each in pictures))
    return TrainingOverlap(data=trained_on.data, units=tuple(seen))


@lru_cache(maxsize=4)
def _hashes_of(trained_on: "TrainedOn", roots: tuple[Path, ...]) -> frozenset[str] | None:
    from assay.data.contents import content_hashes, read_hashes
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    if trained_on.file is not None:
        return read_hashes(Path(trained_on.file))
    try:
        data = open_dataset(load_manifest(trained_on.data), roots)
    except UserError:
        return None
    return frozenset(content_hashes(data, data.samples))


class _Hashes:
    """The hashes of pictures, each computed once: several units may be about one picture."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str | None] = {}

    def of(self, data: "Dataset", sample: "Sample") -> str | None:
        """The picture's hash; None where it cannot be read."""
        from assay.data.contents import hash_of

        place = (data.sha256, sample.unit_id)
        if place not in self._known:
            self._known[place] = hash_of(data, sample)
        return self._known[place]


def not_trained_on(
    overlap: TrainingOverlap, unit_ids: Sequence[str], figure_of_the_rest: Callable[[], Metric | None]
) -> Guard:
    """The guard: how many of the units are of pictures that the network was trained on.

    Args:
        overlap: of the job.
        unit_ids: that stand behind the figures.
        figure_of_the_rest: gives the headline of the units of unseen pictures; asked where the guard fails.
    """
    known = frozenset(overlap.units)
    seen = sum(unit_id in known for unit_id in unit_ids)
    limit = int(TOLERATED * len(unit_ids))
    detail = f"{seen:,} of {len(unit_ids):,} units are of pictures that the network was trained on ({overlap.data})"
    if seen > limit:
        left = len(unit_ids) - seen
        detail += f"; {_words(figure_of_the_rest(), left)}" if left else "; no other unit is left"
    return Guard(name=GUARD, passed=seen <= limit, value=seen, limit=limit, detail=detail)


def _words(metric: Metric | None, units: int) -> str:
    if metric is None or metric.value is None:
        return f"the other {units:,} units give no figure"
    figure = f"{format_value(metric)}{format_interval(metric)}"
    return f"on the other {units:,} units: {metric.heading} {figure}"
