"""Reports of a training: after each epoch, and within long ones (no torch)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Attributes:
        epoch: counted from 1.
        epochs: of the whole training.
        step: steps taken so far.
        losses: ``loss`` and its parts, means over the epoch's images.
        accuracy: clean accuracy on the test images, in [0, 1].
        learning_rate: of the last step.
        seconds: spent in this epoch's training steps.
        cpu_seconds: of this process, in the same steps; what a comparison on a busy machine should use.
        images_per_second: of training.
        seconds_to_go: of training, if the other epochs take as long as those so far did on average.
    """

    epoch: int
    epochs: int
    step: int
    losses: dict[str, float]
    accuracy: float
    learning_rate: float
    seconds: float
    cpu_seconds: float
    images_per_second: float
    seconds_to_go: float


@dataclass(frozen=True)
class StepReport:
    """An epoch under way.

    Attributes:
        epoch: counted from 1.
        epochs: of the whole training.
        step: steps taken in this epoch.
        steps: of an epoch.
        loss: mean over the epoch's images so far.
        images_per_second: of training, in this epoch so far.
        seconds_to_go: of training, at that rate.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_to_go: float

    @property
    def sentence(self) -> str:
        """``epoch 3/10, step 120/391: loss 0.123, 5400 images/s, 28 s to go``."""
        return (
            f"epoch {self.epoch}/{self.epochs}, step {self.step}/{self.steps}: loss {self.loss:.4g}, "
            f"{self.images_per_second:.0f} images/s, {self.seconds_to_go:.0f} s to go"
        )


def silent(_: object) -> None:
    """Report nothing."""
