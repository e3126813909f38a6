"""The `moved` family: are pictures still recognised when they move sideways?"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from assay.common.statistics import wilson_interval
from assay.common.validation import StrictModel
from assay.results.document import Guard, Metric
from assay.tasks.base import Record, RunContext, Summary, Task, Unit, image_units
from assay.tasks.shared.loading import LoadedPicture
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy
from toy_family.spec import MovedSpec

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.loaded import LoadedModel


class MovedValues(StrictModel):
    """The values of one record."""

    label: int
    clean: int
    moved: int
    unchanged: bool


class MovedTask(Task[MovedSpec, "Dataset"]):
    """Are pictures still recognised when they move sideways?"""

    spec_type = MovedSpec
    record_columns = ("unit_id", "label", "clean", "moved", "unchanged", "error")
    record_values = TypeAdapter(MovedValues)
    meaning = "moved: the share of pictures that are answered as labelled after they moved sideways."

    def chunk_units(self, spec: MovedSpec) -> int:
        """Pictures are quick: many are stored together."""
        return 100

    def units(self, spec: MovedSpec, data: "Dataset") -> list[Unit]:
        """One unit per picture."""
        return image_units(data)

    def run(
        self,
        spec: MovedSpec,
        model: "LoadedModel",
        data: "Dataset",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """The network sees each picture twice; what leaves the right edge comes back at the left."""
        import torch

        for start in range(0, len(units), context.batch_size):
            batch = units[start : start + context.batch_size]
            images = context.loader.batch(
                [LoadedPicture(model, data, unit.payload) for unit in batch], context.device
            )
            moved = images.roll(spec.pixels, dims=-1)
            with torch.no_grad():
                clean_answers, moved_answers = model.module(images).argmax(1), model.module(moved).argmax(1)
            same = (moved == images).flatten(1).all(1)
            for unit, clean, after, unchanged in zip(batch, clean_answers, moved_answers, same, strict=True):
                values = {"label": unit.payload.label, "clean": int(clean), "moved": int(after)}
                yield Record(unit.id, {**values, "unchanged": bool(unchanged)})
            context.advance(len(batch))

    def summarise(self, spec: MovedSpec, records: Sequence[Record]) -> Summary:
        """Both accuracies, and whether every picture changed at all."""
        unchanged = sum(record.values["unchanged"] for record in records)
        guard = Guard.none_found("pictures_move", unchanged, f"{unchanged} pictures look the same when moved")
        moved, clean = (_accuracy(name, records) for name in ("moved", "clean"))
        return Summary((moved, clean), (guard,))

    def plausible(self, spec: MovedSpec, records: Sequence[Record], expected: ExpectedAccuracy) -> Guard:
        """Can the clean answers be what the model's maker meant?"""
        return plausible_accuracy([r.values["clean"] == r.values["label"] for r in records], expected)


def _accuracy(answers: str, records: Sequence[Record]) -> Metric:
    n, right = len(records), sum(record.values[answers] == record.values["label"] for record in records)
    low, high = wilson_interval(right, n)
    return Metric(
        name=f"{answers}_accuracy", title=f"Accuracy on {answers} pictures", unit="proportion", direction="up",
        value=right / n if n else None, ci_low=low, ci_high=high, n=n, headline=True,
    )  # fmt: skip


TASK = MovedTask()
