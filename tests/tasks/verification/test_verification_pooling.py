"""Max pooling, exactly: ties, flat pictures and padded borders as autograd has them, on trained networks.

Weights are rounded to multiples of 1/64, pixels and parameters to multiples of 1/1024, so that float64 adds them up
without rounding: entries that are equal tie to the last bit, and autograd's choice among them is torch's rule alone.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from verification_oracles import grid

import small_training as nets
from assay.tasks.verification import nodes as nodes_module
from assay.tasks.verification import pooling
from assay.tasks.verification import verify as verify_module
from assay.tasks.verification.evaluate import describe
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import read_network
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.values import RECORD_VALUES
from assay.tasks.verification.verify import verify

RANGES = {
    "brightness": ["brightness:0:0.5"],
    "patch": ["patch:0:1:2:2:3x3"],
    "translation": ["translation:x:0:1"],
    "clamped": ["brightness:-0.25:0.5:clamp"],
}
POOLS = ("padded", "padded, before the ReLU", "unpadded")
PICTURES = ("first", "second", "black", "grey")


def pooling_network(pool):
    padded = pool != "unpadded"
    pools = [nn.MaxPool2d(3, 2, 1) if padded else nn.MaxPool2d(2) for _ in range(2)]
    first = [pools[0], nn.ReLU()] if "before" in pool else [nn.ReLU(), pools[0]]
    layers = [nn.Conv2d(1, 6, 3, padding=1), *first, nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), pools[1]]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 10))


@pytest.fixture(scope="module")
def networks():
    """Trained on the digits, weights rounded to multiples of 1/64, float64."""
    found = {}
    for pool in POOLS:
        module = nets.train(pooling_network(pool), *nets.digits_split()[0], epochs=20).double()
        for weight in module.parameters():
            weight.data = (weight.data * 64).round() / 64
        images, labels = nets.digits_split()[1]
        assert nets.accuracy(module, images.double(), labels) > 0.6
        found[pool] = module.requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def pictures(digits):
    grey = torch.full((1, 8, 8), 0.25, dtype=torch.float64)
    return {"first": digits[0], "second": digits[1], "black": torch.zeros_like(grey), "grey": grey}


def dense(theta, steps):
    """Points strictly inside a range of one parameter, multiples of 1/1024."""
    return (grid(theta, steps) * 1024).round().unique(dim=0)[1:-1] / 1024


def maps(module, pixels):
    """All ten labels' gradients of a batch: `(N, 10, C, H, W)`; exact, so the same as one image at a time."""
    pixels = pixels.detach().requires_grad_()
    logits = module(pixels)
    rows = [torch.autograd.grad(logits[:, j].sum(), pixels, retain_graph=True)[0] for j in range(10)]
    return torch.stack(rows, 1)


def dense_ai(module, theta, image, points):
    """ai at points `(N, d)`, straight from its definition: `(N,)`."""
    expected = maps(module, image[None])[0]
    shown = maps(module, torch.stack([theta.apply(image, point) for point in points]))
    moved = torch.stack([theta.expected(expected, point) for point in points])
    return (shown - moved).flatten(2).norm(dim=2).sum(1)


def check_ties(module, image, texts, steps=160):
    """The table against autograd at dense samples; returns the verification and the largest ai of the samples."""
    theta = parse_theta(texts)
    result = verify(read_network(module, (1, 8, 8)), image, ProofQuestion(theta, deltas=(1e-3,)))
    assert result.complete
    points = dense(theta, steps)
    values = dense_ai(module, theta, image, points)
    ends = result.table.cells.points[..., 0]
    inside = (ends.amin(1) < points - 1e-9) & (points + 1e-9 < ends.amax(1))
    point, row = inside.nonzero(as_tuple=True)
    assert len(point) > steps / 2
    assert len(point) == len(point.unique())
    assert bool((values[point] <= result.table.ai_max[row] + 1e-9).all())
    assert bool((values[point] >= result.table.ai_min[row] - 1e-9).all())
    assert float(values.max()) <= result.sup_ai + 1e-9
    return result, float(values.max())


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("texts", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("pool", POOLS)
def test_every_cell_of_a_pooling_network_has_the_maps_of_autograd(pool, texts, picture, networks, pictures):
    result, largest = check_ties(networks[pool], pictures[picture], texts)
    assert largest >= 0.8 * result.sup_ai  # a cell narrower than the samples' distance may hold the rest


def last_of(marked):
    return marked & (marked.cumsum(-1) == marked.sum(-1, keepdim=True))


def give_ties_to_the_last(monkeypatch):
    monkeypatch.setattr(pooling, "first_of", last_of)


def follow_the_noise(monkeypatch):
    """The largest on average, whatever the rounding."""
    monkeypatch.setattr(pooling, "_slack", lambda lines: torch.zeros(lines.forms.shape[2] // lines.window))


def pad_with_the_last_entry(monkeypatch):
    original = nodes_module._windows

    def windows(node):
        index, shape = original(node)
        return torch.where(index < 0, index.amax(1, keepdim=True), index), shape

    monkeypatch.setattr(nodes_module, "_windows", windows)


def check_all_ties(networks, pictures):
    for pool in POOLS:
        for picture in PICTURES:
            for texts in RANGES.values():
                check_ties(networks[pool], pictures[picture], texts)


@pytest.mark.parametrize(
    "mutant",
    [give_ties_to_the_last, follow_the_noise, pad_with_the_last_entry],
    ids=lambda each: each.__name__,
)
def test_a_planted_mutant_of_the_ties_is_caught(mutant, monkeypatch, networks, pictures):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_all_ties(networks, pictures)


def pooled_lines(slopes, constants):
    """max over i of slopes[i] b + constants[i], for the brightness b of a black pixel, against 0."""
    first = nn.Linear(1, len(slopes))
    first.weight.data, first.bias.data = torch.tensor(slopes)[:, None], torch.tensor(constants)
    last = nn.Linear(1, 2)
    last.weight.data, last.bias.data = torch.tensor([[1.0], [0.0]]), torch.zeros(2)
    unflatten = nn.Unflatten(1, (1, 1, len(slopes)))
    return nn.Sequential(
        nn.Flatten(), first, unflatten, nn.MaxPool2d((1, len(slopes))), nn.Flatten(), last
    ).double()


def verified_lines(slopes, constants):
    module = pooled_lines(slopes, constants)
    theta = parse_theta(["brightness:0:1"])
    return verify(read_network(module, (1, 1, 1)), torch.zeros(1, 1, 1), ProofQuestion(theta))


def test_a_window_is_cut_along_its_upper_envelope_and_nowhere_else():
    """1 - 2b, 1/4 and 2b - 1 meet at 3/8 and 5/8; the outer two meet at 1/2, below the constant."""
    result = verified_lines([-2.0, 0.0, 2.0, 1.0], [1.0, 0.25, -1.0, -2.0])
    assert sorted(result.table.cells.points.amin(1).flatten().tolist()) == pytest.approx([0, 3 / 8, 5 / 8])
    assert sorted(result.table.ai_max.tolist()) == pytest.approx([0, 2, 4])
    assert len(set(result.table.keys.tolist())) == 3


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_the_envelope_does_not_depend_on_the_order_of_the_entries(order):
    slopes, constants = [-2.0, 0.0, 2.0, 5.0], [1.0, 0.25, -1.0, -4.0]
    result = verified_lines([slopes[i] for i in order], [constants[i] for i in order])
    assert sorted(result.table.cells.points.amin(1).flatten().tolist()) == pytest.approx([0, 3 / 8, 5 / 8])
    assert result.min_margin == pytest.approx(0.25)


def test_entries_that_tie_throughout_make_one_cell_with_the_first_one_s_gradient():
    module = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 2)).double()
    network = read_network(module, (1, 2, 2))
    result = verify(network, torch.zeros(1, 2, 2), ProofQuestion(parse_theta(["brightness:0:1"])))
    assert result.cells == 1
    assert result.sup_ai == 0
    opened = network.layers[0].open_gates(torch.full((1, 4), 0.5))
    assert opened.tolist() == [[True, False, False, False]]


def test_neighbouring_cells_of_one_parameter_differ_in_a_gate(networks, pictures):
    """No cut is made in vain, so that the number of cells, and the time, is no more than it has to be."""
    for texts in (RANGES["brightness"], RANGES["translation"]):
        network = read_network(networks["padded"], (1, 8, 8))
        table = verify(network, pictures["first"], ProofQuestion(parse_theta(texts))).table
        keys = table.keys[table.cells.points.amin(1).flatten().argsort()]
        assert len(keys) > 50
        assert bool((keys[1:] != keys[:-1]).all())


ENDS = {  # of both parameters
    ("brightness:0:0.125", "patch:0:0.25:2:2:3x3"): ((0.0, 0.125), (0.0, 0.25)),
    ("brightness:0:0.0625", "translation:x:0:0.5"): ((0.0, 0.0625), (0.0, 0.5)),
}


@pytest.mark.parametrize("picture", ["first", "grey"])
@pytest.mark.parametrize("texts", ENDS, ids=["still", "moving"])
def test_two_parameters_agree_with_autograd(texts, picture, networks, pictures):
    theta, image = parse_theta(list(texts)), pictures[picture]
    for pool in ("padded", "unpadded"):
        result = verify(read_network(networks[pool], (1, 8, 8)), image, ProofQuestion(theta, deltas=(1e-3,)))
        assert result.complete
        points = (grid(theta, 15) * 1024).round() / 1024
        ends = torch.cartesian_prod(*torch.tensor(ENDS[texts], dtype=torch.float64))
        largest = float(dense_ai(networks[pool], theta, image, torch.cat([points, ends])).max())
        assert largest <= result.sup_ai + 1e-9
        # A witness lies a little inside its cell, where no sum is exact: there the processor's own rounding may break a
        # flat picture's ties another way. The points are exact.
        assert max(result.ai_witness.value, largest) == pytest.approx(result.sup_ai, rel=1e-4)


def test_three_parameters_are_complete(networks, pictures):
    theta = parse_theta(["brightness:0:0.0625", "patch:0:0.125:2:2:3x3", "translation:x:0:0.25"])
    network = read_network(networks["padded"], (1, 8, 8))
    result = verify(network, pictures["second"], ProofQuestion(theta, deltas=(1e-3,)))
    assert result.complete
    assert result.covered == pytest.approx(1, abs=1e-12)
    assert result.ai_witness.value == pytest.approx(result.sup_ai, rel=1e-4)


def test_ar_is_not_robust_where_the_network_s_own_rounding_breaks_ties(monkeypatch, networks, pictures):
    """The gradient at a point shows more than the cells do: AR is open, CR and the cells are as they were."""
    network, question = read_network(networks["unpadded"], (1, 8, 8)), ProofQuestion(
        parse_theta(["brightness:0:0.0625"]), deltas=(1e3,)
    )  # fmt: skip
    before = verify(network, pictures["first"], question)
    assert [each.verdict for each in before.findings] == ["robust", "robust"]
    monkeypatch.setattr(verify_module.ProofProblem, "ai_at", lambda *_: before.sup_ai + 1)
    after = verify(network, pictures["first"], question)
    assert [each.verdict for each in after.findings] == ["unknown", "robust"]
    assert after.complete
    assert after.above_sup > before.above_sup == 0


def test_the_points_above_are_in_the_record_and_in_no_other(networks, pictures):
    question = ProofQuestion(parse_theta(["brightness:0:0.0625"]))
    found = verify(read_network(networks["unpadded"], (1, 8, 8)), pictures["first"], question)
    sample = SimpleNamespace(unit_id="one", label=3)
    assert "above_sup" not in describe(found, sample, "brightness:0:0.0625")
    record = describe(replace(found, above_sup=2), sample, "brightness:0:0.0625")
    assert RECORD_VALUES.validate_python(record).above_sup == 2
