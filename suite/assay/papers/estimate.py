"""What a reproduction would do, and how long it would take here: measured on a few steps and units, or unknown."""

import math
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tabulate import tabulate

from assay.common.canonical import canonical_json
from assay.common.errors import UserError
from assay.papers.calibrate import Size, saliency_seconds, small_net_seconds, step_seconds, write_untrained
from assay.papers.nets import Net
from assay.papers.plan import Reproduction, Work, bullets
from assay.papers.spec import SmallNet, ZooModel, task_at
from assay.runner.estimate import estimates
from assay.runner.jobs import Job, model_of, open_question
from assay.runner.plan import Survey, plan_jobs, survey
from assay.runner.progress import duration
from assay.training.methods import Salient
from assay.training.recipe import Recipe

_MNIST, _DIGITS = 60_000, 1_347  # images that small nets are trained on
NETWORK_SECONDS = 0.7  # spent on a training of its own kind
TASKS_SECONDS = 15.0  # spent on all tasks
HOW_MEASURED = (
    "Trainings are measured on noise, by a few steps of an untrained network; the reading of pictures that do not fit "
    "the memory is left out. The saliency of a teacher is among them."
)
UNTRAINED = (
    "* At least so long: timed with random weights, on the shape of a network still to be trained. An attack stops at "
    "its first success, so that networks that withstand it take up to fifty times as long, and proofs differ as much."
)


def plan_text(plan: Reproduction) -> str:
    """The plan for the terminal: networks, tasks, what is missing, and the time of one worker."""
    networks, tasks = list(_networks(plan)), list(_tasks(plan))
    rows = (*networks, *tasks)
    parts = [f"{plan.paper.title}, scale {plan.scale_name}, in {plan.out}"]
    if networks:
        parts.append(_table(networks, ["network", "networks", "trained", "time to go"]))
    if tasks:
        parts.append(_table(tasks, ["task on model", "units", "jobs", "time to go"]))
    parts.append("one worker's time to go: " + _total([row.seconds for row in rows]))
    if any(row.seconds for row in networks):
        parts.append(HOW_MEASURED)
    if any(row.untrained for row in tasks):
        parts.append(UNTRAINED)
    missing = plan.problems()
    if plan.needs_archive and plan.archive is None:
        assert plan.paper.archive is not None
        missing.append(
            f"{plan.paper.archive.file} (the claims that rest on it are then not testable): {plan.paper.archive.get}"
        )
    parts.append("missing:" + (bullets(missing) or " nothing"))
    return "\n\n".join(parts)


def _total(seconds: Sequence[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    if len(known) == len(seconds):
        return duration(math.fsum(known))
    unknown = f"{len(seconds) - len(known)} of {len(seconds)} lines cannot be measured here yet"
    return f"at least {duration(math.fsum(known))}; {unknown}" if known else unknown


@dataclass(frozen=True)
class Row:
    """A line of the plan.

    Attributes:
        cells: what stands before the time.
        seconds: of one worker; None where they cannot be measured here.
        untrained: whether they were measured with random weights.
    """

    cells: tuple[str, ...]
    seconds: float | None
    untrained: bool = False

    @property
    def time(self) -> str:
        """The last cell."""
        return "unknown" if self.seconds is None else duration(self.seconds) + "*" * self.untrained


def _table(rows: list[Row], headers: list[str]) -> str:
    lines = [[*row.cells, row.time] for row in rows]
    return tabulate(lines, headers=headers, disable_numparse=True)


def _networks(plan: Reproduction) -> Iterator[Row]:
    by_name: dict[str, list[Net]] = {}
    for net in plan.nets:
        by_name.setdefault(net.name, []).append(net)
    rates = Rates()
    for name, nets in by_name.items():
        todo = [net for net in nets if net.record() is None]
        a_net = 0.0 if not todo else training_seconds(todo[0], rates)
        seconds = None if a_net is None else a_net * len(todo)
        yield Row((name, str(len(nets)), str(len(nets) - len(todo))), seconds)


@dataclass
class Rates:
    """Seconds an image, each kind of training and of saliency measured once."""

    known: dict[str, float] = field(default_factory=dict)

    def of_steps(self, recipe: Recipe, device: str) -> float:
        """Of one epoch; whose saliency a step follows changes nothing."""
        method = recipe.method.model_dump(mode="json", exclude={"saliency"})
        optimiser = recipe.optimiser.model_dump(mode="json")
        key = canonical_json([_shape(recipe), method, optimiser, recipe.batch_size, device])
        if key not in self.known:
            self.known[key] = step_seconds(recipe, device, NETWORK_SECONDS)
        return self.known[key]

    def of_saliency(self, recipe: Recipe, device: str) -> float:
        """Of a teacher's saliency, made once before the first epoch."""
        if not isinstance(recipe.method, Salient):
            return 0.0
        saliency = recipe.method.saliency.model_dump(mode="json", exclude={"teacher"})
        key = canonical_json([_shape(recipe), saliency, device])
        if key not in self.known:
            self.known[key] = saliency_seconds(recipe, device, NETWORK_SECONDS)
        return self.known[key]


def _shape(recipe: Recipe) -> list[object]:
    size = Size.of(recipe)
    return [recipe.architecture, list(size.shape), size.classes]


def training_seconds(net: Net, rates: Rates | None = None) -> float | None:
    """Seconds of one training, its teacher's saliency among them; None where nobody knows of how many images."""
    rates = rates or Rates()
    if isinstance(net.model, SmallNet):
        images = _DIGITS if net.model.architecture.startswith("digits") else _MNIST
        return small_net_seconds(net.model.architecture, NETWORK_SECONDS) * images * net.model.epochs
    recipe, count = net.recipe, _image_count(net)
    if count is None:
        return None
    return count * (
        rates.of_steps(recipe, net.device) * recipe.epochs + rates.of_saliency(recipe, net.device)
    )


def _image_count(net: Net) -> int | None:
    """How many images an epoch has: as the paper's file says, as many as are here, or as the recipe takes at most."""
    if not isinstance(net.model, SmallNet) and net.model.images is not None:
        return net.model.images
    import torch

    from assay.training.pictures import open_pictures

    recipe, roots = net.recipe, [Path(root) for root in net.data_roots]
    try:
        return len(open_pictures(recipe, roots, None, torch.device("cpu"))[0])
    except UserError:
        return recipe.data.train.first


def _tasks(plan: Reproduction) -> Iterator[Row]:
    by_name: dict[tuple[str, str], list[Work]] = {}
    for work in plan.work:
        by_name.setdefault((work.task, work.model), []).append(work)
    with tempfile.TemporaryDirectory() as place:
        clock = _TaskClock(plan, Path(place))
        for left, ((task, model), works) in zip(range(len(by_name), 0, -1), by_name.items(), strict=True):
            units = _units(plan, works[0])
            seconds = None if units is None else clock.seconds(works, left)
            untrained = bool(seconds) and (task, model) in clock.untrained
            cells = (f"{task} on {model}", "?" if units is None else str(units), str(len(works)))
            yield Row(cells, seconds, untrained)


def _units(plan: Reproduction, work: Work) -> int | None:
    """Units of a job; None where its data are not there. A spec of our own asks for those of the one it is made of."""
    task = task_at(plan.scale.tasks[work.task].task, plan.home)
    try:
        return len(open_question(replace(work.request, task=task)).units)
    except UserError:
        return None


class _TaskClock:
    """Seconds of a reproduction's tasks; where networks are still to be trained, untrained ones stand in for them.

    What is measured with those is a time and nothing else: they lie in a folder that is removed.
    """

    def __init__(self, plan: Reproduction, place: Path) -> None:
        self._plan, self._place = plan, place
        self._left = TASKS_SECONDS
        self._a_unit: dict[str, float | None] = {}
        self._stand_ins: dict[tuple[str, str], Survey] = {}

    def seconds(self, works: Sequence[Work], left: int) -> float | None:
        """Of all jobs of one task and model; ``left`` such lines share what is left of the time for measuring."""
        total = 0.0
        for work in works:
            try:
                found, out = self._survey(work)
                if not found.missing:
                    continue
                a_unit = self._seconds_a_unit(work, found, out, self._left / left)
            except UserError:
                return None
            if a_unit is None:
                return None
            total += a_unit * found.missing_units
        return total

    def _survey(self, work: Work) -> tuple[Survey, Path | None]:
        """What is to be done, and the run's folder; of an untrained network where the trained one is not there."""
        line = work.task, work.model
        if line in self._stand_ins:
            return self._stand_ins[line], None
        wanted = self._networks(work)
        if any(net.record() is None for net in self._plan.nets if net.name in wanted):
            self._stand_ins[line] = survey([self._untrained_job(work)], None)[0]
            return self._stand_ins[line], None
        folder = self._plan.run_folder(work.seed)
        out = folder if folder.is_dir() else None
        return survey(plan_jobs([work.request]), out)[0], out

    def _networks(self, work: Work) -> set[str]:
        """The names of all models that a job looks at."""
        return {work.model, *self._plan.scale.tasks[work.task].ensemble}

    @property
    def untrained(self) -> Collection[tuple[str, str]]:
        """Task and model of the lines that untrained networks stood in for."""
        return self._stand_ins.keys()

    def _untrained_job(self, work: Work) -> Job:
        """The same task on untrained networks.

        Raises:
            UserError: something else is missing.
        """
        stage = replace(self._plan, out=self._place)
        for net in stage.nets:
            if net.name in self._networks(work) and not net.folder.exists():
                write_untrained(net)
        stage.write_specs()
        first = next(
            each.request for each in stage.work if (each.task, each.model) == (work.task, work.model)
        )
        return Job(first, open_question(first), model_of(first).info)

    def _seconds_a_unit(self, work: Work, found: Survey, out: Path | None, budget: float) -> float | None:
        """Of a job's own stored chunks, or measured once for all networks of a shape."""
        key, job = found.job.key, found.job
        stored = estimates([found], out, 0.0) if out else {}
        if key in stored:
            return stored[key].seconds_a_unit
        kind = self._kind(work, job)
        if kind not in self._a_unit:
            began = time.monotonic()
            measured = estimates([found], None, budget).get(key)
            self._left = max(self._left - (time.monotonic() - began), 0.0)
            self._a_unit[kind] = None if measured is None else measured.seconds_a_unit
        return self._a_unit[kind]

    def _kind(self, work: Work, job: Job) -> str:
        """Jobs of one kind take the same time."""
        info, model = job.info, self._plan.scale.models[work.model]
        weights = model.model if isinstance(model, ZooModel) else (work.task, work.model) in self.untrained
        return canonical_json([work.task, info.architecture, info.input_shape, info.num_classes, weights])
