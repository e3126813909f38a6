"""What a reproduction will do: networks to train, jobs to run, and what is missing for them. Nothing is computed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from assay.common.errors import LISTED, UserError
from assay.data.draw import Draw
from assay.models.card_file import SUFFIXES
from assay.models.places import downloads_allowed
from assay.models.trained import PREFIX
from assay.papers.nets import Net, missing_data
from assay.papers.spec.measurements import (
    AlignmentMeasurement,
    CurveMeasurement,
    Measurement,
    MetricMeasurement,
    RegionsMeasurement,
)
from assay.papers.spec.paper import Paper, task_at
from assay.papers.spec.scales import PaperScale, RecipeModel, ScaleName, ZooModel
from assay.runner.files import write_atomically
from assay.runner.jobs import JobRequest
from assay.tasks.families import family, spec_document
from assay.tasks.task_spec import locate_spec

ZOO = None  # the "seed" of a model that is not trained here


def bullets(sentences: Sequence[str]) -> str:
    """The sentences as lines of their own; all but the first line of a text."""
    return "".join(LISTED + sentence for sentence in sentences)


@dataclass(frozen=True)
class PaperTask:
    """One task on one model of one seed, and the run's folder it belongs to."""

    model: str
    seed: int | None
    task: str
    request: JobRequest


@dataclass(frozen=True)
class Reproduction:
    """One paper at one scale in one folder.

    Attributes:
        paper: what is reproduced.
        scale_name: the scale's name.
        home: the folder that the paper's relative paths start from.
        out: where everything is written.
        data_roots: where data are looked for.
        device: what the tasks run on.
    """

    paper: Paper
    scale_name: ScaleName
    home: Path
    out: Path
    data_roots: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def scale(self) -> PaperScale:
        """What is run at this scale.

        Raises:
            UserError: the paper has no such scale.
        """
        if self.scale_name not in self.paper.scales:
            there = ", ".join(self.paper.scales)
            raise UserError(f"{self.paper.paper}: has no scale {self.scale_name!r}; choose one of {there}")
        return self.paper.scales[self.scale_name]

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """What is measured, by name."""
        return self.paper.measured_at(self.scale_name)

    @cached_property
    def nets(self) -> list[Net]:
        """Every network to train."""
        return [
            self.net(name, seed)
            for name, model in self.scale.models.items()
            if isinstance(model, RecipeModel)
            for seed in model.seeds
        ]

    def net(self, name: str, seed: int) -> Net:
        """One network to train."""
        model = self.scale.models[name]
        assert isinstance(model, RecipeModel)
        teacher = model.teacher
        return Net(
            name, model, seed, self.out.resolve() / "nets", self.home, self.data_roots, self.device,
            self.net(teacher, seed) if teacher is not None else None,
        )  # fmt: skip

    @cached_property
    def work(self) -> list[PaperTask]:
        """Every job that a measurement needs, once."""
        wanted = dict.fromkeys(
            (each.model, each.task)
            for each in self.measurements.values()
            if isinstance(each, MetricMeasurement | CurveMeasurement)
        )
        return [
            PaperTask(model, seed, task, self._request(model, seed, task))
            for model, task in wanted
            for seed in self.seeds(model)
        ]

    def seeds(self, model: str) -> Sequence[int | None]:
        """The seeds of a model; one ``ZOO`` for a model that is not trained here."""
        found = self.scale.models[model]
        return found.seeds if isinstance(found, RecipeModel) else (ZOO,)

    def _request(self, model: str, seed: int | None, task: str) -> JobRequest:
        return JobRequest(
            model=self.model_name(model, seed),
            task=self._task(task),
            limit=self.scale.tasks[task].limit,
            draw=Draw.FIRST,
            device=self.device,
            data_roots=self.data_roots,
        )

    def model_name(self, model: str, seed: int | None) -> str:
        """A model's name, as the runner takes it."""
        found = self.scale.models[model]
        if isinstance(found, ZooModel):
            return found.model
        assert seed is not None
        return self.net(model, seed).zoo_name

    def _task(self, name: str) -> str:
        """The task as the runner takes it; one with an ensemble of our own is a spec in the reproduction's folder."""
        run = self.scale.tasks[name]
        return str(self.own_spec(name)) if run.ensemble else task_at(run.task, self.home)

    def run_folder(self, seed: int | None) -> Path:
        """The run of a seed: networks of one architecture but other seeds have one name, so each seed has a run."""
        return self.out / "runs" / ("zoo" if seed is ZOO else f"seed-{seed}")

    def own_spec(self, name: str) -> Path:
        """Where the spec of a task with an ensemble of our own lies."""
        return self.out.resolve() / "tasks" / f"{name}.yaml"

    def write_specs(self) -> None:
        """Write the specs of the tasks that attack with networks trained here.

        Raises:
            UserError: the task has no ensemble, or the folder cannot be written.
        """
        for name, run in self.scale.tasks.items():
            if run.ensemble:
                task = task_at(run.task, self.home)
                document = _reachable(spec_document(task), locate_spec(task)[1].parent)
                block, _, field = (family(document["family"]).attackers or "").partition(".")
                if not isinstance(document.get(block), dict):
                    raise UserError(
                        f"task {run.task}: its spec has no block that names networks to attack with"
                    )
                members = [self._member(model, seed) for model in run.ensemble for seed in self.seeds(model)]
                document[block] = document[block] | {field: members}
                write_atomically(self.own_spec(name), yaml.safe_dump(document, sort_keys=False))

    def _member(self, model: str, seed: int | None) -> str:
        """The name of a model in a spec of our own: with a path from there, so that keys depend on no --out."""
        name = self.model_name(model, seed)
        folder = name.removeprefix(PREFIX)
        return name if folder == name else f"{PREFIX}{os.path.relpath(folder, self.own_spec('any').parent)}"

    @property
    def archive(self) -> Path | None:
        """The authors' own results, where the user has them."""
        wanted = self.paper.archive
        if wanted is None:
            return None
        return next(
            (path for path in (Path(root) / wanted.file for root in self.data_roots) if path.is_file()), None
        )

    def problems(self) -> list[str]:
        """What is missing, once each, with how to get it; the authors' archive is never among it."""
        return list(dict.fromkeys(self._problems()))

    def _problems(self) -> Iterator[str]:
        for net in self.nets:
            yield from missing_data(net)
        if not downloads_allowed():
            yield from self._missing_models()
        yield from self._missing_task_data()
        yield from self._missing_alignment_data()

    def _missing_models(self) -> Iterator[str]:
        from assay.models.zoo import registry

        for name, model in self._zoo_models():
            reason = registry().find(model).available()
            if reason is not None:
                yield f"model {name}: {reason}; ASSAY_DOWNLOAD=1 lets published weights be fetched"

    def _zoo_models(self) -> Iterator[tuple[str, str]]:
        """Every network of the zoo, with the name that it has here: those to be measured, and those to start from."""
        for name, model in self.scale.models.items():
            if isinstance(model, ZooModel):
                yield name, model.model
        for net in self.nets:
            if net.recipe.start_from is not None:
                yield f"that {net.name} starts from", net.recipe.start_from

    def _missing_task_data(self) -> Iterator[str]:
        from assay.runner.jobs import open_question

        seen: set[str] = set()
        for each in self.work:
            if each.task not in seen:
                seen.add(each.task)
                try:
                    open_question(
                        replace(each.request, task=task_at(self.scale.tasks[each.task].task, self.home))
                    )
                except UserError as error:
                    yield str(error)

    def _missing_alignment_data(self) -> Iterator[str]:
        from assay.data.dataset import is_available
        from assay.data.manifest import load_manifest

        wanted = {each.data for each in self.measurements.values() if isinstance(each, AlignmentMeasurement)}
        roots = [Path(root) for root in self.data_roots]
        for name in sorted(wanted):
            reason = is_available(load_manifest(name), roots)
            if reason is not None:
                yield reason

    @property
    def needs_archive(self) -> bool:
        """Whether any measurement reads the authors' archive."""
        return any(isinstance(each, RegionsMeasurement) for each in self.measurements.values())


def _reachable(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The spec with the files beside it, such as a hierarchy, named so that they are found from anywhere."""
    return {
        key: str(folder.resolve() / value)
        if isinstance(value, str) and value.endswith((".json", *SUFFIXES)) and (folder / value).is_file()
        else value
        for key, value in document.items()
    }
