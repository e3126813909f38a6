import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from assay.common.errors import UserError
from assay.models.zoo import load_model
from assay.tasks.verification import blocks
from assay.tasks.verification.evaluate import exact_network
from assay.tasks.verification.network import read_network
from assay.tasks.verification.nodes import UnsupportedLayerError


def run_layers(network, pixels):
    rows = pixels.flatten(1)
    for layer in network.layers:
        rows = layer.linear(rows) + layer.bias
        rows = rows * layer.open_gates(rows)
    return rows


def input_gradient(network, pixels, row):
    """Backward through the layers' adjoints alone."""
    rows, masks = pixels.flatten(1), []
    for layer in network.layers:
        rows = layer.linear(rows) + layer.bias
        masks.append(layer.open_gates(rows))
        rows = rows * masks[-1]
    gradient = torch.eye(rows.shape[1], dtype=torch.float64)[row][None]
    for layer, mask in zip(reversed(network.layers), reversed(masks), strict=True):
        gradient = layer.transpose(gradient * mask)
    return gradient


def stirred(module, seed=0):
    """Random weights and running statistics, so that nothing is neutral."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_var.abs_().add_(0.1)
    return module


NETWORKS = {
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(72, 5)),
    "fully connected": nn.Sequential(
        nn.Flatten(), nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3)
    ),
    "convolution": nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2, groups=2, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6, 3),
    ),
    "rectangular": nn.Sequential(
        nn.Conv2d(2, 3, (2, 3), stride=(2, 3), padding=(1, 0), bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 4 * 2, 3),
    ),
    "batch norm": nn.Sequential(
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(),
        nn.Identity(),
        nn.Linear(6, 3),
    ),
    "average pooling": nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(27, 3),
    ),
    "max pooling": nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 3),
    ),
    "windows beyond the border": nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.ReLU(),
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False),
        nn.AvgPool2d(2, stride=2, divisor_override=3),
        nn.Flatten(),
        nn.Linear(12, 3),
    ),
    "borders and equal windows": nn.Sequential(
        nn.ZeroPad2d((1, 2, 0, 1)),
        nn.Conv2d(2, 3, (2, 4)),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 3),
    ),
    "nested": nn.Sequential(
        nn.Sequential(nn.Flatten(), nn.Linear(72, 6)), nn.ReLU(), nn.Sequential(nn.Linear(6, 3))
    ),
}


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(72, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(torch.flatten(x, 1))))


class Residual(nn.Module):
    """A block whose sum is read by the next, a skipped value that passes max pooling, and one that is read twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.short = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))
        self.norm, self.pool = nn.BatchNorm2d(2), nn.MaxPool2d(2)
        self.out = nn.Linear(72, 3)

    def forward(self, x):
        y = torch.relu(self.first(x)) + self.short(x)
        y = y + self.second(torch.relu(self.norm(y)))
        y += y
        halves = [self.pool(y), functional.max_pool2d(x, 2), torch.relu(self.pool(y)), self.mean(x)]
        return self.out(torch.cat(halves, dim=1).reshape((x.shape[0], -1)))

    def mean(self, x):
        return functional.avg_pool2d(functional.adaptive_avg_pool2d(x, (6, 3)), (2, 1), stride=(2, 1))


NETWORKS["functional"] = Functional()
NETWORKS["residual"] = Residual()


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_compute_what_the_module_computes(name):
    module = stirred(NETWORKS[name])
    pixels = torch.rand(7, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network = read_network(module, (2, 6, 6))
    torch.testing.assert_close(run_layers(network, pixels), network.logits(pixels), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_adjoints_compute_what_autograd_computes(name):
    network = read_network(stirred(NETWORKS[name]), (2, 6, 6))
    pixels = torch.rand(
        1, 2, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    ).requires_grad_()
    expected = torch.autograd.grad(network.module(pixels)[0, 1], pixels)[0].flatten(1)
    torch.testing.assert_close(input_gradient(network, pixels.detach(), 1), expected, rtol=1e-12, atol=1e-12)


def test_max_pooling_gives_ties_to_the_entry_that_torch_gives_them_to():
    module = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 2))
    network = read_network(module, (1, 2, 2))
    pixels = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64).requires_grad_()
    expected = torch.autograd.grad(network.module(pixels)[0, 0], pixels)[0].flatten(1)
    torch.testing.assert_close(input_gradient(network, pixels.detach(), 0), expected)


def test_neurons_are_counted_with_the_comparisons_of_max_pooling():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    assert read_network(module, (1, 2, 2)).neurons == 8 + 2 * 3


class Square(nn.Module):
    def forward(self, x):
        return (x * x).flatten(1)


class Broadcast(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(72, 1)

    def forward(self, x):
        flat = x.flatten(1)
        return flat + self.one(flat)


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.Sigmoid(), nn.Linear(4, 2)), "Sigmoid"),
        (nn.Sequential(nn.Flatten(0), nn.MultiheadAttention(72, 2)), "MultiheadAttention"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.LPPool2d(2, 2), nn.Flatten(), nn.Linear(8, 2)), "LPPool2d"),
        (nn.Sequential(nn.MaxPool2d(2, dilation=2), nn.Flatten(), nn.Linear(32, 2)), "MaxPool2d"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32, 2)), "AdaptiveAvgPool2d"),
        (nn.Sequential(nn.ReflectionPad2d(1), nn.Flatten(), nn.Linear(128, 2)), "ReflectionPad2d"),
        (Square(), "mul"),
        (Broadcast(), r"add \(add\).*\(72,\) and \(1,\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding="same"), nn.Flatten(), nn.Linear(72, 2)), "Conv2d"),
        (nn.Sequential(nn.Flatten(), nn.Linear(71, 2)), "Linear"),
    ],
)
def test_a_layer_that_cannot_be_verified_is_named(module, layer):
    with pytest.raises(UnsupportedLayerError, match=layer) as caught:
        read_network(module, (2, 6, 6))
    assert layer.split()[0] in caught.value.layer


def test_a_network_that_changes_its_values_in_place_is_not_misread():
    """The graph adds what was there before the ReLU; the network adds what the ReLU left of it."""

    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(72, 9), nn.Linear(9, 3)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.hidden(x.flatten(1))
            return self.out(self.relu(y) + y)

    with pytest.raises(UnsupportedLayerError, match=r"InPlace.* do not answer as the network does"):
        read_network(stirred(InPlace()), (2, 6, 6))


def test_a_network_with_too_many_gates_is_refused_where_they_become_too_many(monkeypatch):
    module = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2))
    monkeypatch.setattr(blocks, "MOST_GATES", 143)
    with pytest.raises(UnsupportedLayerError, match=r"layer 2 \(MaxPool2d\) .* more than 100,000 ReLUs"):
        read_network(module, (2, 6, 6))
    monkeypatch.setattr(blocks, "MOST_GATES", 144)
    assert read_network(module, (2, 6, 6)).neurons == 72 + 3 * 18


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    module[1].weight.data[0, 0] = bad
    with pytest.raises(UserError, match=r"1\.weight"):
        read_network(module, (1, 2, 2))


def test_reading_leaves_the_module_as_it_was():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).train()
    read_network(module, (1, 2, 2))
    assert module.training
    assert module[1].weight.dtype == torch.float32
    assert module[1].weight.requires_grad


def onnx_file(path):
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(5, 4, generator=generator), torch.randn(3, 5, generator=generator)
    constants = [numpy_helper.from_array(t.numpy(), name) for name, t in (("w1", first), ("w2", second))]
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1"], ["z"], transB=1),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("Gemm", ["h", "w2"], ["y"], transB=1),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 4, 1]), ("y", [1, 3]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return first.double(), second.double()


def test_onnx_file_is_read(tmp_path):
    first, second = onnx_file(tmp_path / "net.onnx")
    network = exact_network(load_model(f"onnx:{tmp_path / 'net.onnx'}"))
    pixels = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    expected = (pixels.flatten(1) @ first.T).clamp(min=0) @ second.T
    torch.testing.assert_close(network.logits(pixels), expected)
    torch.testing.assert_close(run_layers(network, pixels), expected)
