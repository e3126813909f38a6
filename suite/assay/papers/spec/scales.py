"""What is trained and run at one scale of a reproduction."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from assay.common.validation import StrictModel
from assay.papers.spec.measurements import Measurement, Name

ScaleName = Literal["smoke", "cpu", "cpu-fashion", "cpu-cifar10", "full"]
SCALES: tuple[ScaleName, ...] = ("smoke", "cpu", "full")
"""What every shipped paper has; a paper may have the others."""


class ZooModel(StrictModel):
    """A model of the zoo by name, with its published weights."""

    kind: Literal["zoo"]
    model: str


class RecipeModel(StrictModel):
    """A network trained by a recipe of ``assay train``, once per seed.

    Attributes:
        kind: ``recipe``.
        recipe: a shipped recipe's id, or a file beside the paper's.
        seeds: of the training; each takes the place of the recipe's own.
        teacher: another model of the scale: its network of the same seed gives the saliency.
    """

    kind: Literal["recipe"]
    recipe: str
    seeds: tuple[int, ...] = Field(min_length=1)
    teacher: str | None = None


Model = Annotated[ZooModel | RecipeModel, Field(discriminator="kind")]


class TaskRun(StrictModel):
    """How a task is run.

    Attributes:
        task: a shipped task's id, or a spec file beside the paper's.
        limit: only its first units, as the published figures of the papers' scales are.
        ensemble: models whose networks, of all seeds, make the adversarial images of a consistency task in place of
            the ensemble in its spec.
    """

    task: str
    limit: int | None = Field(default=None, ge=1)
    ensemble: tuple[str, ...] = ()


class PaperScale(StrictModel):
    """What is run at one scale.

    Attributes:
        differs: in what it differs from the paper's own setting, in sentences for the page.
        models: by name.
        tasks: by name.
        names: what stands for ``{name}`` in names of metrics and data, so that one measurement serves all scales.
        measurements: those of this scale alone, or in place of the paper's of the same name.
        untested: why a claim cannot be tested here, by claim.
    """

    differs: tuple[str, ...]
    models: dict[Name, Model] = Field(default_factory=dict)
    tasks: dict[Name, TaskRun] = Field(default_factory=dict)
    names: dict[Name, str] = Field(default_factory=dict)
    measurements: dict[Name, Measurement] = Field(default_factory=dict)
    untested: dict[str, str] = Field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        """Ensembles and teachers that are not there."""
        for name, run in self.tasks.items():
            for member in sorted(set(run.ensemble) - set(self.models)):
                yield f"tasks.{name}: the ensemble names {member!r}, which is no model here"
        for name, model in self.models.items():
            if not isinstance(model, RecipeModel) or model.teacher is None:
                continue
            teacher = self.models.get(model.teacher)
            if not isinstance(teacher, RecipeModel) or teacher.teacher is not None:
                yield f"models.{name}: the teacher {model.teacher!r} is no recipe model without a teacher"
            elif not set(model.seeds) <= set(teacher.seeds):
                yield f"models.{name}: the teacher {model.teacher!r} lacks a seed of {list(model.seeds)}"
