"""Models on digits for the adversarial family beyond `digits_models`: a ReLU chain, and nets that mislead attacks."""

import copy
from functools import cache

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
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


def linear_behind_a_normalisation():
    """The same function of the pixels as `digits_models.linear`."""
    net = linear_net()
    weight, bias = net[1].weight.data, net[1].bias.data
    net[1].bias.data = bias + 0.4 * weight.sum(1)
    net[1].weight.data = 0.25 * weight
    return net, {**DESCRIPTION, "mean": (0.4,), "std": (0.25,)}


def save_chain_as_onnx(path):
    """`relu_chain` as an ONNX file; gives its model name."""
    first, second = _trained_chain()[1], _trained_chain()[3]
    constants = {"w1": first.weight, "b1": first.bias, "w2": second.weight, "b2": second.bias}
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w1", "b1"], ["z"], transB=1),
            helper.make_node("Relu", ["z"], ["a"]),
            helper.make_node("Gemm", ["a", "w2", "b2"], ["y"], transB=1),
        ],
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value.detach().numpy(), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return f"onnx:{path}"


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


class _TiredAfterQuestions(_Wrapped):
    """Answers as it is until it was asked about 300 images, then about slightly brighter ones."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, images):
        self.asked += len(images)
        return self.net(images + 0.05 * (self.asked > 300))


class _Purifying(_Wrapped):
    """Takes a step along a gradient of its own before it answers, as defences by purification do."""

    def forward(self, images):
        with torch.enable_grad():
            points = images.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.net(points).logsumexp(1).sum(), points)
        return self.net(images + 0.01 * slope.sign())


def tired_after_questions():
    return _TiredAfterQuestions(), DESCRIPTION


def purifying():
    return _Purifying(), DESCRIPTION


def random_noise():
    return _RandomNoise(), DESCRIPTION


def shattered_gradient():
    return _ShatteredGradient(), DESCRIPTION


def rounded_logits():
    return _RoundedLogits(), DESCRIPTION


def read_wrongly():
    """The linear net, which takes [0, 1], behind the normalisation of another network."""
    return linear_net(), DESCRIPTION | {"mean": (5.0,), "std": (0.2,)}


def _chain_times(factor, constant=0.0):
    """`relu_chain` with another last layer, which changes no decision."""
    net = copy.deepcopy(_trained_chain())
    net[3].weight.data *= factor
    net[3].bias.data = net[3].bias.data * factor + constant
    return net, DESCRIPTION


def chain_times_1e_6():
    return _chain_times(1e-6)


def chain_times_1e_4():
    return _chain_times(1e-4)


def chain_times_1e4():
    return _chain_times(1e4)


def chain_plus_7():
    return _chain_times(1.0, 7.0)
