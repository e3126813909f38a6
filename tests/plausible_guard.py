"""The guard ``clean_accuracy_plausible`` of a job, as a result document would have it."""

from assay.results.document import Guard, ModelCard, StatedAccuracyField
from assay.runner.job_document import model_card
from assay.tasks.base import clean_records, summary_of
from assay.tasks.shared.plausible import GUARD


def plausible_guard(job, records, stated: float | None = None, n: int | None = None) -> Guard | None:
    """The guard where the model's card states an accuracy, or none."""
    card = ModelCard.model_validate(model_card(job.info))
    if stated is not None:
        card = card.model_copy(
            update={"clean_accuracy": StatedAccuracyField(value=stated, data="held-out", n=n)}
        )
    guards = summary_of(job.task, job.spec.spec, clean_records(records), card, job.data.manifest.name).guards
    return next((guard for guard in guards if guard.name == GUARD), None)
