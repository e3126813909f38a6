"""What a reproduction would do, and how long it would take here: measured on a few steps and units, or unknown."""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from assay.errors import UserError
from assay.papers.nets import Net
from assay.papers.plan import Reproduction, Work, bullets
from assay.papers.spec import SmallNet
from assay.runner.estimate import estimates
from assay.runner.jobs import open_question
from assay.runner.plan import plan_jobs, survey
from assay.runner.progress import duration
from assay.training.methods import ForegroundSaliency, Salient
from assay.training.recipe import Recipe

CALIBRATION_IMAGES = 8
_SMALL_NET_IMAGES = 512
_MNIST, _DIGITS = 60_000, 1_347  # images that small nets are trained on
TASK_SECONDS = 60.0


def plan_text(plan: Reproduction) -> str:
    """The plan for the terminal: networks, tasks, what is missing, and the time of one worker."""
    networks, tasks = list(_networks(plan)), list(_tasks(plan))
    parts = [f"{plan.paper.title}, scale {plan.scale_name}, in {plan.out}"]
    if networks:
        parts.append(_table(networks, ["network", "networks", "trained", "time to go"]))
    if tasks:
        parts.append(_table(tasks, ["task on model", "units", "jobs", "time to go"]))
    parts.append("one worker's time to go: " + _total([row.seconds for row in (*networks, *tasks)]))
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

    The making of a saliency is left out.
    """
    images = _image_count(net)
    if images is None:
        return None
    if isinstance(net.model, SmallNet):
        an_image, epochs = _small_net_seconds(net.model.architecture), net.model.epochs
    else:
        an_image, epochs = _recipe_seconds(net), net.recipe.epochs
    return None if an_image is None else an_image * images * epochs


def _image_count(net: Net) -> int | None:
    """How many images an epoch has: as the paper's file says, or as many as are here."""
    if isinstance(net.model, SmallNet):
        return _DIGITS if net.model.architecture.startswith("digits") else _MNIST
    if net.model.images is not None:
        return net.model.images
    import torch

    from assay.training.pictures import open_pictures

    recipe, roots = net.recipe, [Path(root) for root in net.data_roots]
    try:
        return len(open_pictures(recipe, roots, None, torch.device("cpu"))[0])
    except UserError:
        return None


def _small_net_seconds(architecture: str) -> float | None:
    """Seconds an image and epoch."""
    import torch

    from assay.models import small_nets

    if architecture not in small_nets.ARCHITECTURES:
        return None
    side = 8 if architecture.startswith("digits") else 28
    images = torch.rand(_SMALL_NET_IMAGES, 1, side, side)
    labels = torch.arange(_SMALL_NET_IMAGES) % 10
    seconds = 0.0
    for _ in ("to warm up", "to measure"):
        began = time.perf_counter()
        small_nets.train(small_nets.ARCHITECTURES[architecture](), images, labels, epochs=1)
        seconds = time.perf_counter() - began
    return seconds / _SMALL_NET_IMAGES


def _recipe_seconds(net: Net) -> float | None:
    """Seconds an image and epoch."""
    recipe = _with_signs_of_its_own(net.recipe)
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
            return None  # the loss diverges on noise
    return times[-1] / CALIBRATION_IMAGES


def _with_signs_of_its_own(recipe: Recipe) -> Recipe:
    """The same steps, following what noise has too; its teacher, boxes or masks may not be here."""
    if not isinstance(recipe.method, Salient):
        return recipe
    signs = ForegroundSaliency.model_validate({"source": "foreground", "above": "1/2"})
    return recipe.model_copy(update={"method": recipe.method.model_copy(update={"saliency": signs})})


def _try_out(recipe: Recipe, folder: Path, net: Net, times: list[float]) -> None:
    """Train twice, the first time to warm up; the seconds of each go to ``times``."""
    from assay.training.train import Options
    from assay.training.train import train as train_recipe

    for attempt in ("first", "second"):
        train_recipe(
            recipe,
            folder / attempt,
            Options(device=net.device, report=lambda each: times.append(each.seconds)),
        )


def _noise(folder: Path, recipe: Recipe) -> Path:
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
