"""Heat maps as sums over open paths: those of autograd for every pattern, however the paths are narrowed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from assay.tasks.verification import neighbours
from assay.tasks.verification.neighbours import Patterns
from assay.tasks.verification.network import read_network
from assay.tasks.verification.paths import trace_paths

SIZES = (6, 5)  # of the two layers of ReLUs; gates are counted from the last layer
GATES = 11


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    )
    return read_network(layers, (1, 2, 2))


def map_of(network, pattern, label):
    """The gradient of a logit where the gates `(GATES,)` are open or shut as told, layer by layer."""
    row = network.layers[2].maps[-1].weight[label] * pattern[:5]
    row = (row @ network.layers[1].maps[-1].weight) * pattern[5:]
    return row @ network.layers[0].maps[-1].weight


def traced(network, always, differing):
    return trace_paths(network.layers, torch.tensor([2, 0]), always, differing, network.layers[0].transpose)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_paths_give_the_map_of_every_pattern_and_so_do_narrowed_ones(network, seed):
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(7, GATES, generator=generator) < 0.5
    always, differing = common(patterns)
    paths = traced(network, always, differing)
    check_maps(network, paths.maps(patterns[:, differing].T), patterns)
    near = patterns[:3]
    always_near, differing_near = common(near)
    narrower = paths.narrowed(always_near[differing], differing_near[differing])
    assert len(narrower.rows) == 2 + differing_near.sum()
    check_maps(network, narrower.maps(near[:, differing_near].T), near)


def common(patterns):
    """Gates that are open in all of these patterns, and those that differ."""
    return patterns.all(0), patterns.any(0) & ~patterns.all(0)


def check_maps(network, maps, patterns):
    for i, pattern in enumerate(patterns):
        for row, label in enumerate((2, 0)):
            plain = map_of(network, pattern.double(), label)
            torch.testing.assert_close(maps[:, row, i], plain, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), most=st.integers(0, 12))
def test_parts_hold_every_cell_once_and_say_what_its_gates_have_in_common(seed, most):
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(60, 13, generator=generator) < torch.rand(13, generator=generator)
    second = torch.rand(60, 9, generator=generator) < 0.1
    whole = torch.cat([first, second], 1)
    patterns = Patterns.of([first, second], 60)
    parts = list(patterns.parts(torch.arange(60), most))
    assert torch.cat([part.index for part in parts]).sort().values.tolist() == list(range(60))
    for part in parts:
        here = whole[part.index]
        assert torch.equal(part.always, here.all(0))
        assert torch.equal(part.differing, here.any(0) & ~here.all(0))
        assert int(part.differing.sum()) <= most or len(part.index) <= neighbours._FEW
        assert torch.equal(patterns.passed(part.index, part.differing), here[:, part.differing].T)


def test_gates_that_change_together_are_parted_from_the_others():
    """Forty of forty-four gates share one line, so the cut goes along it and not through the middle."""
    side = torch.arange(32) % 4 == 1
    others = torch.arange(32)[:, None] > torch.tensor([5, 12, 20, 28])
    patterns = Patterns.of([side[:, None].expand(-1, 40), others], 32)
    parts = list(patterns.parts(torch.arange(32), 8))
    assert {tuple(part.index.tolist()) for part in parts} == {
        tuple(side.nonzero().flatten().tolist()), tuple((~side).nonzero().flatten().tolist())
    }  # fmt: skip
