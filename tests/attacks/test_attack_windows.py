"""Functions carried back in windows: the bounds of functions of the whole value, at a tenth of their cost."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attack_bounds import conv_net
from test_attack_graph_bounds import residual, some_images
from torch import Tensor, nn

from assay.attacks import bounds
from assay.attacks.region import ball_region
from assay.attacks.relu_graph import Add, relu_graph_of
from assay.attacks.relu_lines import Relaxations, relax
from assay.attacks.windows import extent_in_windows, is_seen_in_windows


def strided(seed: int) -> nn.Module:
    """Windows that stick out on every side, a stride that skips a border, a batch norm between convolutions."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 3, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )
    net(torch.zeros(2, 2, 20, 18))
    net[3].running_mean.uniform_(-0.3, 0.3)
    nn.init.uniform_(net[3].weight, -1, 1)
    return net.double().eval()


def lines_of(found: list[tuple[Tensor, Tensor] | None]) -> Relaxations:
    return [None if each is None else relax(*each, parallel=True) for each in found]


@pytest.mark.parametrize(
    ("make", "shape"), [(strided, (2, 20, 18)), (residual, (2, 5, 4)), (conv_net, (2, 9, 7))]
)
@given(
    seed=st.integers(0, 10**6), norm=st.sampled_from(["linf", "l2", "l1"]), eps=st.sampled_from([0.01, 0.2])
)
@settings(max_examples=5, deadline=None)
def test_windows_have_the_bounds_of_whole_functions(
    make: Callable[[int], nn.Module], shape: tuple[int, ...], seed: int, norm: str, eps: float
) -> None:
    net, images = make(seed), some_images(seed, 3, shape)
    graph, region = relu_graph_of(net, images), ball_region(images, eps, norm)
    asked = [number + 1 for number, layer in enumerate(graph.layers) if isinstance(layer, nn.Conv2d | Add)]
    with torch.no_grad():
        lines = lines_of(bounds.pre_activation_bounds(graph, region))
        for value in asked:
            rows = torch.randperm(math.prod(graph.shapes[value]))[:40]
            found = extent_in_windows(rows, value, graph, lines, region)
            for mine, whole in zip(found, bounds._both_sides(rows, value, graph, lines, region), strict=True):
                assert torch.allclose(mine, whole, atol=1e-9)


def test_windows_serve_while_they_are_small() -> None:
    net = strided(0)
    graph = relu_graph_of(net, some_images(0, 1, (2, 20, 18)))
    seen = [is_seen_in_windows(value, graph) for value in range(1, len(graph.shapes))]
    assert seen == [True, True, True, True, True, True, False, False]
    small = relu_graph_of(conv_net(0), some_images(0, 1, (2, 9, 7)))
    assert not all(is_seen_in_windows(value, small) for value in range(1, 6))
