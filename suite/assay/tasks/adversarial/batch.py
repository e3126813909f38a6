"""A batch of images, what clean passes say of it, and the batch after an attack.

Clean passes say: is it answered rightly, alike twice, alone, and in logits?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assay.attacks.images import AttackedImages, Model
from assay.attacks.losses import in_top
from assay.data.dataset import Dataset, Sample
from assay.models.check import check_logits, looks_like_probabilities
from assay.models.loaded import LoadedModel
from assay.tasks.adversarial.guards import REPEAT_TOLERANCE
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import RunContext
from assay.tasks.shared.loading import LoadedPicture


@dataclass(frozen=True)
class CleanBatch:
    """Images on the model's device, with the answers of one clean pass, and what the task asks of them.

    Attributes:
        spec: what the task asks of every image.
        model: the model under test.
        context: of the run.
        unit_ids: the images' names.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64; the clean answers where the spec takes these for labels.
        targets: (N,) int64, the data's target classes; None where the data name none.
        logits: (N, K).
    """

    spec: AdversarialSpec
    model: LoadedModel
    context: RunContext
    unit_ids: Sequence[str]
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    logits: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def correct(self) -> Tensor:
        """(N,) bool: classified as labelled before any attack."""
        return self.right(self.logits)

    def right(self, logits: Tensor) -> Tensor:
        """(N,) bool: whether logits, (N, K), of some version of the images count as correct."""
        return in_top(logits, self.labels, self.spec.top_k)

    def fresh_logits(self, images: Tensor) -> Tensor:
        """(n, K) logits of images from a pass of their own; see :func:`fresh_logits`."""
        return fresh_logits(self.model, images, self.context.batch_size)

    def attacked(
        self, rows: Tensor, stream: str, model: Model | None = None, targets: Tensor | None = None
    ) -> AttackedImages:
        """Some rows, (n,) int64, to be attacked, each with the seed of its image and ``stream``.

        Args:
            rows: which images.
            stream: the name of their random numbers.
            model: the model that is attacked, where it is another one than the one under test.
            targets: (N,) int64, the classes to reach, for all rows of the batch.
        """
        return AttackedImages.of(
            self.model.module if model is None else model,
            self.images[rows],
            self.labels[rows],
            [self.context.seed(self.unit_ids[row], stream) for row in rows.tolist()],
            targets=None if targets is None else targets[rows],
            norm=self.spec.norm,
            top_k=self.spec.top_k,
            # An image that fools another model at once may not fool the one that scores it.
            early_stop=model is None,
            batch_size=self.context.batch_size,
            savepoints=self.context.savepoints,
        )


@dataclass(frozen=True)
class ScoredImages:
    """What an attack at one radius made of a batch's N images.

    Attributes:
        images: (N, C, H, W), the clean image where none was made.
        logits: (N, K), of a fresh pass over ``images``.
        claimed: (N,) bool: the attack says that it succeeded.
        steps: (N,) int64, gradient steps (black-box: queries) at this radius.
        zero_gradient: (N,) bool: it failed, and was blind at some step.
        retried: (N,) bool: its loss was flat, so that it was made again with the logit margin.
        carried: (N,) bool: taken from a smaller radius, or from an attack before.
        passes: (N, 2) int64, forward passes (a black box's queries) and backward passes at this radius; 0 where
            foolbox's loops made it.
        nearest: (N,) float64, the distance of the nearest adversarial image at any radius, infinite where none was
            found; None for attacks that do not look for it.
    """

    images: Tensor
    logits: Tensor
    claimed: Tensor
    steps: Tensor
    zero_gradient: Tensor
    retried: Tensor
    carried: Tensor
    passes: Tensor
    nearest: Tensor | None = None

    @classmethod
    def of_clean(cls, batch: CleanBatch) -> "ScoredImages":
        """No attack: the images are scored again, to compare a radius of 0 with."""
        no = torch.zeros_like(batch.correct)
        return cls(
            batch.images,
            batch.fresh_logits(batch.images),
            no,
            no.long(),
            no,
            no,
            no,
            no.long()[:, None].repeat(1, 2),
        )

    def fell(self, batch: CleanBatch) -> Tensor:
        """(N,) bool: classified correctly before, and no longer."""
        return batch.correct & ~batch.right(self.logits)

    def with_carried(self, rows: Tensor, earlier: "ScoredImages") -> "ScoredImages":
        """These, with the marked rows' images and logits taken from ``earlier``; they cost nothing."""
        wide = rows.view(-1, 1, 1, 1)
        return ScoredImages(
            images=torch.where(wide, earlier.images, self.images),
            logits=torch.where(rows[:, None], earlier.logits, self.logits),
            claimed=torch.where(rows, earlier.claimed, self.claimed),
            steps=self.steps.masked_fill(rows, 0),
            zero_gradient=self.zero_gradient & ~rows,
            retried=self.retried & ~rows,
            carried=self.carried | rows,
            passes=self.passes.masked_fill(rows[:, None], 0),
        )


def load_batch(
    spec: AdversarialSpec, model: LoadedModel, data: Dataset, samples: Sequence[Sample], context: RunContext
) -> CleanBatch:
    """The samples as the model takes them, with one clean pass."""
    images = context.loader.batch([LoadedPicture(model, data, sample) for sample in samples], context.device)
    logits = fresh_logits(model, images, context.batch_size)
    labels = torch.tensor([sample.label for sample in samples], device=context.device)
    known = [sample.target for sample in samples if sample.target is not None]
    return CleanBatch(
        spec=spec,
        model=model,
        context=context,
        unit_ids=[sample.unit_id for sample in samples],
        images=images,
        labels=logits.argmax(1) if spec.predicted else labels,
        targets=torch.tensor(known, device=context.device) if len(known) == len(samples) else None,
        logits=logits,
    )


@torch.no_grad()
def fresh_logits(model: LoadedModel, images: Tensor, batch_size: int) -> Tensor:
    """(N, K) logits, checked for NaN and for the number of classes.

    Raises:
        LogitsError: the output is not logits.
    """
    if not len(images):
        return images.new_zeros((0, model.info.num_classes))
    logits = torch.cat([model.module(batch) for batch in torch.split(images, batch_size)])
    check_logits(logits, model.info.num_classes)
    return logits


def clean_checks(batch: CleanBatch) -> list[dict[str, Any]]:
    """Per image: do two passes agree, does one alone agree with the batch, is it a probability distribution."""
    again = batch.fresh_logits(batch.images)
    repeat: list[float] = []
    alone = torch.zeros(len(batch), dtype=batch.logits.dtype)
    together = batch.context.chunk_units or max(len(batch), 1)
    for rows in torch.split(torch.arange(len(batch)), together):
        logits = batch.logits[rows[0] : rows[-1] + 1]
        scale = logits.abs().amax().clamp_min(1e-12)
        repeat += ((again[rows[0] : rows[-1] + 1] - logits).abs().amax(1) / scale).tolist()
        # One image of each pass is enough to see batch statistics at work, at little cost.
        for row in rows[:: max(batch.context.batch_size, 10)].tolist():
            single = fresh_logits(batch.model, batch.images[row : row + 1], 1)
            alone[row] = (single - batch.logits[row]).abs().amax() / scale
    return [
        {
            "repeat_difference": repeat[row],
            "alone_difference": alone[row].item(),
            "probabilities": looks_like_probabilities(batch.logits[row : row + 1]),
            "in_box": bool(((batch.images[row] >= 0) & (batch.images[row] <= 1)).all()),
        }
        for row in range(len(batch))
    ]


@torch.no_grad()
def dynamic(batch: CleanBatch, checks: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Per image: does the network change with what it is asked? To be called after the attacks.

    Such a network answers its clean image differently after the attacks, though two passes side by side agreed
    (``checks``, of :func:`clean_checks`). Or it runs a backward pass of its own inside a forward pass.
    """
    backward: list[bool] = []

    def unpack(saved: Tensor) -> Tensor:
        backward.append(True)
        return saved

    # Gradients are off, so what is saved for a backward pass is saved for one that the network runs itself.
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, unpack):
        after = batch.fresh_logits(batch.images)
    scale = batch.logits.abs().amax().clamp_min(1e-12)
    moved = ((after - batch.logits).abs().amax(1) / scale).tolist()
    return [
        bool(backward) or (length > REPEAT_TOLERANCE >= check["repeat_difference"])
        for length, check in zip(moved, checks, strict=True)
    ]


def certainty(logits: Tensor) -> Tensor:
    """(N,): the highest softmax score of logits (N, K), 0 where all classes have the same, 1 where one has all."""
    chance = 1 / logits.shape[1]
    return (
        (logits.double().softmax(1).amax(1) - chance) / (1 - chance)
        if chance < 1
        else torch.ones(len(logits))
    )
