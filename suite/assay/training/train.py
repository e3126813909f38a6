"""From a recipe to a trained network in a folder."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from assay.atomic import make_writable, write_atomically
from assay.canonical import canonical_sha256
from assay.errors import UserError
from assay.models.architectures import build
from assay.models.loaded import normalised, torch_device
from assay.models.trained import CARD_FILE, PREFIX, WEIGHTS_FILE, TrainedCard, read_card, write_card
from assay.models.weights import file_sha256
from assay.training.checkpoints import Checkpoints
from assay.training.pictures import Pictures, open_pictures
from assay.training.recipe import Recipe
from assay.training.salient import Guide, check_teacher, guide_of
from assay.training.trainer import EpochReport, Material, Trainer, initialised, silent

FORMAT = 1  # of the training; raised whenever the same recipe would give other weights
LOG_FILE = "log.csv"


@dataclass(frozen=True)
class Options:
    """What does not change the answer.

    Attributes:
        data_roots: folders to look for data in.
        relative_to: the file that names the data, where its manifests are paths.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        checkpoint_seconds: at least so long between two checkpoints.
        report: called after each epoch.
        say: called with a sentence that a user should read.
    """

    data_roots: Sequence[Path] = ()
    relative_to: Path | None = None
    device: str = "cpu"
    checkpoint_seconds: float = 60.0
    report: Callable[[EpochReport], None] = silent
    say: Callable[[str], None] = silent


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        folder: with ``model.safetensors``, ``model.yaml`` and ``log.csv``.
        card: the content of ``model.yaml``.
    """

    folder: Path
    card: TrainedCard

    @property
    def model(self) -> str:
        """The name under which the zoo finds the network."""
        return f"{PREFIX}{self.folder}"


def train(recipe: Recipe, out: Path, options: Options | None = None) -> Training:
    """Train a network, or finish what is in ``out`` already.

    Raises:
        UserError: missing data, a data set or teacher that the recipe cannot use, a folder of another training, a full
            disk, a loss that diverges (:class:`assay.training.trainer.DivergedError`).
    """
    plan = _Plan.of(recipe, out, options or Options())
    if (out / CARD_FILE).is_file():
        return plan.finished()
    trainer, preparation = plan.trainer()
    trainer.run(recipe.epochs)
    return plan.publish(trainer, preparation)


def train_part(recipe: Recipe, out: Path, epochs: int, options: Options | None = None) -> None:
    """Train until so many epochs are finished, and leave a checkpoint from which :func:`train` goes on.

    Raises:
        UserError: as :func:`train`.
    """
    plan = _Plan.of(recipe, out, options or Options())
    if (out / CARD_FILE).is_file():
        plan.finished()
        return
    trainer, _ = plan.trainer()
    trainer.run(min(epochs, recipe.epochs))


@dataclass(frozen=True)
class _Plan:
    """A recipe with its data and its teacher, found and checked."""

    recipe: Recipe
    out: Path
    options: Options
    parts: tuple[Pictures, Pictures]
    guide: Guide
    device: torch.device

    @classmethod
    def of(cls, recipe: Recipe, out: Path, options: Options) -> _Plan:
        device = torch_device(options.device)
        parts = open_pictures(recipe, options.data_roots, options.relative_to, device)
        guide = guide_of(recipe, device)
        check_teacher(guide, parts[0])
        return cls(recipe, out, options, parts, guide, device)

    @property
    def data_sha256(self) -> str:
        return canonical_sha256([part.sha256 for part in self.parts])

    @property
    def key(self) -> str:
        return canonical_sha256(
            {
                "format": FORMAT,
                "recipe": self.recipe.sha256,
                "data": self.data_sha256,
                "teacher": self.guide.identity,
            }
        )

    def finished(self) -> Training:
        card = read_card(self.out)
        if card.training_key != self.key:
            raise UserError(
                f"{self.out}: holds a network of another recipe, other data or another teacher ({card.title}); "
                "choose another folder with --out"
            )
        self.options.say(f"{self.out}: is trained already")
        return Training(self.out, card)

    def trainer(self) -> tuple[Trainer, float]:
        """The trainer where the newest checkpoint left it, and the seconds that the saliency took."""
        checkpoints = Checkpoints(self.out / "checkpoints", self.key)
        recipe, train_set = self.recipe, self.parts[0]
        trainer = Trainer(
            Material(recipe, *self.parts, None, self.device),
            normalised(self._fresh(), recipe.input.preprocessing),
            checkpoints,
            self.options.checkpoint_seconds,
            self.options.report,
        )
        for complaint in trainer.restore():
            self.options.say(complaint)
        for part in self.parts:
            part.keep()
        signs, seconds = self.guide.signs(train_set)
        trainer.material = Material(recipe, *self.parts, signs, self.device)
        make_writable(self.out)
        return trainer, seconds

    def _fresh(self) -> nn.Module:
        recipe, classes = self.recipe, self.parts[0].dataset.manifest.num_classes
        shape = (len(recipe.input.mean), *recipe.input.crop)
        return initialised(recipe.seed, lambda: build(recipe.architecture, shape, classes))

    def publish(self, trainer: Trainer, preparation: float) -> Training:
        """Write the network, its log, and last its card."""
        reports = trainer.position.reports
        net = getattr(trainer.net, "net", trainer.net)  # without its normalisation, which the card describes
        weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
        write_atomically(self.out / WEIGHTS_FILE, save(weights))
        write_atomically(self.out / LOG_FILE, log_of(reports))
        manifest = self.parts[0].dataset.manifest
        card = TrainedCard(
            title=self.recipe.title,
            method=self.recipe.method.name,
            architecture=self.recipe.architecture,
            label_space=manifest.label_space,
            num_classes=manifest.num_classes,
            preprocessing=self.recipe.input.preprocessing,
            seed=self.recipe.seed,
            epochs=self.recipe.epochs,
            accuracy=reports[-1].accuracy,
            train_seconds=round(sum(report.seconds for report in reports), 3),
            train_cpu_seconds=round(sum(report.cpu_seconds for report in reports), 3),
            preparation_seconds=round(preparation, 3),
            weights_sha256=file_sha256(self.out / WEIGHTS_FILE),
            recipe_sha256=self.recipe.sha256,
            data_sha256=self.data_sha256,
            training_key=self.key,
            made_with=_made_with(self.device),
        )
        write_card(self.out, card)
        trainer.checkpoints.clear()
        return Training(self.out, card)


def log_of(reports: Sequence[EpochReport]) -> str:
    """The epochs as CSV."""
    parts = list(reports[0].losses)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["epoch", "step", *parts, "clean_accuracy", "learning_rate", "seconds", "cpu_seconds"])
    for report in reports:
        figures = [*report.losses.values(), report.accuracy, report.learning_rate]
        seconds = [f"{report.seconds:.3f}", f"{report.cpu_seconds:.3f}"]
        writer.writerow([report.epoch, report.step, *(f"{figure:.6g}" for figure in figures), *seconds])
    return buffer.getvalue()


def _made_with(device: torch.device) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "device": device.type,
        "threads": torch.get_num_threads(),
    }
