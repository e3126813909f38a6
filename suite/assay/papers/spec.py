"""A paper as data: its published figures with their places, its claims, and what to run at each scale.

Nothing in such a file is executed: nets are trained by recipes, tasks run through the runner, and a claim is one of the
few tests of :data:`Test`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.errors import UserError
from assay.resources import shipped_folder
from assay.validation import StrictModel, read_yaml, validate

ScaleName = Literal["smoke", "cpu", "full"]
SCALES: tuple[ScaleName, ...] = ("smoke", "cpu", "full")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Table(StrictModel):
    """Published figures: ``rows`` by label, each with one figure (or null) a column."""

    id: Name
    place: str
    what: str
    unit: str
    columns: tuple[str, ...] = Field(min_length=1)
    rows: dict[str, tuple[float | None, ...]] = Field(min_length=1)
    note: str = ""

    @model_validator(mode="after")
    def _rectangular(self) -> "Table":
        for label, figures in self.rows.items():
            if len(figures) != len(self.columns):
                raise ValueError(
                    f"rows: {label!r} has {len(figures)} figures for {len(self.columns)} columns"
                )
        return self


class Unprinted(StrictModel):
    """Something that the paper shows without figures that could be read off, such as a curve."""

    place: str
    what: str


class Cell(StrictModel):
    """One published figure; ``scale`` brings it to the unit of ours (0.01 for per cent beside proportions)."""

    table: str
    row: str
    column: str
    scale: float = Field(default=1.0, gt=0)


class _Measurement(StrictModel):
    text: str
    published: Cell | None = None


class MetricMeasurement(_Measurement):
    """A metric of a task's result, by its name."""

    kind: Literal["metric"]
    model: str
    task: str
    metric: str


class CurveMeasurement(_Measurement):
    """The mean over a curve's points with x > 0, i.e. the area under it: ``series`` of a task's result."""

    kind: Literal["curve"]
    model: str
    task: str
    series: str


class TrainingMeasurement(_Measurement):
    """What training a net took: ``seconds``, of the processor where it was the CPU that trained."""

    kind: Literal["training"]
    model: str
    quantity: Literal["seconds"]


class AlignmentMeasurement(_Measurement):
    """Etmann's alignment of a network's gradient with the image, over the first ``images`` of a data set."""

    kind: Literal["alignment"]
    model: str
    data: str
    images: int = Field(ge=2)


class RegionsMeasurement(_Measurement):
    """A figure of one network from the authors' archive of semantic maps, a value a shape.

    ``srvr_published`` is of the published regions, ``srvr_regrown`` of regions grown anew on the published maps (%),
    ``mean_nsm`` the mean of the maps (probability), ``traps`` the number of semantic traps.
    """

    kind: Literal["regions"]
    network: str
    quantity: Literal["srvr_published", "srvr_regrown", "mean_nsm", "traps"]
    method: Literal["all", "naive", "OIR_B", "OIR_W"] = "all"


Measurement = Annotated[
    MetricMeasurement | CurveMeasurement | TrainingMeasurement | AlignmentMeasurement | RegionsMeasurement,
    Field(discriminator="kind"),
]


class Pair(StrictModel):
    """``left`` against ``right``: lies it below, above, or merely elsewhere?"""

    type: Literal["less", "greater", "differs"]
    left: str
    right: str


class Ratio(StrictModel):
    """``left`` is at least, or at most, ``factor`` times ``right``."""

    type: Literal["ratio_at_least", "ratio_at_most"]
    left: str
    right: str
    factor: float = Field(gt=0)


class Within(StrictModel):
    """``left`` and ``right`` differ by at most ``tolerance``, in their own unit."""

    type: Literal["within"]
    left: str
    right: str
    tolerance: float = Field(gt=0)


class Occurs(StrictModel):
    """What a measurement counts is there at all: in every network that was trained, or in the one that was not.

    One proof of existence suffices, so no interval is asked for.
    """

    type: Literal["occurs"]
    left: str


class Threshold(StrictModel):
    """A measurement against a constant."""

    type: Literal["above", "below", "at_least", "at_most"]
    left: str
    value: float


class Ordering(StrictModel):
    """Each of ``descending`` lies above the next; all neighbouring pairs must."""

    type: Literal["ordering"]
    descending: tuple[str, ...] = Field(min_length=2)


class AllOf(StrictModel):
    """``type`` for every pair of ``left`` and ``right`` at the same place."""

    type: Literal["all_less", "all_greater"]
    left: tuple[str, ...] = Field(min_length=1)
    right: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _paired(self) -> "AllOf":
        if len(self.left) != len(self.right):
            raise ValueError("expected as many measurements in `left` as in `right`")
        return self


Test = Annotated[Pair | Ratio | Within | Threshold | Occurs | Ordering | AllOf, Field(discriminator="type")]


class Claim(StrictModel):
    """A sentence of the paper and the test that decides it.

    ``given`` is another claim without which this one says nothing (robustness is compared "at equal clean
    accuracy"): where that one does not hold, this one is not testable.
    """

    id: Name
    place: str
    text: str
    test: Test
    given: str | None = None
    note: str = ""


class ZooModel(StrictModel):
    """A model of the zoo by name, with its published weights."""

    kind: Literal["zoo"]
    model: str


class SmallNet(StrictModel):
    """A small network trained by the seeded recipe of ``assay train-small``, once a seed."""

    kind: Literal["small-net"]
    architecture: str
    epochs: int = Field(ge=1)
    seeds: tuple[int, ...] = Field(min_length=1)


class RecipeModel(StrictModel):
    """A network trained by a recipe of ``assay train``, once a seed.

    Attributes:
        kind: ``recipe``.
        recipe: a shipped recipe's id, or a file beside the paper's.
        seeds: of the training; each takes the place of the recipe's own.
        teacher: another model of the scale: its network of the same seed gives the saliency.
        images: how many images an epoch has, for estimates of time where the data are not there.
    """

    kind: Literal["recipe"]
    recipe: str
    seeds: tuple[int, ...] = Field(min_length=1)
    teacher: str | None = None
    images: int | None = Field(default=None, ge=1)


Trained = SmallNet | RecipeModel
Model = Annotated[ZooModel | SmallNet | RecipeModel, Field(discriminator="kind")]


class TaskRun(StrictModel):
    """How a task is run.

    Attributes:
        task: a shipped task's id, or a spec file beside the paper's.
        limit: only its first units.
        ensemble: models whose networks, of all seeds, make the adversarial images of a consistency task in place of
            the ensemble in its spec.
    """

    task: str
    limit: int | None = Field(default=None, ge=1)
    ensemble: tuple[str, ...] = ()


class Scale(StrictModel):
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
        """Models that cannot be told apart, or have no teacher; ours in one run go by their architecture."""
        small = [model.architecture for model in self.models.values() if isinstance(model, SmallNet)]
        for architecture in sorted({each for each in small if small.count(each) > 1}):
            yield f"models: two small nets are of architecture {architecture!r}; keep one"
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


class Archive(StrictModel):
    """A file of the authors' own results that only the user can bring."""

    file: str
    get: str


class Paper(StrictModel):
    """One paper: see ``benchmarks/papers``."""

    schema_version: Literal[1] = Field(alias="schema")
    paper: Name
    title: str
    authors: str
    source: str
    summary: str
    settings: dict[str, str] = Field(default_factory=dict)
    archive: Archive | None = None
    tables: tuple[Table, ...] = ()
    unprinted: tuple[Unprinted, ...] = ()
    measurements: dict[Name, Measurement] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = Field(min_length=1)
    not_reproduced: tuple[str, ...] = ()
    scales: dict[ScaleName, Scale]

    @model_validator(mode="after")
    def _references(self) -> "Paper":
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """Names that lead nowhere."""
        tables = {table.id: table for table in self.tables}
        known = {*self.measurements, *(name for scale in self.scales.values() for name in scale.measurements)}
        before: set[str] = set()
        for claim in self.claims:
            for name in sorted(claim_names(claim) - known):
                yield f"claims: {claim.id}: there is no measurement {name!r}"
            if claim.given is not None and claim.given not in before:
                yield f"claims: {claim.id}: `given` names {claim.given!r}, which is no claim above it"
            if claim.id in before:
                yield f"claims: {claim.id}: stands there twice"
            before.add(claim.id)
        for scale_name, scale in self.scales.items():
            for name in sorted(set(scale.untested) - before):
                yield f"scales.{scale_name}.untested: there is no claim {name!r}"
            for problem in scale.problems():
                yield f"scales.{scale_name}: {problem}"
            for name, measurement in self.measured_at(scale_name).items():
                yield from _lost(f"scales.{scale_name}: {name}", measurement, scale, tables)
        if self.archive is None and any(
            isinstance(each, RegionsMeasurement) for each in self._all_measurements()
        ):
            yield "archive: measurements of kind `regions` need it"

    def _all_measurements(self) -> Iterator[Measurement]:
        yield from self.measurements.values()
        for scale in self.scales.values():
            yield from scale.measurements.values()

    def measured_at(self, scale: ScaleName) -> dict[str, Measurement]:
        """What can be measured at a scale: the paper's measurements whose model and task are there, and its own."""
        here = self.scales[scale]
        shared = {
            name: each
            for name, each in self.measurements.items()
            if getattr(each, "model", None) in (None, *here.models)
            and getattr(each, "task", None) in (None, *here.tasks)
        }
        return {name: _named(each, here.names) for name, each in (shared | here.measurements).items()}

    def published(self, cell: Cell) -> float | None:
        """The published figure of a cell, in our unit."""
        table = next(each for each in self.tables if each.id == cell.table)
        figure = table.rows[cell.row][table.columns.index(cell.column)]
        return None if figure is None else figure * cell.scale


def _named(measurement: Measurement, names: Mapping[str, str]) -> Measurement:
    """The measurement with every ``{name}`` in its metric or data replaced."""
    field = {MetricMeasurement: "metric", AlignmentMeasurement: "data"}.get(type(measurement))
    if field is None:
        return measurement
    text: str = getattr(measurement, field)
    for name, replacement in names.items():
        text = text.replace(f"{{{name}}}", replacement)
    return measurement.model_copy(update={field: text})


def _lost(where: str, measurement: Measurement, scale: Scale, tables: Mapping[str, Table]) -> Iterator[str]:
    model, task = getattr(measurement, "model", None), getattr(measurement, "task", None)
    if model is not None and model not in scale.models:
        yield f"{where}: there is no model {model!r}"
    if task is not None and task not in scale.tasks:
        yield f"{where}: there is no task {task!r}"
    cell = measurement.published
    if cell is None:
        return
    table = tables.get(cell.table)
    if table is None:
        yield f"{where}: there is no table {cell.table!r}"
    elif cell.row not in table.rows or cell.column not in table.columns:
        yield f"{where}: table {cell.table!r} has no figure in row {cell.row!r}, column {cell.column!r}"


def claim_names(claim: Claim) -> set[str]:
    """The measurements that a claim speaks of."""
    return set(names_in(claim.test))


def names_in(test: Test) -> tuple[str, ...]:
    """The measurements that a test needs."""
    match test:
        case Threshold() | Occurs():
            return (test.left,)
        case Ordering():
            return test.descending
        case AllOf():
            return (*test.left, *test.right)
        case Pair() | Ratio() | Within():
            return (test.left, test.right)


def papers_folder() -> Path:
    """Where the shipped papers lie."""
    return shipped_folder("benchmarks") / "papers"


def shipped_papers() -> dict[str, Path]:
    """Name to file of every paper that ships with Assay, sorted."""
    return {path.stem: path for path in sorted(papers_folder().glob("*.yaml"))}


def load_paper(name: str) -> tuple[Paper, Path]:
    """The paper of that name, or in a YAML file of one's own, and the folder that its relative paths start from.

    Raises:
        UserError: no such paper, or its file is not valid (file, key and what was expected).
    """
    shipped = shipped_papers()
    path = shipped.get(name, Path(name))
    if name not in shipped and (path.suffix not in {".yaml", ".yml"} or not path.is_file()):
        raise UserError(f"unknown paper {name!r}; choose one of {', '.join(shipped)}, or give a YAML file")
    return validate(Paper, read_yaml(path), str(path)), path.parent


def task_at(task: str, folder: Path) -> str:
    """A task as the runner takes it: a shipped id, or the path of a spec beside the paper's file."""
    return str(folder / task) if task.endswith((".yaml", ".yml")) else task
