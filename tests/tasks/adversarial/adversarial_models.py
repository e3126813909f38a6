"""Models on digits for the adversarial family beyond `digits_models`: a ReLU chain, and nets that mislead attacks."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn

from digits_models import DESCRIPTION, linear_net


@cache
def _trained_chain() -> nn.Sequential:
    pixels, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images, labels = pixels[:1000].float() / 16, labels[:1000]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
    return net


SCALE, MEAN = 1.0, 0.0
"""Of `source`: what a test changes behind its name."""


def source():
    net = linear_net()
    net[1].weight.data *= SCALE
    return net, {**DESCRIPTION, "mean": (MEAN,)}


def relu_chain():
    return _trained_chain(), DESCRIPTION


class _Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = linear_net()


class _RandomNoise(_Wrapped):
    """Random at test time: noise on its input, as some defences add."""

    def forward(self, images):
        return self.net(images + 0.1 * torch.randn_like(images))


class _ShatteredGradient(_Wrapped):
    """A gradient that points anywhere: the true one times a sign that flips from pixel value to pixel value."""

    def forward(self, images):
        ripple = 1e-3 * torch.sin(images * 1e5)
        return self.net(images + ripple)


class _RoundedLogits(_Wrapped):
    def forward(self, images):
        return (self.net(images) * 8).round() / 8


def random_noise():
    return _RandomNoise(), DESCRIPTION


def shattered_gradient():
    return _ShatteredGradient(), DESCRIPTION


def rounded_logits():
    return _RoundedLogits(), DESCRIPTION
