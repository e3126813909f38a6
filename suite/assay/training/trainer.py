"""The one training loop, for every method.

All randomness is a function of the seed and of the epoch (the order) or the step (the rest). So a training that was
killed and goes on from a checkpoint ends with the same bytes as an unbroken one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from assay.common.allocator import keep_freed_memory
from assay.common.errors import UserError
from assay.training.checkpoints import Checkpoints
from assay.training.draws import LAYERS, METHOD, Order, number
from assay.training.interrupts import interrupts_waiting
from assay.training.objectives import Batch, looked_at, objective_of
from assay.training.pictures import TrainingPictures
from assay.training.recipe import Adadelta, Adam, Optimiser, Recipe, Sgd
from assay.training.reports import EpochReport, StepReport, silent

_TEST_BATCH = 500
_SAVE_SHARE = 0.05  # of the time since the last checkpoint, at most, goes into one at an epoch's end


class DivergedError(UserError):
    """The loss or the weights stopped being finite."""


@dataclass(frozen=True)
class Material:
    """What a training works on.

    Attributes:
        recipe: the recipe.
        train: images to train on.
        test: images that accuracy is measured on.
        salient: int8 of +1 and -1, (N, H, W) or (N, C, H, W), for methods that follow a saliency.
        device: where it all lies.
    """

    recipe: Recipe
    train: TrainingPictures
    test: TrainingPictures
    salient: Tensor | None
    device: torch.device


@dataclass
class Position:
    """How far a training is; everything in a checkpoint but weights and optimiser.

    Attributes:
        epoch: epochs finished.
        step: steps taken in the epoch under way.
        sums: of each loss over the images of the epoch under way, in the order the losses first came.
        seconds: spent in the steps of the epoch under way.
        cpu_seconds: the same in CPU time of this process.
        reports: of the finished epochs.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reports: list[EpochReport] = field(default_factory=list)

    def as_state(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Position:
        """The position that :meth:`as_state` wrote."""
        return cls(**{**state, "reports": [EpochReport(**report) for report in state["reports"]]})


@dataclass
class Trainer:
    """One training under way.

    Attributes:
        material: what it works on.
        net: pixels in [0, 1] to logits; its weights change, and are of the recipe's precision from then on.
        order: of the images.
        checkpoints: where its state is stored.
        checkpoint_seconds: a checkpoint is stored after so many seconds. It is at each epoch's end too, unless epochs
            are so short that storing would take more than a twentieth of the time.
        report: called after each epoch.
        progress: called within an epoch, every ``progress_seconds``.
    """

    material: Material
    net: nn.Module
    order: Order
    checkpoints: Checkpoints
    checkpoint_seconds: float = 60.0
    report: Callable[[EpochReport], None] = silent
    progress: Callable[[StepReport], None] = silent
    progress_seconds: float = 10.0
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        recipe = self.material.recipe
        self._dtype = torch.float64 if recipe.precision == "float64" else torch.float32
        self.net.to(self.material.device, self._dtype)
        self._parameters = list(self.net.parameters())
        self._optimiser = optimiser_of(recipe.optimiser, self._parameters)
        self._objective = objective_of(recipe.method)
        self._steps_per_epoch = math.ceil(len(self.material.train) / recipe.batch_size)
        self._last_save = self._last_word = time.monotonic()
        self._save_seconds = 0.0
        self._stored = self._place
        self._between_steps = True

    def restore(self) -> list[str]:
        """Go on from the newest whole checkpoint, if there is one; a sentence for each damaged one.

        Raises:
            UserError: it is of another training.
        """
        state, complaints = self.checkpoints.newest()
        if state is not None:
            self.net.load_state_dict(state["net"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.position = Position.of_state(state["position"])
            self._stored = self._place
        return complaints

    def run(self, until: int) -> None:
        """Train until so many epochs are finished.

        Raises:
            DivergedError: a loss or a weight is NaN or infinite; earlier checkpoints are kept.
            KeyboardInterrupt: as soon as the step under way is finished and stored.
            UserError: the disk is full, or a picture cannot be read.
        """
        keep_freed_memory()
        devices = [self.material.device] if self.material.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            self.net.train()
            try:
                while self.position.epoch < until:
                    self._epoch()
            except KeyboardInterrupt:
                if self._between_steps:
                    self._keep()
                raise
        self._keep()

    def _epoch(self) -> None:
        recipe, position = self.material.recipe, self.position
        order = self.order.of(position.epoch, len(self.material.train))
        for rows in torch.split(order, recipe.batch_size)[position.step :]:
            self._whole_step(rows)
            now = time.monotonic()
            if now - self._last_save >= self.checkpoint_seconds:
                self._save()
            if now - self._last_word >= self.progress_seconds:
                self._tell()
        self._finish_epoch()

    def _whole_step(self, rows: Tensor) -> None:
        """A step and its place in the epoch, which no interrupt parts but one that comes twice."""
        position = self.position
        with interrupts_waiting():
            self._between_steps = False
            began, cpu_began = time.perf_counter(), time.process_time()
            self._step(rows)
            position.step += 1
            position.seconds += time.perf_counter() - began
            position.cpu_seconds += time.process_time() - cpu_began
            self._between_steps = True

    def _step(self, rows: Tensor) -> None:
        recipe, position, done = self.material.recipe, self.position, self._done
        rate = learning_rate(recipe, done, self._steps_per_epoch)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        _seed_layers(number(recipe.seed, LAYERS, done), self.material.device)
        losses = self._objective(self.net, self._batch(rows, done))
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if not math.isfinite(values["loss"]):
            raise self._diverged(f"the loss is {values['loss']} at step", done + 1)
        self._optimiser.zero_grad()
        losses["loss"].backward(inputs=self._parameters)  # type: ignore[no-untyped-call]
        self._optimiser.step()
        for name, value in values.items():
            position.sums[name] = position.sums.get(name, 0.0) + value * len(rows)

    def _batch(self, rows: Tensor, done: int) -> Batch:
        material, device = self.material, self.material.device
        there = rows.to(device)
        chance = torch.Generator(device).manual_seed(number(material.recipe.seed, METHOD, done))
        return Batch(
            images=material.train.images(rows).to(self._dtype),
            labels=material.train.labels[there],
            chance=chance,
            salient=None if material.salient is None else material.salient[there],
            epochs=self.position.epoch,
            steps=done,
        )

    def _finish_epoch(self) -> None:
        recipe, position = self.material.recipe, self.position
        images, seconds = len(self.material.train), max(position.seconds, 1e-9)
        before = [report.seconds for report in position.reports]
        mean = (sum(before) + seconds) / (len(before) + 1)
        report = EpochReport(
            epoch=position.epoch + 1,
            epochs=recipe.epochs,
            step=self._done,
            losses={name: total / images for name, total in position.sums.items()},
            accuracy=accuracy(self.net, self.material.test, self._dtype),
            learning_rate=learning_rate(recipe, self._done - 1, self._steps_per_epoch),
            seconds=position.seconds,
            cpu_seconds=position.cpu_seconds,
            images_per_second=images / seconds,
            seconds_to_go=mean * (recipe.epochs - position.epoch - 1),
        )
        self.position = Position(epoch=position.epoch + 1, reports=[*position.reports, report])
        pause = min(self.checkpoint_seconds, self._save_seconds / _SAVE_SHARE)
        if time.monotonic() - self._last_save >= pause:
            self._save()
        self.report(report)
        self._last_word = time.monotonic()

    def _tell(self) -> None:
        recipe, position, images = self.material.recipe, self.position, len(self.material.train)
        seen = min(position.step * recipe.batch_size, images)
        rate = seen / max(position.seconds, 1e-9)
        report = StepReport(
            epoch=position.epoch + 1,
            epochs=recipe.epochs,
            step=position.step,
            steps=self._steps_per_epoch,
            loss=position.sums["loss"] / seen,
            images_per_second=rate,
            seconds_to_go=((recipe.epochs - position.epoch) * images - seen) / rate,
        )
        self.progress(report)
        self._last_word = time.monotonic()

    def _keep(self) -> None:
        """Store the state, unless that was done at this place."""
        if self._stored != self._place:
            self._save()

    def _save(self) -> None:
        began = time.monotonic()
        if not all(bool(tensor.isfinite().all()) for tensor in self.net.state_dict().values()):
            raise self._diverged("a weight is NaN or infinite after step", self._done)
        state = {
            "net": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "position": self.position.as_state(),
        }
        self.checkpoints.save(self._done, state)
        self._stored = self._place
        self._last_save = time.monotonic()
        self._save_seconds = self._last_save - began

    @property
    def _place(self) -> tuple[int, int]:
        return self.position.epoch, self.position.step

    @property
    def _done(self) -> int:
        return self.position.epoch * self._steps_per_epoch + self.position.step

    def _diverged(self, what: str, step: int) -> DivergedError:
        kept = self.checkpoints.newest_steps
        if kept is None:
            ending = "no checkpoint had been stored: lower `optimiser.lr`, or check the data"
        else:
            ending = (
                f"the checkpoint of step {kept} is kept in {self.checkpoints.folder}: lower `optimiser.lr` and train "
                "into another folder with --out, or check the data"
            )
        epoch = math.ceil(step / self._steps_per_epoch)
        return DivergedError(
            f"{self.material.recipe.title}: {what} {step} (epoch {epoch}), so the training stopped; {ending}"
        )


def _seed_layers(number: int, device: torch.device) -> None:
    """Seed what dropout draws from. torch.manual_seed does as much, but formats the stack for every kind of device."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def accuracy(net: nn.Module, pictures: TrainingPictures, dtype: torch.dtype) -> float:
    """Share of the pictures whose highest logit is their label's, the network in eval mode; ``dtype`` is its own."""
    right = 0
    with torch.no_grad(), looked_at(net):
        for rows in torch.split(torch.arange(len(pictures)), _TEST_BATCH):
            labels = pictures.labels[rows.to(pictures.device)]
            right += int((net(pictures.images(rows).to(dtype)).argmax(dim=1) == labels).sum())
    return right / len(pictures)


def optimiser_of(block: Optimiser, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Torch's optimiser with the block's settings."""
    if isinstance(block, Sgd):
        return torch.optim.SGD(
            parameters,
            lr=block.lr,
            momentum=block.momentum,
            nesterov=block.nesterov,
            weight_decay=block.weight_decay,
        )
    if isinstance(block, Adam):
        return torch.optim.Adam(parameters, lr=block.lr, betas=block.betas, weight_decay=block.weight_decay)
    assert isinstance(block, Adadelta)
    return torch.optim.Adadelta(parameters, lr=block.lr, rho=block.rho, weight_decay=block.weight_decay)


def learning_rate(recipe: Recipe, steps: int, steps_per_epoch: int) -> float:
    """The rate of the step that follows ``steps`` others."""
    return recipe.optimiser.lr * recipe.schedule.factor(steps / (recipe.epochs * steps_per_epoch))
