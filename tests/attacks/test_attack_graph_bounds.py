"""Bounds of networks that branch, of intervals and of Lipschitz products: never above what is seen, and by hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_attack_bounds import conv_net, worst_seen
from torch import Tensor, nn

from assay.attacks.bounds import interval_margins, margin_lower_bounds, relaxed_margins
from assay.attacks.closed_form import linear_worst_margin
from assay.attacks.lipschitz import margin_slopes
from assay.attacks.relu_graph import chain_of, relu_graph_of
from assay.common.errors import UserError
from assay.models.zoo import load_model


class Residual(nn.Module):
    """Two branches from one value, added in place, and a sum that a ReLU and a later sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.relu = nn.ReLU(inplace=True)
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.short = nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(4 * 5 * 4, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        start = self.relu(self.first(pixels))
        middle = self.branch(start)
        middle += self.short(start)
        end = torch.relu(middle) + start
        return self.last(torch.flatten(end, 1))


def residual(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Residual().double().eval()


def some_images(seed: int, count: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Values of known sign in one image of these, open in another.
@example(seed=398, eps=0.2, norm="linf")
@given(
    seed=st.integers(0, 10**6),
    eps=st.sampled_from([0.005, 0.03, 0.2]),
    norm=st.sampled_from(["linf", "l2"]),
)
@settings(max_examples=6, deadline=None)
def test_bounds_of_a_residual_network_lie_below_every_margin_that_is_seen(
    seed: int, eps: float, norm: str
) -> None:
    net, images = residual(seed), some_images(seed, 5, (2, 5, 4))
    labels, graph = net(images).argmax(1), relu_graph_of(net, images)
    seen = worst_seen(net, images, labels, eps, norm).detach() + 1e-9
    linear = relaxed_margins(graph, images, labels, eps, norm)
    assert (linear <= seen).all()
    assert torch.allclose(margin_lower_bounds(graph, images, labels, eps, norm), linear, atol=1e-9)
    box = interval_margins(graph, images, labels, eps, norm)
    assert (box <= linear + 1e-9).all()
    if norm == "l2":
        assert (lipschitz_margins(net, images, eps) <= seen).all()


def lipschitz_margins(net: nn.Module, images: Tensor, eps: float) -> Tensor:
    logits = net(images)
    labels = logits.argmax(1)
    margins = logits.gather(1, labels[:, None]) - logits
    bounds = margins - eps * margin_slopes(relu_graph_of(net, images))[labels]
    return bounds.scatter(1, labels[:, None], torch.inf).amin(1).detach()


def test_bounds_of_a_residual_network_are_tight_for_a_tiny_ball() -> None:
    net, images = residual(3), some_images(3, 5, (2, 5, 4))
    clean = net(images).topk(2)
    for bound in (relaxed_margins, interval_margins):
        found = bound(relu_graph_of(net, images), images, clean.indices[:, 0], 1e-9)
        assert torch.allclose(found, clean.values[:, 0] - clean.values[:, 1], atol=1e-6)


def test_a_chain_is_read_as_a_graph_with_the_same_bounds() -> None:
    net, images = conv_net(4), some_images(4, 3, (2, 9, 7))
    labels = net(images).argmax(1)
    graphs = chain_of(net, images), relu_graph_of(net, images)
    assert graphs[0].inputs == graphs[1].inputs
    bounds = [relaxed_margins(graph, images, labels, 0.03) for graph in graphs]
    assert torch.equal(*bounds)


@given(st.integers(0, 10**6), st.floats(0.0, 0.4))
@settings(max_examples=20, deadline=None)
def test_a_linear_model_s_interval_and_lipschitz_bounds_are_its_closed_forms(seed: int, eps: float) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).double()
    images = some_images(seed, 6, (1, 3, 4))
    labels = net(images).argmax(1)
    graph, form = chain_of(net, images), (net[1].weight, net[1].bias, images, labels, eps)
    box = linear_worst_margin(*form, "linf").detach()
    assert torch.allclose(interval_margins(graph, images, labels, eps), box, atol=1e-9)
    ball = linear_worst_margin(*form, "l2").detach()
    found = lipschitz_margins(net, images, eps)
    assert (found <= ball).all()
    assert torch.allclose(found, ball, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2, groups=2),
        nn.Conv2d(2, 3, (3, 2), bias=False),
    ],
)
def test_the_norm_of_a_convolution_bounds_its_matrix(layer: nn.Conv2d) -> None:
    layer = layer.double()
    images = torch.eye(2 * 6 * 5, dtype=torch.float64).view(-1, 2, 6, 5)
    matrix = (layer(images) - layer(torch.zeros_like(images))).flatten(1).T.detach()
    exact = torch.linalg.matrix_norm(matrix, 2)
    # The last layer's norm alone: differences of logits stretch by the square root of 2 at the most.
    graph = relu_graph_of(nn.Sequential(layer, nn.Flatten()), images[:1])
    found = margin_slopes(graph)[0, 1] / 2**0.5
    assert exact <= found <= 1.5 * exact


class Multiplied(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        flat = pixels.flatten(1)
        return flat * flat


class GivesTheFirst(nn.Module):
    """What it gives is not what its last layer gives."""

    def forward(self, pixels: Tensor) -> Tensor:
        flat = torch.flatten(pixels, 1)
        torch.relu(flat)
        return flat


class ChangedInPlace(nn.Module):
    """The sum reads a value that the ReLU has changed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Linear(4, 4), nn.ReLU(inplace=True)
        nn.init.constant_(self.first.weight, -1)

    def forward(self, pixels: Tensor) -> Tensor:
        before = self.first(torch.flatten(pixels, 1))
        return self.relu(before) + before


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (Multiplied(), "another way than by adding"),
        (GivesTheFirst(), "something else than its last layer"),
        (ChangedInPlace(), "does not answer as the network does"),
    ],
)
def test_what_is_no_graph_of_sums_is_refused_and_named(model: nn.Module, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        relu_graph_of(model, torch.rand(1, 1, 2, 2))


def test_a_published_residual_network_is_proved_where_pgd_fails(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (shared / "zoo").is_dir():
        pytest.skip("the published networks are not here")
    import numpy as np

    monkeypatch.setenv("ASSAY_DATA", str(shared / "zoo"))
    model = load_model(str(Path(__file__).parents[2] / "docs" / "cards" / "resnet_2b.yaml"))
    with np.load(shared / "data" / "cifar10_test100.npz") as data:
        images = torch.stack([model.prepare(image) for image in data["images"][:12]])
        labels = torch.tensor(data["labels"][:12].astype(np.int64))
    right = model.module(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    bounds = relaxed_margins(relu_graph_of(model.module, images), images, labels, 1 / 255)
    seen = worst_seen(model.module, images, labels, 1 / 255, "linf").detach()
    assert (bounds <= seen + 1e-4).all()
    assert (bounds > 0).float().mean() > 0.5
