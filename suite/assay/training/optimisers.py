"""A recipe's optimiser as torch's, and its learning rate at each step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from assay.training.recipe import Adadelta, Adam, Optimiser, Recipe, Sgd


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
