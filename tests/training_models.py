"""Networks that say what they were trained on, as a user's factories would."""

from torch import nn

from digits_models import DESCRIPTION, linear_net
from views_models import brightness


def on_digits_train():
    """Says a data set whose pictures are the first 1,347 digits."""
    return linear_net(), DESCRIPTION | {"trained_on": "digits-train"}


def on_shapes():
    """Says the very data set that it is scored on."""
    net, description = brightness()
    return net, description | {"trained_on": "embedded-shapes"}


def elsewhere():
    """Says a data set that nobody has here."""
    return linear_net(), DESCRIPTION | {"trained_on": "imagenet-train"}


def convolutional():
    """A small network with maps, and no training at all: it is what it says that is looked at."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    return net, DESCRIPTION | {"trained_on": "digits-train"}
