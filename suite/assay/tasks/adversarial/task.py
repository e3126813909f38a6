"""Accuracy under attack, as a family of the task protocol."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.errors import UserError
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import summarise
from assay.tasks.base import DataSource, Figure, Record, RunContext, Summary, Unit
from assay.tasks.images import image_units, label_space_mismatch, open_images

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


class AdversarialTask:
    """Does the label survive a small worst-case perturbation: FGSM, BIM, PGD, MIM?"""

    family = "adversarial"
    record_version = 1
    chunk_units = 10
    dtypes = ("float32", "bfloat16")
    spec_type = AdversarialSpec
    record_columns = (
        "unit_id", "label", "predicted", "clean_correct", "method", "eps", "adversarial_predicted",
        "adversarial_correct", "linf", "steps_used", "error",
    )  # fmt: skip

    def open_data(self, spec: AdversarialSpec, source: DataSource) -> "Dataset":
        """See :class:`assay.tasks.base.Task`."""
        data = open_images(source)
        untargeted = all(attack.targeted != "dataset" for attack in spec.attacks)
        if not untargeted and any(sample.target is None for sample in data.samples):
            raise UserError(
                f"data set {data.manifest.name}: has no target classes; use `targeted: least_likely` in the spec, "
                "or a data set with targets such as nips2017-dev300"
            )
        return data

    def not_applicable(self, spec: AdversarialSpec, model: "ModelInfo", data: "Dataset") -> str | None:
        """See :class:`assay.tasks.base.Task`."""
        return label_space_mismatch(model, data)

    def units(self, spec: AdversarialSpec, data: "Dataset") -> list[Unit]:
        """One unit an image."""
        return image_units(data)

    def run(
        self,
        spec: AdversarialSpec,
        model: "LoadedModel",
        data: "Dataset",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.adversarial.evaluate import evaluate

        yield from evaluate(spec, model, data, units, context)

    def summarise(self, spec: AdversarialSpec, records: Sequence[Record]) -> Summary:
        """See :func:`assay.tasks.adversarial.summary.summarise`."""
        return summarise(spec, records)

    def figures(self, spec: AdversarialSpec, records: Sequence[Record]) -> Sequence[Figure]:
        """See :func:`assay.tasks.adversarial.figures.figures`."""
        from assay.tasks.adversarial.figures import figures

        return figures(spec, records)

    def rows(self, spec: AdversarialSpec, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """One row an image, method and eps; an image that failed has one row with its error."""
        for record in records:
            if record.error is not None:
                yield {"unit_id": record.unit_id, "error": record.error}
                continue
            head = {
                "unit_id": record.unit_id,
                **{name: record.values[name] for name in ("label", "predicted", "clean_correct")},
            }
            for attack in spec.attacks:
                for eps in spec.eps:
                    found = record.values["attacks"][attack.series][str(eps)]
                    yield head | {
                        "method": attack.series,
                        "eps": float(eps),
                        "adversarial_predicted": found["predicted"],
                        "adversarial_correct": found["correct"],
                        "linf": found["linf"],
                        "steps_used": found["steps"],
                    }


TASK = AdversarialTask()
