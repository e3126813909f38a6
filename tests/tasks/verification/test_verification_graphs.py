"""Networks that branch and join, exactly: a closed form, trained residual networks, and two published ones."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from test_verification_search import found_by
from torch import nn
from verification_checks import check_all, check_values
from verification_oracles import autograd_ai, grid

import small_training as nets
from assay.models.zoo import load_model
from assay.tasks.verification import blocks as blocks_module
from assay.tasks.verification.evaluate import exact_network
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.linear import Dense
from assay.tasks.verification.network import read_network
from assay.tasks.verification.nodes import UnsupportedLayerError
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.spec import SearchSettings
from assay.tasks.verification.subdivide import rounding_of
from assay.tasks.verification.verify import verify

PLANE = ["brightness:0:0.3", "patch:0:0.5:3:3:2x2"]
SHIFT = ["brightness:0:0.2", "translation:x:0:1"]
CARDS = Path(__file__).parents[3] / "docs/cards"


class OnePixel(nn.Module):
    """Logits (x + relu(2 x - 1) + 1/4, 0) of the pixel x, whose slope is 1 below x = 1/2 and 3 above."""

    def forward(self, x):
        y = x.flatten(1)
        y = y + self.gate(y)
        return self.out(y)

    def __init__(self):
        super().__init__()
        self.gate, self.out = nn.Sequential(nn.Linear(1, 1), nn.ReLU()), nn.Linear(1, 2)
        self.gate[0].weight.data, self.gate[0].bias.data = torch.tensor([[2.0]]), torch.tensor([-1.0])
        self.out.weight.data, self.out.bias.data = torch.tensor([[1.0], [0.0]]), torch.tensor([0.25, 0.0])


def test_a_residual_add_of_one_pixel_has_the_answer_of_its_closed_form():
    question = ProofQuestion(parse_theta(["brightness:0:1"]), deltas=(1.0,))
    found = verify(read_network(OnePixel(), (1, 1, 1)), torch.zeros(1, 1, 1), question)
    assert found.complete
    assert found.cells == 2
    assert sorted(found.table.cells.points.amin(1).flatten().tolist()) == [0, 0.5]
    assert sorted(found.table.ai_max.tolist()) == [0, 2]
    assert found.sup_ai == 2
    assert found.min_margin == 0.25
    assert found.findings[0].satisfied == found.findings[0].violated == 0.5
    assert [each.verdict for each in found.findings] == ["violated", "robust"]


class SmallResidual(nn.Module):
    """Two residual blocks, one with a projection, each followed by average pooling with a border."""

    def __init__(self, pool):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.down = nn.Sequential(nn.Conv2d(4, 6, 2, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 1))
        self.short = nn.Conv2d(4, 6, 1, 2)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(3))
        self.pool, self.out = pool, nn.Linear(6 * 9, 10)

    def forward(self, x):
        x = self.relus[0](self.stem(x))
        x = self.relus[1](self.inner(x) + x)
        x = self.relus[2](self.down(x) + self.short(x))
        return self.out(torch.flatten(self.pool(x), 1))


POOLS = {"average": nn.AvgPool2d(2, 2, 1), "max": nn.MaxPool2d(2, 2, 1)}


@pytest.fixture(scope="module", params=POOLS)
def residual(request):
    """Trained on the digits for a few passes, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = SmallResidual(POOLS[request.param])
    (images, labels), held_out = nets.digits_split()
    steps = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(10):
        for some, right in zip(torch.split(images, 64), torch.split(labels, 64), strict=True):
            steps.zero_grad()
            nn.functional.cross_entropy(module(some), right).backward()
            steps.step()
    module = module.double().eval().requires_grad_(False)
    assert nets.accuracy(module, held_out[0].double(), held_out[1]) > 0.7
    return module


@pytest.mark.parametrize("texts", [PLANE, SHIFT, ["brightness:-0.2:0.3:clamp"]], ids=str)
def test_every_point_of_a_residual_network_is_in_a_cell_with_the_maps_of_autograd(residual, texts, digits):
    if isinstance(residual.pool, nn.AvgPool2d):
        check_all(residual, digits[0], texts, count=200)
        return
    theta = parse_theta(texts)
    found = verify(read_network(residual, (1, 8, 8)), digits[0], ProofQuestion(theta, deltas=(1e-3,)))
    assert found.complete
    check_values(residual, digits[0], theta, found, 10)


def test_along_a_line_the_exact_supremum_is_that_of_a_dense_grid(residual, digits):
    """ai changes only where a ReLU does: a grid finer than the narrowest cell that matters finds the supremum."""
    theta = parse_theta(["brightness:0:0.3"])
    found = verify(read_network(residual, (1, 8, 8)), digits[2], ProofQuestion(theta))
    values = [autograd_ai(residual, theta, digits[2], point, range(10)) for point in grid(theta, 300)]
    assert max(values) <= found.sup_ai * (1 + 1e-9)
    wide = found.table.volumes > 0.3 / 300
    assert max(values) >= float(found.table.ai_max[wide].max()) * (1 - 1e-9)


def test_a_skipped_branch_that_is_lost_is_caught(residual, digits, monkeypatch):
    original = blocks_module._section

    def lost(start, shape, total):
        return original(0, shape, total)

    monkeypatch.setattr(blocks_module, "_section", lost)
    with pytest.raises(UnsupportedLayerError, match="do not answer as the network does"):
        read_network(residual, (1, 8, 8))


def test_no_bound_of_the_search_exceeds_a_residual_network_s_exact_one(residual, digits):
    texts, settings = (
        ["brightness:0:0.1", "patch:0:0.2:3:3:2x2"],
        SearchSettings(grid=17, boxes=32, rounds=16),
    )
    check_bridge(read_network(residual, (1, 8, 8)), residual, digits[:20], texts, settings)


@pytest.mark.slow
@pytest.mark.parametrize("residual", ["average"], indirect=True)
def test_the_same_holds_over_wide_ranges_where_the_climb_goes_deep(residual, digits):
    """Two suprema lie in cells of 2 and 14 millionths of the range, which rounds find and a finer grid does not."""
    settings = SearchSettings(grid=9, boxes=32, rounds=64)
    check_bridge(read_network(residual, (1, 8, 8)), residual, digits[:20], PLANE, settings)


def check_bridge(network, module, images, texts, settings):
    """On 20 images the search's bounds are on the right side, and on 19 at least within 1 % of the exact supremum."""
    near = 0
    for image, each in zip(images, found_by(module, images, texts, settings=settings), strict=True):
        exact = verify(network, image, ProofQuestion(parse_theta(texts), "predicted"))
        assert each.ai.value <= exact.sup_ai * (1 + 1e-9)
        assert each.margin.value >= exact.min_margin - 1e-9 * abs(exact.min_margin)
        near += each.ai.value >= 0.99 * exact.sup_ai
        assert exact.complete
    assert near >= 19


def cifar10_images(data):
    with np.load(data / "cifar10_test1000.npz") as file:
        return torch.from_numpy(file["images"][:20]).permute(0, 3, 1, 2) / 255


def mnist_images(data):
    content = gzip.decompress((data / "mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16)[: 20 * 784]
    return torch.from_numpy(pixels.reshape(-1, 1, 28, 28).copy()) / 255


PUBLISHED = {
    "resnet_2b": (cifar10_images, 6244, ["brightness:0:0.01", "patch:0:0.02:10:10:4x4"]),
    "Convnet_maxpool": (mnist_images, 23328 + 17280, ["brightness:0:0.02"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_same_holds_for_published_networks(name, shared, monkeypatch):
    images_of, neurons, texts = PUBLISHED[name]
    if not (shared / "zoo").is_dir():
        pytest.skip(f"the published networks are not at {shared / 'zoo'}")
    monkeypatch.setenv("ASSAY_DATA", str(shared / "zoo"))
    model = load_model(str(CARDS / f"{name}.yaml"))
    network = exact_network(model)
    assert network.neurons == neurons
    settings = SearchSettings(grid=17, boxes=32, rounds=12)
    check_bridge(network, model.module, images_of(shared / "data").float(), texts, settings)


def test_rounding_is_handed_on_to_what_passes_a_block_without_a_gate():
    """Such values may be pooled later, where what ties but for rounding must tie."""
    carrying = Layer((Dense(torch.eye(3).double()),), torch.zeros(3).double(), torch.arange(3) < 1)
    ones, before = torch.ones(3).double(), torch.full((3,), 1e-9).double()
    own = rounding_of(carrying, ones, None)
    assert (rounding_of(carrying, ones, before) - own).tolist() == pytest.approx([0, 1e-9, 1e-9])
    gated = Layer(carrying.maps, carrying.bias, torch.ones(3).bool())
    assert torch.equal(rounding_of(gated, ones, before), own)
