"""Which pictures were answered rightly: the records as arrays. Without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.tasks.base import Record
from assay.tasks.corruptions.spec import CorruptionsSpec

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CorruptionOutcomes:
    """N images under C corruptions at S severities.

    Attributes:
        answers: (N, C, S) classes.
        correct: (N, C, S), whether the answer is the label.
        predicted: (N,) answers to the clean pictures; None where there are none.
        clean: (N,), whether these are the labels; None as above.
        changes: (N, C, S) mean absolute change of a value in [0, 1]; None as above.
    """

    answers: npt.NDArray[np.int64]
    correct: Bools
    predicted: npt.NDArray[np.int64] | None
    clean: Bools | None
    changes: npt.NDArray[np.float64] | None

    @classmethod
    def of(cls, spec: CorruptionsSpec, records: Sequence[Record]) -> "CorruptionOutcomes":
        """The outcomes of records without an error."""
        shape = (len(records), len(spec.corruptions), len(spec.severities))
        values = [record.values for record in records]
        labels = np.array([one["label"] for one in values], np.int64)
        answers = np.array([[one["answers"][name] for name in spec.corruptions] for one in values], np.int64)
        answers = answers.reshape(shape)
        has_clean = bool(records) and spec.pictures != "published"
        predicted = np.array([one["predicted"] for one in values], np.int64) if has_clean else None
        changes = (
            np.array([[one["changes"][name] for name in spec.corruptions] for one in values]).reshape(shape)
            if has_clean
            else None
        )
        correct = answers == labels[:, np.newaxis, np.newaxis]
        clean = None if predicted is None else predicted == labels
        return cls(answers, correct, predicted, clean, changes)

    @property
    def by_corruption(self) -> npt.NDArray[np.float64]:
        """(C,) mean accuracy over images and severities."""
        return np.asarray(self.correct.mean((0, 2)), np.float64)

    @property
    def cells(self) -> npt.NDArray[np.float64]:
        """(C, S) accuracy."""
        return np.asarray(self.correct.mean(0), np.float64)

    @property
    def flips(self) -> Bools:
        """(N, C, steps): whether the answer changes from one severity to the next; from the clean picture first."""
        series = self.answers
        if self.predicted is not None:
            first = np.broadcast_to(self.predicted[:, np.newaxis, np.newaxis], (*series.shape[:2], 1))
            series = np.concatenate([first, series], axis=2)
        return np.asarray(series[:, :, 1:] != series[:, :, :-1], np.bool_)
