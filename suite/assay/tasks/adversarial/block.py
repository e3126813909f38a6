"""A block of images with what clean passes said of them, and how many go into one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks.losses import in_top
from assay.data.dataset import Dataset, Sample
from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.tasks.base import RunContext
from assay.tasks.shared.loading import LoadedPicture


@dataclass(frozen=True)
class Block:
    """Images (N, C, H, W) float32 in [0, 1] on the model's device, with their clean logits (N, K).

    ``targets`` is None where the data name no target class; ``top_k`` is the rule of being correct.
    """

    model: LoadedModel
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    logits: Tensor
    unit_ids: Sequence[str]
    top_k: int
    batch_size: int

    @property
    def correct(self) -> Tensor:
        """(N,) bool: classified as labelled before any attack."""
        return in_top(self.logits, self.labels, self.top_k)


def load_block(
    model: LoadedModel, data: Dataset, samples: Sequence[Sample], context: RunContext, top_k: int
) -> Block:
    """The samples as the model takes them, with one clean pass."""
    images = context.loader.batch([LoadedPicture(model, data, sample) for sample in samples], context.device)
    known = [sample.target for sample in samples if sample.target is not None]
    return Block(
        model=model,
        images=images,
        labels=torch.tensor([sample.label for sample in samples], device=context.device),
        targets=torch.tensor(known, device=context.device) if len(known) == len(samples) else None,
        logits=fresh_logits(model, images, context.batch_size),
        unit_ids=[sample.unit_id for sample in samples],
        top_k=top_k,
        batch_size=context.batch_size,
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
