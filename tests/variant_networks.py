"""Networks that decide as a small network does, from other logits or with its classes in another order."""

from copy import deepcopy

import torch
from torch import nn

from digits_models import DESCRIPTION as DIGITS
from small_training import load_digits_fnn
from views_models import DESCRIPTION as VIEWS

_VARIANTS = {}


class _Bright(nn.Module):
    """Class 504 for bright pictures, by a closed form, and class 0 for dark ones."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        logits = images.new_full((len(images), 1000), -20.0)
        logits[:, 504], logits[:, 0] = 40 * (images.mean((1, 2, 3)) - 0.11), 0
        return logits


BASES = {"digits": (load_digits_fnn, DIGITS), "views": (_Bright, VIEWS)}


class _ChangedOutput(nn.Module):
    """For a network without a last layer: the same on its logits."""

    def __init__(self, net, factor, constant, order):
        super().__init__()
        self.net, self.factor, self.constant, self.order = net, factor, constant, order

    def forward(self, images):
        return self.factor * self.net(images)[:, self.order] + self.constant


def _changed(net, factor, constant, order):
    """The network; its last layer is changed where it has one, so that it stays a chain that can be proved."""
    if not isinstance(net, nn.Sequential):
        return _ChangedOutput(net, factor, constant, torch.tensor(order))
    changed = deepcopy(net)
    last = changed[-1]
    last.weight.data = last.weight.data[order] * factor
    last.bias.data = last.bias.data[order] * factor + constant
    return changed


def variant(base, factor=1.0, constant=0.0, order=None):
    """The name, for ``--model``, of a variant of ``digits`` or ``views``; ``order[j]`` is what class j was."""
    name = f"{base}_{len(_VARIANTS)}"
    _VARIANTS[name] = base, factor, constant, order
    return f"variant_networks:{name}"


def _make(base, factor=1.0, constant=0.0, order=None):
    build, description = BASES[base]
    count = 10 if base == "digits" else 1000
    return _changed(build(), factor, constant, list(order or range(count))), description


def digits():
    """As it is shipped; other processes find it, too."""
    return _make("digits")


def views():
    """The network of brightness."""
    return _make("views")


def __getattr__(name):
    if name not in _VARIANTS:
        raise AttributeError(name)
    return lambda: _make(*_VARIANTS[name])
