"""Networks that take none of the digits: too large for them, or of two channels."""

from torch import nn


def large():
    """Takes 64 x 64 pixels and enlarges nothing."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 10))
    return net, {"label_space": "digits", "input": {"size": [64, 64], "mean": [0.0], "std": [1.0]}}


def two_channels():
    """Takes two channels, which no picture has."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 10))
    return net, {"label_space": "digits", "input": {"size": [8, 8], "mean": [0.0, 0.0], "std": [1.0, 1.0]}}
