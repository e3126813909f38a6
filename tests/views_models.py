"""Networks that answer renders by a closed form, as a user's factories would make them, and broken ones beside them.

The logit of a mug, a chair and a vase is 12 times the picture's mean brightness less 1; class 0 has 0, any other -20.
"""

import torch
from torch import Tensor, nn

from changed_logits import ChangedLogits

SIDE = 32
DESCRIPTION = {"crop": (SIDE, SIDE), "mean": (0.0,) * 3, "std": (1.0,) * 3, "label_space": "imagenet-1k"}


class Brightness(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        known = images.new_zeros(1000)
        known[[504, 559, 883]] = 1
        rest = -20 * (1 - known)
        rest[0] = 0
        return (12 * images.mean((1, 2, 3)) - 1)[:, None] * known + rest


class _Noisy(Brightness):
    def forward(self, images):
        return super().forward(images) + torch.rand(len(images), 1000)


class _NanOnLargeObjects(Brightness):
    def forward(self, images):
        logits = super().forward(images)
        logits[((images > 0).float().mean((1, 2, 3)) > 0.3) & (images.amax((1, 2, 3)) > 0.99)] = torch.nan
        return logits


def brightness():
    return Brightness(), DESCRIPTION


def shifted():
    """The same network, whose preprocessing shifts and scales."""
    return Brightness(), DESCRIPTION | {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def noisy():
    return _Noisy(), DESCRIPTION


def nan_on_large_objects():
    return _NanOnLargeObjects(), DESCRIPTION


def one_size():
    """Takes pictures of its own size alone."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 1000))
    return net, DESCRIPTION


def grey():
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 1000))
    return net, DESCRIPTION | {"mean": (0.0,), "std": (1.0,)}


def read_wrongly():
    """The same network behind another network's normalisation: every picture is as dark as none should be."""
    return Brightness(), DESCRIPTION | {"mean": (5.0,) * 3, "std": (0.2,) * 3}


def tiny_logits():
    return ChangedLogits(Brightness(), factor=1e-4), DESCRIPTION


def huge_logits():
    return ChangedLogits(Brightness(), factor=1e4), DESCRIPTION


def moved_logits():
    return ChangedLogits(Brightness(), constant=7.0), DESCRIPTION
