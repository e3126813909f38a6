"""What a reproduction would do, and how long it would take here: measured on a few steps and units, or unknown."""

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from assay.errors import UserError
from assay.papers.nets import Net
from assay.papers.plan import Reproduction, Work
from assay.papers.spec import RecipeModel
from assay.runner.estimate import estimates
from assay.runner.jobs import open_question
from assay.runner.plan import plan_jobs, survey
from assay.runner.progress import duration

CALIBRATION_IMAGES = 8
TASK_SECONDS = 60.0


def plan_text(plan: Reproduction) -> str:
    """The plan for the terminal: networks, tasks, what is missing, and the time of one worker."""
    networks, tasks = list(_networks(plan)), list(_tasks(plan))
    known = [row.seconds for row in (*networks, *tasks) if row.seconds is not None]
    unknown = len(networks) + len(tasks) - len(known)
    parts = [f"{plan.paper.title}, scale {plan.scale_name}, in {plan.out}"]
    if networks:
        parts.append(_table(networks, ["network", "networks", "trained", "time to go"]))
    if tasks:
        parts.append(_table(tasks, ["task on model", "units", "jobs", "time to go"]))
    parts.append(
        f"one worker's time to go: {duration(math.fsum(known))}"
        + (f", and {unknown} lines that cannot be measured here yet" if unknown else "")
    )
    missing = plan.problems()
    if plan.needs_archive and plan.archive is None:
        assert plan.paper.archive is not None
        missing.append(
            f"{plan.paper.archive.file} (the claims that rest on it are then not testable): {plan.paper.archive.get}"
        )
    parts.append("missing: " + ("nothing" if not missing else "\n  - ".join(["", *missing])))
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Row:
    """A line of the plan; ``seconds`` of one worker, None where they cannot be measured here."""

    cells: tuple[str, ...]
    seconds: float | None


def _table(rows: list[Row], headers: list[str]) -> str:
    lines = [[*row.cells, "unknown" if row.seconds is None else duration(row.seconds)] for row in rows]
    return tabulate(lines, headers=headers, disable_numparse=True)


def _networks(plan: Reproduction) -> Iterator[Row]:
    by_name: dict[str, list[Net]] = {}
    for net in plan.nets:
        by_name.setdefault(net.name, []).append(net)
    for name, nets in by_name.items():
        todo = [net for net in nets if net.record() is None]
        a_net = 0.0 if not todo else training_seconds(todo[0])
        seconds = None if a_net is None else a_net * len(todo)
        yield Row((name, str(len(nets)), str(len(nets) - len(todo))), seconds)


def training_seconds(net: Net) -> float | None:
    """Seconds of one training, from a few steps on noise of the right size; None where it cannot be tried.

    The teacher's saliency is left out.
    """
    if not isinstance(net.model, RecipeModel) or net.model.images is None:
        return None
    recipe = net.recipe
    if recipe.teacher is not None:
        return None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manifest = _noise(folder, recipe)
        chosen = {"manifest": str(manifest), "skip": 0, "per_class": None, "first": None}
        data = recipe.data.model_copy(
            update={part: getattr(recipe.data, part).model_copy(update=chosen) for part in ("train", "test")}
        )
        small = recipe.model_copy(update={"data": data, "epochs": 1, "batch_size": CALIBRATION_IMAGES})
        times: list[float] = []
        try:
            _try_out(small, folder, net, times)
        except UserError:
            return None  # a method that needs what noise does not have, such as boxes
    return times[-1] / CALIBRATION_IMAGES * net.model.images * recipe.epochs


def _try_out(recipe: Any, folder: Path, net: Net, times: list[float]) -> None:
    """Train twice, the first time to warm up; the seconds of each go to ``times``."""
    from assay.training.train import Options
    from assay.training.train import train as train_recipe

    for attempt in ("first", "second"):
        train_recipe(
            recipe,
            folder / attempt,
            Options(device=net.device, report=lambda each: times.append(each.seconds)),
        )


def _noise(folder: Path, recipe: Any) -> Path:
    """A data set of noise in the recipe's input size, as a manifest beside its file."""
    import numpy as np
    import yaml

    from assay.data.manifest import load_manifest

    real = load_manifest(recipe.data.train.manifest)
    rng = np.random.default_rng(0)
    size = (CALIBRATION_IMAGES, *recipe.input.crop, len(recipe.input.mean))
    np.savez(
        folder / "noise.npz",
        images=rng.integers(0, 256, size, dtype=np.uint8).squeeze(-1 if size[-1] == 1 else ()),
        labels=np.arange(CALIBRATION_IMAGES) % real.num_classes,
    )
    document = {
        "schema": 1, "name": "noise", "title": "noise", "label_space": real.label_space,
        "num_classes": real.num_classes, "channels": len(recipe.input.mean), "licence": "none",
        "source": "random numbers", "get": "made when needed",
        "location": {"folder": "."}, "layout": {"type": "npz", "file": "noise.npz"}, "files": "unlisted",
    }  # fmt: skip
    path = folder / "noise.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _tasks(plan: Reproduction) -> Iterator[Row]:
    by_name: dict[tuple[str, str], list[Work]] = {}
    for work in plan.work:
        by_name.setdefault((work.task, work.model), []).append(work)
    until = time.monotonic() + TASK_SECONDS
    for (task, model), works in by_name.items():
        units, seconds = _task(plan, works, max(until - time.monotonic(), 0.0))
        yield Row((f"{task} on {model}", "?" if units is None else str(units), str(len(works))), seconds)


def _task(plan: Reproduction, works: list[Work], budget: float) -> tuple[int | None, float | None]:
    """Units of one job, and the seconds of all; None where data or networks are not there yet."""
    try:
        units = len(open_question(works[0].request).units)
    except UserError:
        return None, None
    try:
        total = 0.0
        for work in works:
            run = plan.out / "runs" / work.run
            out = run if run.is_dir() else None
            surveys = survey(plan_jobs([work.request]), out)
            if not surveys[0].missing:
                continue
            found = estimates(surveys, out, budget)
            if surveys[0].job.key not in found:
                return units, None
            total += found[surveys[0].job.key].seconds_a_unit * surveys[0].missing_units
        return units, total
    except UserError:
        return units, None
