"""Factories of networks of digits that are not piecewise linear in one node."""

from torch import nn

from digits_models import DESCRIPTION, linear_net


class _Curved(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*linear_net(), nn.SiLU())

    def forward(self, pixels):
        return self.net(pixels)


class _Joined(_Curved):
    def forward(self, pixels):
        logits = self.net[1](self.net[0](pixels))
        return logits * logits


def curved():
    return _Curved(), DESCRIPTION


def joined():
    return _Joined(), DESCRIPTION
