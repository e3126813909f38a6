"""Small real models on scikit-learn's digits, as a user's factories would make them, and broken ones beside them.

Trained in well under a second on the first 1,000 digits; each broken one is a way in which an accuracy was wrong.
"""

from functools import cache

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from changed_logits import ChangedLogits

DESCRIPTION = {"crop": (8, 8), "mean": (0.0,), "std": (1.0,), "label_space": "digits"}


@cache
def _weights() -> tuple[Tensor, Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    with threadpool_limits(1):  # the same bits in every process, however many threads each has
        fitted = LogisticRegression(C=1.0, max_iter=300).fit(pixels[:1000] / 16, labels[:1000])
    return torch.tensor(fitted.coef_, dtype=torch.float32), torch.tensor(
        fitted.intercept_, dtype=torch.float32
    )


def linear_net() -> nn.Sequential:
    """A trained linear classifier of 8x8 digits: its robust accuracy has a closed form."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    weight, bias = _weights()
    net[1].weight.data, net[1].bias.data = weight.clone(), bias.clone()
    return net


def linear():
    return linear_net(), DESCRIPTION


class _Blurred(nn.Module):
    """The linear net behind a 3x3 mean: another honest model, a little worse and a little more robust."""

    def __init__(self):
        super().__init__()
        self.net, self.blur = linear_net(), nn.AvgPool2d(3, stride=1, padding=1)

    def forward(self, images):
        return self.net((images + self.blur(images)) / 2)


def blurred():
    return _Blurred(), DESCRIPTION


class _Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = linear_net()


class _Answers(_Wrapped):
    """The linear net, its answer made by some function of net and images."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, images):
        return self.how(self.net, images)


def answers_plain():
    return _Answers(lambda net, images: net(images)), DESCRIPTION


def answers_dict():
    return _Answers(lambda net, images: {"logits": net(images)}), DESCRIPTION


def writes_into_input():
    return _Answers(lambda net, images: net(images.mul_(1.0))), DESCRIPTION


def fails_inside():
    return _Answers(lambda _net, _images: {}["the layer that was renamed"]), DESCRIPTION


def quits():
    raise SystemExit("no licence file")


class _SteepLogits(_Wrapped):
    def forward(self, images):
        return 1e5 * self.net(images)


class _Probabilities(_Wrapped):
    def forward(self, images):
        return self.net(images).softmax(1)


class _AlwaysDropout(_Wrapped):
    def forward(self, images):
        return self.net(nn.functional.dropout(images, 0.2, training=True))


class _BatchStatistics(_Wrapped):
    def forward(self, images):
        return self.net(images - images.mean(0, keepdim=True))


class _Quantised(_Wrapped):
    def forward(self, images):
        return self.net((images * 4).round() / 4)


class _Constant(_Wrapped):
    def forward(self, images):
        return images.new_zeros(len(images), 10) + 0 * images.sum() + torch.arange(10.0).flip(0)


class _NaNOnBright(_Wrapped):
    """NaN for every image with many bright pixels: some units fail, others do not."""

    def forward(self, images):
        bright = images.flatten(1).mean(1, keepdim=True) > 0.33
        return self.net(images).masked_fill(bright, torch.nan)


class _TooFewClasses(_Wrapped):
    def forward(self, images):
        return self.net(images)[:, :7]


class _AllNaN(_Wrapped):
    def forward(self, images):
        return self.net(images) * torch.nan


def steep_logits():
    return _SteepLogits(), DESCRIPTION


def probabilities():
    return _Probabilities(), DESCRIPTION


def always_dropout():
    return _AlwaysDropout(), DESCRIPTION


def batch_statistics():
    return _BatchStatistics(), DESCRIPTION


def quantised():
    return _Quantised(), DESCRIPTION


def constant():
    return _Constant(), DESCRIPTION


def nan_on_bright():
    return _NaNOnBright(), DESCRIPTION


def too_few_classes():
    return _TooFewClasses(), DESCRIPTION


def all_nan():
    return _AllNaN(), DESCRIPTION


def tiny_logits():
    return ChangedLogits(linear_net(), factor=1e-4), DESCRIPTION


def huge_logits():
    return ChangedLogits(linear_net(), factor=1e4), DESCRIPTION


def moved_logits():
    return ChangedLogits(linear_net(), constant=7.0), DESCRIPTION
