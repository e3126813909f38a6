"""From a recipe to a trained network in a folder."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from assay.common.atomic import make_writable, write_atomically
from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.data.contents import content_hashes, write_hashes
from assay.models.architectures import build, trains_on_one
from assay.models.foreign import NamePolicy, own
from assay.models.loaded import LoadedModel, normalised, torch_device
from assay.models.trained import (
    CARD_FILE,
    PREFIX,
    TRAINED_ON_FILE,
    WEIGHTS_FILE,
    TrainedCard,
    check_weights,
    read_card,
    write_card,
)
from assay.models.weights import file_sha256
from assay.training.checkpoints import Checkpoints
from assay.training.draws import Order, begun
from assay.training.folder import CHECKPOINT_FOLDER, check_folder, no_empty_folder
from assay.training.pictures import TrainingPictures, open_pictures
from assay.training.recipe import Recipe
from assay.training.reports import EpochReport, StepReport, silent
from assay.training.salient import SaliencySource, check_teacher, find_saliency_source
from assay.training.start import begin_with, start_of
from assay.training.threads import one_thread
from assay.training.trainer import Material, Trainer

FORMAT = 1  # of the training; raised whenever the same recipe would give other weights
LOG_FILE = "log.csv"


@dataclass(frozen=True)
class Options:
    """What does not change the answer.

    Attributes:
        data_roots: folders to look for data in.
        relative_to: where the paths of manifests, and of the network to start from, begin.
        trust: how far the names of networks in the recipe are followed.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        checkpoint_seconds: a checkpoint is stored after so many seconds, and at the end of all but short epochs.
        report: called after each epoch.
        progress: called within an epoch, every ``progress_seconds``; where None, its sentence goes to ``say``.
        say: called with a sentence that a user should read.
    """

    data_roots: Sequence[Path] = ()
    relative_to: Path | None = None
    trust: NamePolicy = field(default_factory=own)
    device: str = "cpu"
    checkpoint_seconds: float = 60.0
    report: Callable[[EpochReport], None] = silent
    progress: Callable[[StepReport], None] | None = None
    progress_seconds: float = 10.0
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
        UserError: missing data, a data set or teacher that the recipe cannot use, a folder of another training or of
            something else, a full disk, a loss that diverges (:class:`assay.training.trainer.DivergedError`).
    """
    plan = _Plan.of(recipe, out, options or Options())
    if (out / CARD_FILE).is_file():
        return plan.finished()
    with no_empty_folder(out), _threads(recipe):
        trainer, preparation = plan.trainer()
        trainer.run(recipe.epochs)
        return plan.publish(trainer, preparation)


def train_part(recipe: Recipe, out: Path, epochs: int, options: Options | None = None) -> None:
    """Train until so many epochs are finished, and leave a checkpoint for :func:`train` to go on from.

    Raises:
        UserError: as :func:`train`.
    """
    plan = _Plan.of(recipe, out, options or Options())
    if (out / CARD_FILE).is_file():
        plan.finished()
        return
    with no_empty_folder(out), _threads(recipe):
        trainer, _ = plan.trainer()
        trainer.run(min(epochs, recipe.epochs))


def _threads(recipe: Recipe) -> AbstractContextManager[None]:
    """One thread in float64, where one seed must give one network; else as the caller has it."""
    return one_thread() if recipe.precision == "float64" else nullcontext()


@dataclass(frozen=True)
class _Plan:
    """A recipe with its data and its teacher, found and checked."""

    recipe: Recipe
    out: Path
    options: Options
    parts: tuple[TrainingPictures, TrainingPictures]
    saliency_source: SaliencySource
    start: LoadedModel | None
    device: torch.device

    @classmethod
    def of(cls, recipe: Recipe, out: Path, options: Options) -> _Plan:
        check_folder(out)
        device = torch_device(options.device)
        parts = open_pictures(recipe, options.data_roots, options.relative_to, device)
        saliency_source = find_saliency_source(recipe, device, options.trust)
        check_teacher(saliency_source, parts[0])
        start = start_of(recipe, options.relative_to or Path(), device, options.trust)
        plan = cls(recipe, out, options, parts, saliency_source, start, device)
        plan.check_last_step()
        return plan

    @property
    def data_sha256(self) -> str:
        return canonical_sha256([part.sha256 for part in self.parts])

    @property
    def key(self) -> str:
        parts: dict[str, Any] = {
            "format": FORMAT,
            "recipe": self.recipe.sha256,
            "data": self.data_sha256,
            "teacher": self.saliency_source.identity,
        }
        if self.start is not None:
            parts["start_weights_sha256"] = self.start.info.weights_sha256
        return canonical_sha256(parts)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (len(self.recipe.input.mean), *self.recipe.input.crop)

    @property
    def num_classes(self) -> int:
        return self.parts[0].dataset.manifest.num_classes

    def check_last_step(self) -> None:
        recipe, images = self.recipe, len(self.parts[0])
        last = (images - 1) % recipe.batch_size + 1
        if last == 1 and not trains_on_one(recipe.architecture, self.input_shape, self.num_classes):
            height, width = recipe.input.crop
            raise UserError(
                f"{recipe.title}: `batch_size: {recipe.batch_size}` and {images} training images leave one image for "
                f"an epoch's last step, and the batch norm of {recipe.architecture} at {height} x {width} pixels "
                "needs two; choose another batch size or number of images"
            )

    def finished(self) -> Training:
        card = read_card(self.out)
        if card.training_key != self.key:
            raise UserError(
                f"{self.out}: holds a network of another recipe, other data or another teacher ({card.title}); "
                "choose another folder with --out"
            )
        check_weights(self.out, card)
        if card.trained_on_sha256 is None:  # an older network, without a list of its training images
            card = card.model_copy(update={"trained_on_sha256": self._listed_images()})
            write_card(self.out, card)
        self.options.say(f"{self.out}: is trained already")
        return Training(self.out, card)

    def _listed_images(self) -> str:
        """Write the list of the training images, and give its SHA-256."""
        train = self.parts[0]
        write_hashes(self.out / TRAINED_ON_FILE, content_hashes(train.dataset, train.samples))
        return file_sha256(self.out / TRAINED_ON_FILE)

    def trainer(self) -> tuple[Trainer, float]:
        """The trainer where the newest checkpoint left it, and the seconds that the saliency took."""
        recipe, train_set, options = self.recipe, self.parts[0], self.options
        net, order = self._fresh()
        trainer = Trainer(
            Material(recipe, *self.parts, None, self.device),
            normalised(net, recipe.input.preprocessing),
            order,
            Checkpoints(self.out / CHECKPOINT_FOLDER, self.key),
            checkpoint_seconds=options.checkpoint_seconds,
            report=lambda report: self._report(trainer, report),
            progress=options.progress or (lambda report: options.say(report.sentence)),
            progress_seconds=options.progress_seconds,
        )
        for sentence in (*trainer.restore(), *self._seen_test_images()):
            options.say(sentence)
        make_writable(self.out)  # before any work
        for part in self.parts:
            part.keep()
        signs, seconds = self.saliency_source.signs(train_set, options.say)
        trainer.material = Material(recipe, *self.parts, signs, self.device)
        return trainer, seconds

    def _fresh(self) -> tuple[nn.Module, Order]:
        recipe = self.recipe
        net, order = begun(recipe, lambda: build(recipe.architecture, self.input_shape, self.num_classes))
        if self.start is not None:
            begin_with(net, self.start)
        return net, order

    def _seen_test_images(self) -> Iterator[str]:
        """A warning where training images are also test images."""
        train, test = self.parts
        if train.dataset.sha256 != test.dataset.sha256:
            return
        both = {sample.unit_id for sample in train.samples} & {sample.unit_id for sample in test.samples}
        if both:
            yield (
                f"{self.recipe.title}: {len(both)} of the {len(test)} test images are training images: the accuracy is "
                "not one of unseen images"
            )

    def _report(self, trainer: Trainer, report: EpochReport) -> None:
        self._write_log(trainer)
        self.options.report(report)

    def _write_log(self, trainer: Trainer) -> None:
        # Its folder is not flushed: a log that a loss of power takes is written again after the next epoch.
        write_atomically(self.out / LOG_FILE, log_of(trainer.position.reports), sync_folder=False)

    def publish(self, trainer: Trainer, preparation: float) -> Training:
        """Write the network, its log, and last its card."""
        reports = trainer.position.reports
        net = getattr(trainer.net, "net", trainer.net)  # without its normalisation, which the card describes
        weights = {name: tensor.cpu().contiguous() for name, tensor in net.float().state_dict().items()}
        write_atomically(self.out / WEIGHTS_FILE, save(weights))
        self._write_log(trainer)
        manifest = self.parts[0].dataset.manifest
        card = TrainedCard(
            title=self.recipe.title,
            method=self.recipe.method.name,
            architecture=self.recipe.architecture,
            label_space=manifest.label_space,
            num_classes=self.num_classes,
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
            recipe=self.recipe.model_dump(mode="json", by_alias=True),
            trained_on_sha256=self._listed_images(),
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
