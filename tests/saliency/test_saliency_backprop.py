"""Maps at the image, against hand-worked gradients and plain Captum."""

import copy

import pytest
import torch
from captum import attr
from nets import Linear, small_conv
from torch import Tensor, nn
from torch.nn import functional

from assay.common.errors import UserError
from assay.saliency import maps

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TARGET = torch.tensor([0, 1, 2, 3, 4])


def test_the_gradient_of_a_linear_network_is_its_weights_summed_over_channels() -> None:
    weight = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(maps(Linear(weight), IMAGES, TARGET, "gradient"), weight.sum(1))


def test_guided_backprop_by_hand() -> None:
    """f = 2 relu(x1 - x2) - 3 relu(x1 + x2) at (0.6, 0.2): the second ReLU's negative gradient is stopped."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    net[1].weight.data = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    net[3].weight.data = torch.tensor([[2.0, -3.0]])
    image, first = torch.tensor([[[[0.6, 0.2]]]]), torch.tensor([0])
    torch.testing.assert_close(maps(net, image, first, "gradient"), torch.tensor([[[-1.0, -5.0]]]))
    torch.testing.assert_close(maps(net, image, first, "guided_backprop"), torch.tensor([[[2.0, -2.0]]]))


def test_guided_backprop_guides_relu6_and_stops_above_six() -> None:
    def net(relu: nn.Module) -> nn.Module:
        layers = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False), relu, nn.Linear(3, 1, bias=False))
        layers[1].weight.data = torch.diag(torch.tensor([1.0, 1.0, 10.0]))
        layers[3].weight.data = torch.tensor([[1.0, -1.0, 1.0]])
        return layers

    image, first = torch.tensor([[[[0.5, 0.5, 0.9]]]]), torch.tensor([0])
    guided = maps(net(nn.ReLU6()), image, first, "guided_backprop")
    torch.testing.assert_close(guided, torch.tensor([[[1.0, 0.0, 0.0]]]))
    assert maps(net(nn.ReLU()), image, first, "guided_backprop")[0, 0, 2] == 10


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(
    ("method", "captum"),
    [
        ("gradient", lambda net, x, t: attr.Saliency(net).attribute(x, t, abs=False)),
        ("guided_backprop", lambda net, x, t: attr.GuidedBackprop(net).attribute(x, t)),
    ],
)
def test_agrees_with_captum_on_the_network_itself(method: str, captum) -> None:
    net = small_conv(torch.float64).eval()
    images = IMAGES.double()
    expected = captum(net, images.clone().requires_grad_(), TARGET).sum(1)
    torch.testing.assert_close(maps(net, images, TARGET, method), expected)


class Functional(nn.Module):
    """A ReLU module and a ReLU called as a function."""

    def __init__(self, call) -> None:
        super().__init__()
        self.relu, self.head, self.call = nn.ReLU(), nn.Linear(192, 5), call

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.call(self.relu(images.flatten(1))))


@pytest.mark.parametrize(
    ("net", "complaint"),
    [
        (Functional(functional.relu), "calls 1 of its ReLUs as functions"),
        (Functional(torch.relu), "calls 1 of its ReLUs as functions"),
        (Functional(lambda x: x.clone().relu_()), "calls 1 of its ReLUs as functions"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Tanh()), "the network has no ReLU"),
    ],
)
def test_guided_backprop_refuses_what_it_would_leave_unguided(net: nn.Module, complaint: str) -> None:
    assert maps(net, IMAGES, TARGET, "gradient").shape == (5, 8, 8)
    with pytest.raises(UserError, match=complaint):
        maps(net, IMAGES, TARGET, "guided_backprop")


def test_relus_shared_by_several_places_are_guided_everywhere() -> None:
    relu = nn.ReLU6()
    torch.manual_seed(3)
    layers = [nn.Flatten(), nn.Linear(192, 20), relu, nn.Linear(20, 20), relu, nn.Linear(20, 5)]
    shared = nn.Sequential(*layers)
    apart = nn.Sequential(*[copy.deepcopy(layer) for layer in layers])
    for layer, other in zip(shared, apart, strict=True):
        other.load_state_dict(layer.state_dict())
    maps_of = [maps(net, IMAGES, TARGET, "guided_backprop") for net in (shared, apart)]
    torch.testing.assert_close(*maps_of)
