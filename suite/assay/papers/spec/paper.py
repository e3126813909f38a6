"""A paper's file as a whole: every name in it leads somewhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.common.validation import StrictModel, read_yaml, validate
from assay.papers.spec.claims import Claim, claim_names
from assay.papers.spec.measurements import (
    AlignmentMeasurement,
    Cell,
    Measurement,
    MetricMeasurement,
    Name,
    RegionsMeasurement,
)
from assay.papers.spec.rules import with_figures, without_rules
from assay.papers.spec.scales import PaperScale, ScaleName


class PublishedTable(StrictModel):
    """Published figures: ``rows`` by label, with one figure (or null) per column; printed, or computed from data."""

    id: Name
    place: str
    what: str
    unit: str
    origin: Literal["printed", "computed"] = "printed"
    columns: tuple[str, ...] = Field(min_length=1)
    rows: dict[str, tuple[float | None, ...]] = Field(min_length=1)
    note: str = ""

    @model_validator(mode="after")
    def _rectangular(self) -> "PublishedTable":
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


class AuthorsArchive(StrictModel):
    """A file of the authors' own results that only the user can bring; ``family`` reads it."""

    family: str
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
    archive: AuthorsArchive | None = None
    tables: tuple[PublishedTable, ...] = ()
    unprinted: tuple[Unprinted, ...] = ()
    measurements: dict[Name, Measurement] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = Field(min_length=1)
    not_reproduced: tuple[str, ...] = ()
    scales: dict[ScaleName, PaperScale]

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
        """What a scale can measure: the paper's measurements with a model and task there, and the scale's own."""
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


def _lost(
    where: str, measurement: Measurement, scale: PaperScale, tables: Mapping[str, PublishedTable]
) -> Iterator[str]:
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


def papers_folder() -> Path:
    """Where the shipped papers lie."""
    return shipped_folder("benchmarks") / "papers"


def shipped_papers() -> dict[str, Path]:
    """Name to file of every paper that ships with Assay, sorted."""
    return {path.stem: path for path in sorted(papers_folder().glob("*.yaml"))}


def load_paper(name: str) -> tuple[Paper, Path]:
    """The paper of that name or in the user's own YAML file, and the folder that its relative paths start from.

    Raises:
        UserError: no such paper, or its file is not valid (file, key and what was expected).
    """
    shipped = shipped_papers()
    path = shipped.get(name, Path(name))
    if name not in shipped and (path.suffix not in {".yaml", ".yml"} or not path.is_file()):
        raise UserError(f"unknown paper {name!r}; choose one of {', '.join(shipped)}, or give a YAML file")
    document = with_figures(without_rules(read_yaml(path), str(path)), path)
    return validate(Paper, document, str(path)), path.parent


def task_at(task: str, folder: Path) -> str:
    """A task as the runner takes it: a shipped id, or the path of a spec beside the paper's file."""
    return str(folder / task) if task.endswith((".yaml", ".yml")) else task
