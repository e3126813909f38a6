"""The accuracy under the worst corruption, of two networks: each has its own worst, so no image has a share of it."""

from collections.abc import Sequence

import numpy as np

from assay.common.resampling import PairedEstimate, least_mean, paired_resampling
from assay.tasks.base import Record
from assay.tasks.corruptions.outcomes import CorruptionOutcomes
from assay.tasks.corruptions.spec import CorruptionsSpec
from assay.tasks.shared.own_answers import as_agreement


def paired(spec: CorruptionsSpec, a: Sequence[Record], b: Sequence[Record]) -> dict[str, PairedEstimate]:
    """See :meth:`assay.tasks.base.Task.paired`."""
    if spec.pictures == "plain" or not a:
        return {}
    one, other = (
        np.asarray(CorruptionOutcomes.of(spec, records).correct.mean(2), np.float64) for records in (a, b)
    )
    name = "worst_corruption_accuracy"
    found = paired_resampling(one, other, least_mean, "images", spec.seed)
    return {as_agreement(name) if spec.predicted else name: found}
