"""Small networks over 8 x 8 coloured pictures, as a user's factories would make them, whose neurons are known.

A picture of class c has one bright pixel of colour c (red, green, blue) on a dark ground.
"""

import torch
from torch import nn

DESCRIPTION = {"crop": (8, 8), "mean": (0.0,) * 3, "std": (1.0,) * 3, "label_space": "colours"}


def _detector_net(gain):
    """Neurons 0 to 2 see one colour each, neuron 3 all of them alike; the logits are the three detectors."""
    convolution = nn.Conv2d(3, 4, 1, bias=False)
    rows = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 1.0, 1.0]]
    convolution.weight.data = torch.tensor(rows).reshape(4, 3, 1, 1)
    head = nn.Linear(4, 3, bias=False)
    head.weight.data = gain * torch.eye(3, 4)
    return nn.Sequential(convolution, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)


def detectors():
    return _detector_net(10.0), DESCRIPTION


def sharper_detectors():
    return _detector_net(20.0), DESCRIPTION


class _Hardly(nn.Module):
    """The detectors behind something that spoils them."""

    def __init__(self, spoil):
        super().__init__()
        self.net, self.spoil = _detector_net(10.0), spoil

    def forward(self, images):
        return self.net(self.spoil(images))


def stubborn():
    """Answers red whatever it sees, so no attack succeeds."""

    class Stubborn(_Hardly):
        def forward(self, images):
            return super().forward(images) + torch.tensor([1000.0, 0, 0])

    return Stubborn(lambda images: images), DESCRIPTION


def saturated():
    """Every activation is 6 for every picture, as behind a ReLU6 that is always at its end."""
    return _Hardly(lambda images: 6 + 0 * images), DESCRIPTION


def restless():
    """Two passes over the same pictures differ."""
    return _Hardly(lambda images: nn.functional.dropout(images, 0.3, training=True)), DESCRIPTION


def batch_bound():
    """A picture's activations depend on its batch."""
    return _Hardly(lambda images: images - images.mean(0, keepdim=True)), DESCRIPTION


def nan_in_part():
    """NaN where the picture's blue pixel is bright."""

    def spoil(images):
        bright = images[:, 2].amax((1, 2), keepdim=True)[:, None] > 0.8
        return images.masked_fill(bright, torch.nan)

    return _Hardly(spoil), DESCRIPTION


def no_convolution():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), DESCRIPTION


def other_labels():
    return _detector_net(10.0), DESCRIPTION | {"label_space": "shades"}


def one_channel():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(128, 3))
    return net, DESCRIPTION | {"mean": (0.0,), "std": (1.0,)}


def large():
    """Takes 64 x 64 pixels and enlarges nothing."""
    net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(256, 3))
    return net, DESCRIPTION | {"crop": (64, 64)}
