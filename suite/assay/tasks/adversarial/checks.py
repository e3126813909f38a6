"""What clean passes say of a model: does it answer the same twice, alone as in a batch, and with logits."""

from typing import Any

import torch
from torch import Tensor

from assay.models.check import looks_like_probabilities
from assay.tasks.adversarial.block import Block, fresh_logits


def clean_checks(block: Block) -> list[dict[str, Any]]:
    """Per image: do two passes agree, does one alone agree with the batch, is it a probability distribution."""
    scale = block.logits.abs().amax().clamp_min(1e-12)
    again = fresh_logits(block.model, block.images, block.batch_size)
    repeat = ((again - block.logits).abs().amax(1) / scale).tolist()
    # One image a batch is enough to see batch statistics at work, at little cost.
    alone = torch.zeros(len(block.images), dtype=block.logits.dtype)
    for first in range(0, len(block.images), max(block.batch_size, 10)):
        single = fresh_logits(block.model, block.images[first : first + 1], 1)
        alone[first] = (single - block.logits[first]).abs().amax() / scale
    return [
        {
            "repeat_difference": repeat[row],
            "alone_difference": alone[row].item(),
            "probabilities": looks_like_probabilities(block.logits[row : row + 1]),
            "in_box": bool(((block.images[row] >= 0) & (block.images[row] <= 1)).all()),
        }
        for row in range(len(block.images))
    ]


def certainty(logits: Tensor) -> Tensor:
    """(N,): the highest softmax score of logits (N, K), 0 where all classes have the same, 1 where one has all."""
    chance = 1 / logits.shape[1]
    return (
        (logits.double().softmax(1).amax(1) - chance) / (1 - chance)
        if chance < 1
        else torch.ones(len(logits))
    )
