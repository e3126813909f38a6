"""What a training draws outside its steps: the first weights, and the order of the images in each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.training.recipe import Recipe

_INITIAL, _ORDER, LAYERS, METHOD = 1, 2, 3, 4  # streams of random numbers


@dataclass(frozen=True)
class Order:
    """The order of the images in each epoch.

    Attributes:
        seed: of the training.
        drawn: of the one generator of :attr:`Recipe.generators`, its state once it has drawn the first weights; None
            where each epoch has a generator of its own.
    """

    seed: int
    drawn: Tensor | None = None

    def of(self, epoch: int, images: int) -> Tensor:
        """(images,) int64: the rows as they come in an epoch, counted from 0; the same whenever it is asked for."""
        generator = torch.Generator()
        if self.drawn is None:
            return torch.randperm(images, generator=generator.manual_seed(number(self.seed, _ORDER, epoch)))
        generator.set_state(self.drawn)
        for _ in range(epoch):  # a training that goes on from a checkpoint draws the earlier orders again
            torch.randperm(images, generator=generator)
        return torch.randperm(images, generator=generator)


def begun(recipe: Recipe, build: Callable[[], nn.Module]) -> tuple[nn.Module, Order]:
    """A fresh network and the order of its epochs; both depend on the recipe's seed alone.

    The caller's random numbers stay as they are.
    """
    one = recipe.generators == "one"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed if one else number(recipe.seed, _INITIAL))
        net = build()
        return net, Order(recipe.seed, torch.get_rng_state() if one else None)


def number(seed: int, *streams: int) -> int:
    """A number in [0, 2**63) that depends on all of its arguments."""
    digest = hashlib.sha256(repr((seed, *streams)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
