"""Reading neurons from small networks with a known answer, and from real architectures."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from assay.common.errors import UserError
from assay.models.layers import last_convolution
from assay.tasks.consistency.activations import feature_map, pooled_activations


class ColourDetectors(nn.Module):
    """Channel c of `conv` is colour plane c; a head averages it to logits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
        self.flatten = nn.Flatten()
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3 * 4, 3)

    def forward(self, x):
        return self.head(self.flatten(self.conv(x)))


@pytest.fixture
def detectors():
    return ColourDetectors().eval()


@pytest.fixture
def images():
    return torch.rand((5, 3, 2, 2), generator=torch.Generator().manual_seed(0))


def test_maximum_and_mean_over_the_map(detectors, images):
    assert torch.equal(pooled_activations(detectors, images, ["conv"])["conv"], images.amax((2, 3)))
    mean = pooled_activations(detectors, images, ["conv"], pool="mean")["conv"]
    torch.testing.assert_close(mean, images.mean((2, 3)))


def test_several_layers_take_one_pass(detectors, images):
    passes = []
    detectors.register_forward_hook(lambda *_: passes.append(1))
    pooled = pooled_activations(detectors, images, ["conv", "flatten", "head"])
    assert len(passes) == 1
    assert {name: tuple(a.shape) for name, a in pooled.items()} == {
        "conv": (5, 3),
        "flatten": (5, 12),
        "head": (5, 3),
    }


def test_no_hook_stays_behind(detectors, images):
    pooled_activations(detectors, images, ["conv"])
    with pytest.raises(UserError):
        pooled_activations(detectors, images, ["conv", "absent"])
    assert not any(module._forward_hooks for module in detectors.modules())


def test_a_wrong_name_gets_the_nearest(detectors, images):
    with pytest.raises(UserError, match=r"no layer 'conv1'; nearest: conv"):
        pooled_activations(detectors, images, ["conv1"])


def test_a_layer_that_does_not_run_is_refused(detectors, images):
    with pytest.raises(UserError, match="'unused' does not run"):
        pooled_activations(detectors, images, ["unused"])


def test_a_layer_of_three_dimensions_that_are_no_tokens_is_refused():
    model = nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(UserError, match=r"layer '0' gives \(1, 3, 4\)"):
        pooled_activations(model, torch.zeros(1, 3, 2, 2), ["0"])


def test_a_map_is_differentiable_in_the_image(detectors, images):
    x = images[:1].clone().requires_grad_(True)
    feature_map(detectors, x, "conv")[0, 1, 0, 1].backward()
    assert x.grad.nonzero().tolist() == [[0, 1, 0, 1]]
    with pytest.raises(UserError, match=r"gives no map"):
        feature_map(detectors, images, "head")


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (torchvision.models.resnet18, "layer4.1.conv2"),
        (torchvision.models.squeezenet1_1, "features.12.expand3x3"),  # its classifier is a convolution
        (torchvision.models.mobilenet_v3_small, "features.12.0"),  # past its 1 x 1 gates
        (lambda: timm.create_model("tf_efficientnet_lite0"), "conv_head"),
        (lambda: timm.create_model("resnetv2_50"), "stages.3.blocks.2.conv3"),  # convolutional head
        (lambda: timm.create_model("vgg11"), "features.18"),  # convolutional pre-logits
    ],
    ids=["resnet18", "squeezenet", "mobilenet_v3", "lite0", "resnetv2", "vgg11"],
)
def test_the_last_convolution_is_found(make, layer):
    model = make().eval()
    assert last_convolution(model, torch.zeros(1, 3, 64, 64)) == layer


def test_auxiliary_heads_registered_last_do_not_mislead():
    model = torchvision.models.googlenet(init_weights=False).eval()
    assert last_convolution(model, torch.zeros(1, 3, 64, 64)) == "inception5b.branch4.1.conv"


def test_an_only_convolution_counts_even_if_it_gives_the_logits():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    assert last_convolution(model, torch.zeros(1, 3, 8, 8)) == "0"


def test_a_fully_connected_net_has_no_last_convolution():
    with pytest.raises(UserError, match="no convolution"):
        last_convolution(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(1, 3, 2, 2))
