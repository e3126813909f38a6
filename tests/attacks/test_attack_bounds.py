"""Certified bounds and closed forms: never above what an attack reaches, exact where exactness is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from assay.attacks.balls import BALLS
from assay.attacks.bounds import certified, margin_lower_bounds
from assay.attacks.closed_form import linear_worst_margin
from assay.attacks.run import run_attack
from assay.attacks.settings import AttackSettings
from assay.errors import UserError


def conv_net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 2, stride=2, groups=2, bias=False), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, 4),
    ).double()


def worst_seen(net: nn.Module, images: Tensor, labels: Tensor, eps: float, norm: str) -> Tensor:
    """The smallest margin at corners of the ball, random points and PGD's last iterates."""
    asked = AttackSettings(eps=eps, norm=norm, step_size=eps / 5, steps=20, loss="margin", early_stop=False)
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
    bound = margin_lower_bounds(net, images, labels, eps, norm)
    assert (bound <= worst_seen(net, images, labels, eps, norm).detach() + 1e-9).all()


def test_bounds_are_tight_for_a_tiny_ball() -> None:
    net = conv_net(7)
    images = torch.rand(6, 2, 9, 7, dtype=torch.float64)
    labels = net(images).argmax(1)
    clean = net(images).sort(1, descending=True).values
    bound = margin_lower_bounds(net, images, labels, 1e-9)
    assert torch.allclose(bound, clean[:, 0] - clean[:, 1], atol=1e-6)


@given(st.integers(0, 10**6), st.floats(0.0, 0.4), st.sampled_from(["linf", "l2"]))
@settings(max_examples=30, deadline=None)
def test_bound_of_a_linear_model_is_its_closed_form(seed: int, eps: float, norm: str) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(12, 5).double()
    images = torch.rand(8, 1, 3, 4, dtype=torch.float64)
    labels = torch.randint(0, 5, (8,))
    exact = linear_worst_margin(layer.weight, layer.bias, images, labels, eps, norm).detach()
    bound = margin_lower_bounds(nn.Sequential(nn.Flatten(), layer), images, labels, eps, norm)
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
    net = conv_net(4)
    images = torch.rand(40, 2, 9, 7, dtype=torch.float64)
    labels = net(images).argmax(1)
    sure = certified(net, images, labels, 0.1)
    asked = AttackSettings(eps=0.1, step_size=0.02, steps=20, restarts=3)
    fallen = run_attack("pgd", net, images, labels, asked, range(40)).success
    assert sure.any()
    assert fallen.any()
    assert not (sure & fallen).any()


def test_a_layer_that_cannot_be_bounded_is_named() -> None:
    with pytest.raises(UserError, match="layer MaxPool2d"):
        certified(nn.Sequential(nn.MaxPool2d(2)), torch.rand(1, 1, 4, 4), torch.tensor([0]), 0.1)
