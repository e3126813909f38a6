"""Certified bounds and closed forms: never above what an attack reaches, exact where exactness is known."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from assay.attacks.bounds import margin_lower_bounds, relaxed_margins
from assay.attacks.closed_form import linear_part, linear_worst_margin
from assay.attacks.relu_graph import chain_of
from assay.common.balls import BALLS
from assay.common.errors import UserError
from assay.models.info import Preprocessing
from assay.models.loaded import normalised
from assay.models.zoo import load_model
from attacked import Asked, run_attack


def conv_net(seed: int) -> nn.Sequential:
    """Two groups, a gap between the taps, a batch norm, and a stride that leaves a border uncovered."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 2, stride=2, groups=2, bias=False), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, 4),
    )
    net[1].running_mean.uniform_(-0.3, 0.3)
    net[1].running_var.uniform_(0.5, 2)
    nn.init.uniform_(net[1].weight, -1, 1)
    return net.double().eval()


def worst_seen(net: nn.Module, images: Tensor, labels: Tensor, eps: float, norm: str) -> Tensor:
    """The smallest margin at corners of the ball, random points and PGD's last iterates."""
    asked = Asked(eps=eps, norm=norm, step_size=eps / 5, steps=20, loss="margin", early_stop=False)
    ends = [
        run_attack("pgd", net, images, labels, asked, torch.arange(len(images)) + k).images for k in range(3)
    ]
    draws = [
        BALLS[norm].random_start(images, torch.full((len(images),), eps), torch.arange(len(images)) + 100 * k)
        for k in range(10)
    ]
    logits = torch.stack([net(points) for points in (*ends, *draws)])
    own = logits.gather(2, labels[None, :, None].expand(len(logits), -1, 1))
    others = logits.scatter(2, labels[None, :, None].expand(len(logits), -1, 1), -torch.inf)
    return (own.squeeze(2) - others.amax(2)).amin(0)


@given(st.integers(0, 10**6), st.sampled_from([0.005, 0.03, 0.2]), st.sampled_from(["linf", "l2"]))
@settings(max_examples=6, deadline=None)
def test_bounds_lie_below_every_margin_that_is_seen(seed: int, eps: float, norm: str) -> None:
    net = conv_net(seed)
    images = torch.rand(6, 2, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    labels = net(images).argmax(1)
    bound = margin_lower_bounds(chain_of(net, images), images, labels, eps, norm)
    assert (bound <= worst_seen(net, images, labels, eps, norm).detach() + 1e-9).all()


def test_bounds_are_tight_for_a_tiny_ball() -> None:
    net = conv_net(7)
    images = torch.rand(6, 2, 9, 7, dtype=torch.float64)
    labels = net(images).argmax(1)
    clean = net(images).sort(1, descending=True).values
    bound = margin_lower_bounds(chain_of(net, images), images, labels, 1e-9)
    assert torch.allclose(bound, clean[:, 0] - clean[:, 1], atol=1e-6)


@given(st.integers(0, 10**6), st.floats(0.0, 0.4), st.sampled_from(["linf", "l2"]))
@settings(max_examples=30, deadline=None)
def test_bound_of_a_linear_model_is_its_closed_form(seed: int, eps: float, norm: str) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(12, 5).double()
    images = torch.rand(8, 1, 3, 4, dtype=torch.float64)
    labels = torch.randint(0, 5, (8,))
    exact = linear_worst_margin(layer.weight, layer.bias, images, labels, eps, norm).detach()
    chain = chain_of(nn.Sequential(nn.Flatten(), layer), images)
    bound = margin_lower_bounds(chain, images, labels, eps, norm)
    if norm == "linf":
        assert torch.allclose(bound, exact, atol=1e-9)
    else:
        assert (bound >= exact - 1e-9).all()


def test_closed_form_worked_by_hand() -> None:
    weight, bias = torch.tensor([[1.0, -1.0], [0.0, 0.5]]), torch.tensor([0.25, 0.0])
    image, label = torch.tensor([[[[0.5, 0.05]]]]), torch.tensor([0])
    # w_0 - w_1 = (1, -1.5): the first pixel may fall by 0.1, the second rise by 0.1.
    clean = 0.5 - 0.05 + 0.25 - 0.025
    found = linear_worst_margin(weight, bias, image, label, 0.1, "linf")
    assert found.item() == pytest.approx(clean - 0.1 - 0.15, abs=1e-6)
    # For class 1 the second pixel can fall by 0.05 only, where the box ends.
    found = linear_worst_margin(weight, bias, image, 1 - label, 0.1, "linf")
    assert found.item() == pytest.approx(-clean - 0.1 - 0.075, abs=1e-6)
    found = linear_worst_margin(weight, bias, image, label, 0.02, "l2")
    assert found.item() == pytest.approx(clean - 0.02 * 3.25**0.5, abs=1e-6)


def test_certified_images_withstand_attack() -> None:
    net = conv_net(12)
    images = torch.rand(40, 2, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = net(images).argmax(1)
    sure = relaxed_margins(chain_of(net, images), images, labels, 0.04) > 1e-9
    asked = Asked(eps=0.04, step_size=0.008, steps=20, restarts=3)
    fallen = run_attack("pgd", net, images, labels, asked, range(40)).success
    assert sure.any()
    assert fallen.any()
    assert not (sure & fallen).any()


class Wrapped(nn.Module):
    """A user's own module around its layers, behind a normalisation."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(pixels)


PREPROCESSING = Preprocessing(crop=(9, 7), mean=(0.4, 0.6), std=(0.2, 0.5))


def test_a_normalisation_in_front_is_part_of_the_chain() -> None:
    model = normalised(Wrapped(conv_net(2).float()), PREPROCESSING).double()
    images = torch.rand(6, 2, 9, 7, dtype=torch.float64)
    logits = model(images).topk(2)
    labels = logits.indices[:, 0]
    chain = chain_of(model, images)
    bound = relaxed_margins(chain, images, labels, 0.02)
    assert (bound <= worst_seen(model, images, labels, 0.02, "linf").detach() + 1e-9).all()
    tiny = relaxed_margins(chain, images, labels, 1e-9)
    assert torch.allclose(tiny, logits.values[:, 0] - logits.values[:, 1], atol=1e-6)


def test_an_affine_chain_is_one_linear_layer() -> None:
    layer = nn.Linear(126, 5)
    images = torch.rand(4, 2, 9, 7)
    chain = chain_of(normalised(nn.Sequential(nn.Flatten(), layer), PREPROCESSING), images)
    weight, bias = linear_part(chain, images)
    mean, std = (torch.tensor(v).repeat_interleave(63) for v in (PREPROCESSING.mean, PREPROCESSING.std))
    assert torch.allclose(weight, layer.weight / std, atol=1e-6)
    assert torch.allclose(bias, layer.bias - layer.weight @ (mean / std), atol=1e-5)
    assert chain.is_affine


def test_an_onnx_file_is_bounded_as_the_layers_it_holds(shared: Path) -> None:
    model = load_model(f"onnx:{shared / 'data' / 'nets' / 'mnist-net_256x2.onnx'}").module
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    logits = model(images).topk(2)
    chain = chain_of(model, images)
    assert sum(isinstance(layer, nn.Linear) for layer in chain.layers) == 3
    tiny = relaxed_margins(chain, images, logits.indices[:, 0], 1e-7)
    assert torch.allclose(tiny, logits.values[:, 0] - logits.values[:, 1], atol=1e-3)


class Shifted(nn.Module):
    """Looks like a chain and is none: flattening begins at the batch."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.relu(torch.flatten(pixels)).view(1, -1)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.second(pixels.flatten(1)) + self.first(pixels.flatten(1))


class Doubled(nn.Module):
    """A flattening that scales: its layers alone do not answer as it does."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = OnnxReshape()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.flat(pixels)


class OnnxReshape(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return 2 * pixels.flatten(1)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (nn.Sequential(nn.MaxPool2d(2)), "layer MaxPool2d"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Flatten()), "layer Conv2d"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding="same"), nn.Flatten()), "layer Conv2d"),
        (nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten()), "layer BatchNorm2d"),
        (Branching(), "branches or joins"),
        (Shifted(), "layer view"),
        (Doubled(), "does not answer as the network does"),
        (lambda pixels: pixels.flatten(1), "no torch module"),
    ],
)
def test_what_cannot_be_bounded_is_refused_and_named(model: object, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        chain_of(model, torch.rand(1, 1, 2, 2))


def test_batches_are_bounded_as_their_images_are() -> None:
    net, images = conv_net(5), torch.rand(5, 2, 9, 7, dtype=torch.float64)
    labels = net(images).argmax(1)
    chain = chain_of(net, images)
    together = margin_lower_bounds(chain, images, labels, 0.05)
    assert torch.allclose(together, relaxed_margins(chain, images, labels, 0.05), atol=1e-9)
