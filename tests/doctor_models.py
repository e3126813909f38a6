"""Networks for the doctor, as a user's factories would make them."""

import torch
from torch import nn


class _Guesses(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Parameter(torch.linspace(0, 1, 10))

    def forward(self, images):
        return self.head.repeat(len(images), 1)


def guesses():
    return _Guesses(), {"crop": (6, 6), "mean": (0.0,) * 3, "std": (1.0,) * 3}
