"""The spec of neuron consistency."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.common.fields import IDENTITY, RUNTIME, Rational
from assay.common.validation import StrictModel
from assay.tasks.task_spec import TaskSpec

Pool = Literal["max", "mean"]
ModelNames = tuple[Annotated[str, Field(min_length=1)], ...]


class EnsembleSpec(StrictModel):
    """The ensemble-optimisation attack that makes the adversarial set (Dong et al., section 2).

    Attributes:
        ensemble: zoo names of the members, all of one label space; paths in them start at the spec's own folder.
        held_out: models that only say whether they are fooled too (transfer).
        targets: how many least-likely classes an image is sent to, or ``given`` for the data set's own targets.
        steps: Adam's iterations.
        step_size: Adam's step, pixels in [0, 1].
        stop_confidence: leave an image as it is once every member gives its target this probability.
    """

    ensemble: Annotated[ModelNames, IDENTITY] = Field(min_length=1)
    held_out: Annotated[ModelNames, IDENTITY] = ()
    targets: Annotated[Annotated[int, Field(ge=1)] | Literal["given"], IDENTITY] = 10
    steps: Annotated[int, IDENTITY] = Field(default=10, ge=1)
    step_size: Annotated[Rational, IDENTITY] = Field(default="5/255", validate_default=True)
    stop_confidence: Annotated[Rational | None, IDENTITY] = None

    @model_validator(mode="after")
    def _sound(self) -> "EnsembleSpec":
        names = [*self.ensemble, *self.held_out]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"the model {name!r} stands twice in `ensemble` and `held_out`; keep it once"
                )
        if not 0 < self.step_size <= 1:
            raise ValueError(
                f"step_size: expected a step in pixels of [0, 1] such as 5/255, found {self.step_size}"
            )
        if self.stop_confidence is not None and not 0 < self.stop_confidence < 1:
            raise ValueError(
                f"stop_confidence: expected a probability such as 0.99, found {self.stop_confidence}"
            )
        return self


HEADLINE = "excess"
"""The figure that ranks: how far the likeness of a neuron's top images exceeds what shuffled labels give."""


class ConsistencySpec(TaskSpec):
    """Neuron consistency on real and on adversarial images.

    Attributes:
        layers: module names; the last one gives the headline figures. Without it, the last convolution is found, or a
            transformer's last block.
        pool: how a channel's map becomes one activation.
        top_share: share of the images that stand for a neuron; at least 3 images do.
        sigmas: widths of the similarity in edges of the hierarchy.
        headline_sigma: the width behind the headline figures, pictures and records.
        hierarchy: ``imagenet``, ``flat`` (every two classes are siblings), or a hierarchy file beside the spec. On the
            runtime side because its content is in the key through the data's hash.
        adversarial: how to make the adversarial set.
        adversarial_data: instead, the manifest of a set that is there already; its hash is in the key.
    """

    family: Annotated[Literal["consistency"], IDENTITY]
    layers: Annotated[tuple[str, ...], IDENTITY] = ()
    pool: Annotated[Pool, IDENTITY] = "max"
    top_share: Annotated[Rational, IDENTITY] = Field(default="1/100", validate_default=True)
    sigmas: Annotated[tuple[Rational, ...], IDENTITY] = Field(
        default=("1/2", "1", "2", "4"), min_length=1, validate_default=True
    )
    headline_sigma: Annotated[Rational, IDENTITY] = Field(default="1", validate_default=True)
    hierarchy: Annotated[str, RUNTIME] = "imagenet"
    adversarial: Annotated[EnsembleSpec | None, IDENTITY] = None
    adversarial_data: Annotated[str | None, RUNTIME] = None

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.tasks.task_spec.TaskSpec.metric_keys`."""
        figures = (HEADLINE, "excess_gap", "excess_adv", "consis", "consis_adv")
        return (*figures, *(f"{figure}@{sigma}" for figure in figures for sigma in self.sigmas))

    @model_validator(mode="after")
    def _consistent(self) -> "ConsistencySpec":
        if (self.adversarial is None) == (self.adversarial_data is None):
            raise ValueError(
                "give either `adversarial` (how to make the set) or `adversarial_data` (its manifest)"
            )
        if not 0 < self.top_share <= 1:
            raise ValueError(f"top_share: expected a share such as 1/100, found {self.top_share}")
        if any(sigma <= 0 for sigma in self.sigmas):
            raise ValueError("sigmas: expected positive widths in edges")
        for name, values in (("sigmas", self.sigmas), ("layers", self.layers)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: one is given twice")
        if self.headline_sigma not in self.sigmas:
            raise ValueError(f"headline_sigma: {self.headline_sigma} is not one of `sigmas`")
        return self
