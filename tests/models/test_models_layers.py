"""A layer's output is read as the map that it is, and the layer that sees the image last is found.

Networks of timm and torchvision with random weights: only shapes and positions are asked. That the reading is right in
its values is shown on the trained Lites and on small transformers whose tokens are known.
"""

import re
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models
from varied_pictures import twenty_pictures

from assay.common.errors import UserError
from assay.models.info import Preprocessing
from assay.models.layer_maps import reading
from assay.models.layers import default_layer, full_name, hooked
from assay.models.loaded import LoadedModel, Normalised
from assay.models.zoo import load_model
from assay.saliency import maps
from assay.tasks.consistency.activations import feature_map, pooled_activations

Make = Callable[[], nn.Module]


def timms(name: str, **arguments: object) -> Make:
    return lambda: timm.create_model(name, **arguments).eval()


def wrapped(net: nn.Module, side: int = 224) -> nn.Module:
    half = (0.5, 0.5, 0.5)
    return Normalised(net, Preprocessing(crop=(side, side), mean=half, std=half)).eval()


def check_default(make: Make, side: int, layer: str, width: int) -> None:
    model, images = wrapped(make(), side), torch.rand(2, 3, side, side)
    assert default_layer(model, images) == f"net.{layer}"
    assert pooled_activations(model, images, [layer])[layer].shape == (2, width)


@pytest.mark.parametrize(
    ("make", "side", "layer", "width"),
    [
        (timms("vit_tiny_patch16_224"), 224, "blocks.11", 192),
        (timms("vit_base_patch16_224", depth=1), 224, "blocks.0", 768),
        (timms("deit_tiny_distilled_patch16_224", depth=3), 224, "blocks.2", 192),
        (timms("vit_small_patch14_reg4_dinov2", img_size=56, depth=2), 56, "blocks.1", 384),
        (timms("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 2)), 224, "layers.3.blocks.1", 768),
        (timms("mixer_s32_224"), 224, "blocks.7", 512),
        (
            timms("cait_xxs24_224", depth=2),
            224,
            "blocks.1",
            192,
        ),  # its class blocks hold the class token alone
    ],
)
def test_a_transformers_default_layer_is_its_last_block(
    make: Make, side: int, layer: str, width: int
) -> None:
    check_default(make, side, layer, width)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "side", "layer", "width"),
    [
        (timms("swin_tiny_patch4_window7_224"), 224, "layers.3.blocks.1", 768),
        (timms("resmlp_12_224"), 224, "blocks.11", 384),
        (timms("crossvit_tiny_240"), 240, "blocks.2.blocks.1.3", 192),
        (timms("levit_128s"), 224, "stages.2.blocks.3", 384),
        (timms("gcvit_xxtiny"), 224, "stages.3", 512),  # a stage ends its blocks with a normalisation
        (timms("naflexvit_base_patch16_gap", depth=2), 384, "blocks.1", 768),
        (lambda: models.vit_b_16(weights=None).eval(), 224, "encoder.layers.encoder_layer_11", 768),
        (lambda: models.swin_t(weights=None).eval(), 224, "features.7.1", 768),
        (lambda: models.maxvit_t(weights=None).eval(), 224, "blocks.3.layers.1.layers.grid_attention", 512),
    ],
)
def test_the_default_layer_of_transformers_of_other_makes(
    make: Make, side: int, layer: str, width: int
) -> None:
    check_default(make, side, layer, width)


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (timms("resnet18"), "layer4.1.conv2"),
        (timms("tf_efficientnet_lite0"), "conv_head"),
        (timms("convnext_atto"), "stages.3.blocks.1.mlp.fc2"),  # which is a 1 x 1 convolution
        (
            timms("mambaout_femto"),
            "stages.3.blocks.2.conv",
        ),  # its blocks give channels last, and mix by convolution
        (lambda: models.squeezenet1_0(weights=None).eval(), "features.12.expand3x3"),
    ],
)
def test_a_convolutional_networks_default_layer_is_its_last_convolution(make: Make, layer: str) -> None:
    assert default_layer(make(), torch.rand(1, 3, 224, 224)) == layer


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (
            timms("deit_tiny_distilled_patch16_224", depth=2),
            {"blocks.1": ("tokens", (14, 14), 2), "patch_embed": ("tokens", (14, 14), 0)},
        ),
        (
            timms("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1)),
            {
                "layers.3": ("nhwc", (7, 7), 0),
                "layers.0": ("nhwc", (56, 56), 0),
                "head": ("vector", (1, 1), 0),
            },
        ),
        (timms("mixer_s32_224"), {"blocks.0": ("tokens", (7, 7), 0)}),
        (timms("resnet18"), {"layer4": ("nchw", (7, 7), 0), "global_pool": ("vector", (1, 1), 0)}),
    ],
)
def test_kinds_of_layers(make: Make, layers: dict[str, tuple[str, tuple[int, int], int]]) -> None:
    net, images, found = make(), torch.rand(1, 3, 224, 224), {}

    def see(name: str, output: object) -> None:
        read = reading(net, name, output, tuple(images.shape))
        found[name] = (read.kind, read.size, read.prefix)

    with hooked(net, list(layers), see):
        net(images)
    assert found == layers


class Tokens(nn.Module):
    """Prefix tokens, then a token a cell of 4 x 4 pixels whose first feature is the cell's mean."""

    def __init__(self, prefix: int, *, stated: bool = True) -> None:
        super().__init__()
        self.prefix = prefix
        if stated:
            self.num_prefix_tokens = prefix
        self.block, self.head = nn.Identity(), nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        cells = nn.functional.avg_pool2d(images, 4).flatten(2).transpose(1, 2)
        prefix = cells.new_full((len(images), self.prefix, cells.shape[2]), 99.0)
        tokens = self.block(torch.cat([prefix, cells], dim=1))
        return self.head(tokens.mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("prefix", "stated"), [(0, True), (1, True), (5, True), (0, False), (1, False), (5, False)]
)
@pytest.mark.parametrize("size", [(24, 24), (24, 40), (40, 24)])
def test_tokens_lie_where_their_cells_do_and_prefix_tokens_are_left_out(
    prefix: int, stated: bool, size: tuple[int, int]
) -> None:
    images = torch.rand(2, 3, *size)
    cells = nn.functional.avg_pool2d(images, 4)
    net = Tokens(prefix, stated=stated)
    assert torch.equal(feature_map(net, images, "block"), cells)
    assert torch.equal(pooled_activations(net, images, ["block"])["block"], cells.amax((2, 3)))
    mean = pooled_activations(net, images, ["block"], "mean")["block"]
    torch.testing.assert_close(mean, cells.mean((2, 3)))


class ChannelsLast(nn.Module):
    """Any network's map with its channels last."""

    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 2, 3, 1)


@pytest.mark.parametrize("size", [(24, 24), (25, 39), (39, 25)])
def test_channels_last_have_the_values_of_channels_first(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 3, stride=4, padding=1), ChannelsLast())
    images = torch.rand(2, 3, *size)
    found = pooled_activations(net, images, ["0", "1"])
    assert torch.equal(found["0"], found["1"])
    assert torch.equal(feature_map(net, images, "0"), feature_map(net, images, "1"))


def test_a_reading_can_be_put_back() -> None:
    for shape, kind in (((2, 10, 4), "tokens"), ((2, 3, 3, 4), "nhwc"), ((2, 4, 3, 3), "nchw")):
        output = torch.rand(shape)
        read = reading(nn.Sequential(nn.Identity(), nn.Linear(4, 2)), "0", output, (2, 3, 24, 24))
        assert read.kind == kind
        assert read.channels_first(output).shape == (2, 4, 3, 3)
        assert torch.equal(read.put_back(output, read.channels_first(output)), output)


def test_a_convolution_has_its_channels_first_whatever_its_shape() -> None:
    flat = nn.Conv2d(3, 7, (1, 8), padding=0)  # 7 channels of 7 x 1 would pass for 7 x 7 with channels last
    images = torch.rand(1, 3, 7, 8)
    assert feature_map(nn.Sequential(flat), images, "0").shape == (1, 7, 7, 1)


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (
            torch.zeros(2, 140, 8),
            "layer '0' gives (2, 140, 8), not (images, channels",
        ),  # no grid, no prefix of 16
        (
            torch.zeros(2, 9, 36),
            "layer '0' gives (2, 9, 36)",
        ),  # 9 channels of 6 x 6 in a row: nothing takes 36
        (torch.zeros(49, 2, 8), "layer '0' gives (49, 2, 8)"),  # tokens before images
        (torch.zeros(18, 16, 8), "layer '0' gives (18, 16, 8)"),  # windows of an image
        ((torch.zeros(2, 8),), "layer '0' gives tuple"),
        (torch.zeros(2, 3, 3, 3, 8), "layer '0' gives (2, 3, 3, 3, 8)"),
    ],
)
def test_an_output_that_is_no_map_is_refused(output: object, complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)):
        reading(nn.Sequential(nn.Identity(), nn.Linear(8, 2)), "0", output, (2, 3, 24, 24))


def test_a_layer_is_found_under_the_name_that_its_own_network_gives_it() -> None:
    net = timm.create_model("test_vit").eval()
    model = wrapped(net)
    assert full_name(model, "blocks.1") == "net.blocks.1"
    assert full_name(model, "net.blocks.1") == "net.blocks.1"
    with pytest.raises(UserError, match=r"no layer 'blocks\.1\.mpl'; nearest: .*net\.blocks\.1\.mlp"):
        full_name(model, "blocks.1.mpl")
    with pytest.raises(UserError, match="no layer 'proj'"):  # deeper in the network is another name
        full_name(model, "proj")
    with pytest.raises(UserError, match=r"no layer 'blocks\.99'; nearest: "):
        full_name(model, "blocks.99")


def test_a_network_without_convolution_or_block_has_no_default_layer() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(UserError, match="no convolution over a spatial map"):
        default_layer(net, torch.zeros(1, 3, 2, 2))


@pytest.fixture(scope="module")
def lite0() -> LoadedModel:
    return load_model("efficientnet_lite0")


class Rearranged(nn.Module):
    """Lite0 whose last map is handed on in another order, as a transformer would, and put back for the head."""

    def __init__(self, lite0: nn.Module, kind: str) -> None:
        super().__init__()
        self.lite0, self.kind, self.last, self.width = lite0, kind, nn.Identity(), nn.Linear(1280, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.lite0.forward_features(images)  # type: ignore[operator]
        if self.kind == "nhwc":
            features = self.last(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            cells = features.flatten(2).transpose(1, 2)
            tokens = self.last(torch.cat([torch.full_like(cells[:, :1], 1e6), cells], dim=1))
            features = tokens[:, 1:].transpose(1, 2).reshape(features.shape)
        return self.lite0.forward_head(features)  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("kind", ["nhwc", "tokens"])
def test_trained_features_have_the_same_activations_and_maps_in_any_order(
    lite0: LoadedModel, kind: str
) -> None:
    net = lite0.module.net
    assert isinstance(net, nn.Module)
    images = torch.stack([lite0.prepare(np.asarray(picture)) for picture in twenty_pictures()[-3:]])
    other = Rearranged(net, kind).eval()
    assert default_layer(lite0.module, images) == "net.conv_head"
    assert torch.equal(
        pooled_activations(other, images, ["last"])["last"], pooled_activations(net, images, ["bn2"])["bn2"]
    )
    target = net(images).argmax(1)
    for method in ("grad_cam", "grad_cam_pp"):
        plain, rearranged = (
            maps(some, images, target, method, layer=layer) for some, layer in ((net, "bn2"), (other, "last"))
        )
        torch.testing.assert_close(rearranged, plain, rtol=1e-4, atol=1e-6)
        assert plain.amax((1, 2)).gt(0).all()
