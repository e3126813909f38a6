"""Every method: laws that all keep, and each against a closed form or an independent program."""

import copy

import pytest
import torch
from captum import attr
from hypothesis import given
from hypothesis import strategies as st
from nets import Linear, small_conv
from torch import Tensor, nn
from torch.nn import functional

from assay.common.errors import UserError
from assay.saliency import channel_maps, maps
from assay.saliency.cam import default_layer, weighed_map
from assay.saliency.settings import METHODS

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGET = torch.tensor([0, 1, 2, 3, 4])
FEW = {"smoothgrad": {"samples": 6}, "integrated_gradients": {"steps": 6}}
every_method = pytest.mark.parametrize("method", METHODS)


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_map_an_image_of_the_images_type(method: str, dtype: torch.dtype) -> None:
    found = maps(small_conv(dtype), IMAGES.to(dtype), TARGET, method, **FEW.get(method, {}))
    assert (found.shape, found.dtype, found.requires_grad) == ((5, 8, 8), dtype, False)
    assert torch.isfinite(found).all()
    assert found.abs().amax((1, 2)).gt(0).any()
    assert (found >= 0).all() or not method.startswith("grad_cam")


@every_method
@pytest.mark.parametrize("count", [0, 5])
def test_a_number_a_channel_where_the_method_has_one(method: str, count: int) -> None:
    net, few = small_conv(torch.float64), FEW.get(method, {})
    images, target = IMAGES[:count], TARGET[:count]
    found = channel_maps(net, images, target, method, **few)
    pixelwise = method in ("grad_cam", "grad_cam_pp", "occlusion")
    assert found.shape == ((count, 8, 8) if pixelwise else (count, 3, 8, 8))
    summed = found if pixelwise else found.sum(1)
    assert torch.equal(maps(net, images, target, method, **few), summed)


@every_method
def test_maps_do_not_depend_on_the_batch(method: str) -> None:
    net, few = small_conv(torch.float64), FEW.get(method, {})
    together = maps(net, IMAGES, TARGET, method, **few)
    apart = [
        maps(net, IMAGES[i : i + 1], TARGET[i : i + 1], method, batch_size=i + 1, **few) for i in range(5)
    ]
    torch.testing.assert_close(together, torch.cat(apart))
    assert torch.equal(together, maps(net, IMAGES, TARGET, method, **few))


@every_method
def test_no_image_no_map(method: str) -> None:
    assert maps(small_conv(), torch.empty(0, 3, 8, 8), TARGET[:0], method).shape == (0, 8, 8)


@every_method
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(method: str, training: bool) -> None:
    net = small_conv(torch.float64, inplace=True).train(training)
    net[4].eval()  # modes may be mixed
    state, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    images = IMAGES.clone()
    generator = torch.get_rng_state()
    with torch.no_grad():
        found = maps(net, images, TARGET, method, **FEW.get(method, {}))
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(images, IMAGES)
    assert [module.training for module in net.modules()] == modes
    assert [module.inplace for module in net.modules() if isinstance(module, nn.ReLU)] == [True, True]
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name])
    for parameter in net.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
    for module in net.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        assert not any(hooks)
    torch.testing.assert_close(
        found, maps(small_conv(torch.float64), IMAGES, TARGET, method, **FEW.get(method, {}))
    )


# --- closed forms


@given(st.floats(0.01, 1), st.integers(1, 9), st.integers(0, 2**64))
def test_smoothgrad_of_a_linear_network_is_its_gradient(sigma: float, samples: int, seed: int) -> None:
    net = Linear(torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    found = maps(
        net, IMAGES[..., :4, :4], TARGET, "smoothgrad", sigma=sigma, samples=samples, seed=seed, batch_size=7
    )
    torch.testing.assert_close(found, net.weight.sum(1))


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_each_channel_of_a_linear_network_has_its_own_slope(method: str) -> None:
    """Weights 1, -2 and 1/2: as one number a pixel, -1/2 would hide that two channels speak for the class."""
    weight = torch.tensor([1.0, -2.0, 0.5])[:, None, None].expand(1, 3, 8, 8)
    images, target = IMAGES[:2].float(), torch.tensor([0, 0])
    found = channel_maps(Linear(weight), images, target, method)
    torch.testing.assert_close(found, weight.expand(2, 3, 8, 8))
    torch.testing.assert_close(maps(Linear(weight), images, target, method), torch.full((2, 8, 8), -0.5))


class Square(nn.Module):
    """Both logits are |x|^2 / 2: the gradient is x itself."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1).square().sum(1, keepdim=True) / 2).expand(-1, 2)


def test_smoothgrad_of_a_square_is_the_image_and_the_mean_of_the_noise() -> None:
    images, first = torch.rand(2, 1, 32, 32, dtype=torch.float64), torch.tensor([0, 1])
    few, many, other = (
        maps(Square(), images, first, "smoothgrad", sigma=0.2, samples=samples, seed=seed) - images[:, 0]
        for samples, seed in ((4, 0), (100, 0), (100, 1))
    )
    torch.testing.assert_close(few[0], few[1])  # the same noise for every image
    assert few.std() == pytest.approx(0.2 / 2, rel=0.1)
    assert many.std() == pytest.approx(0.2 / 10, rel=0.1)
    assert abs(torch.corrcoef(torch.stack([many[0].flatten(), other[0].flatten()]))[0, 1]) < 0.15


def test_integrated_gradients_of_a_square() -> None:
    """The path from b to x gives (x - b)(x + b) / 2; two Gauss-Legendre points are exact."""
    images, first = torch.rand(2, 3, 4, 4, dtype=torch.float64), torch.tensor([0, 1])
    found = maps(Square(), images, first, "integrated_gradients", steps=2, baseline=0.25)
    torch.testing.assert_close(found, (images.square() - 0.25**2).sum(1) / 2, rtol=1e-6, atol=1e-7)


def test_integrated_gradients_add_up_to_the_difference_of_logits() -> None:
    net = small_conv(torch.float64).eval()
    found = maps(net, IMAGES, TARGET, "integrated_gradients", steps=400)
    rise = (net(IMAGES) - net(torch.zeros_like(IMAGES))).gather(1, TARGET[:, None])[:, 0]
    torch.testing.assert_close(found.sum((1, 2)), rise.detach(), rtol=0.01, atol=1e-3)


def test_occlusion_of_a_linear_network_is_the_weight_under_the_square() -> None:
    weight = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = maps(Linear(weight), IMAGES, TARGET, "occlusion", window=2, stride=2, baseline=0.5)
    fall = functional.avg_pool2d((weight * (IMAGES - 0.5)).sum(1, keepdim=True), 2) * 4
    expected = functional.interpolate(fall, scale_factor=2)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_occlusion_s_own_square_is_an_eighth_of_the_image() -> None:
    net = small_conv(torch.float64)
    expected = maps(net, IMAGES, TARGET, "occlusion", window=1, stride=1)
    torch.testing.assert_close(maps(net, IMAGES, TARGET, "occlusion"), expected)


class Channels(nn.Module):
    """A 1 x 1 convolution whose maps a pixel-wise head sums with weights: gradients are the head's weights."""

    def __init__(self, mix: Tensor, head: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(mix.shape[1], mix.shape[0], 1, bias=False).double()
        self.conv.weight.data = mix[..., None, None]
        self.head = nn.Parameter(head)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nkij,ckij->nc", self.conv(images), self.head)


def test_grad_cam_by_hand() -> None:
    """Two maps, mean gradients 1/2 and -1: relu(A1 / 2 - A2)."""
    head = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]], [[-1.0, -1.0], [-1.0, -1.0]]]], dtype=torch.float64)
    net = Channels(torch.eye(2, dtype=torch.float64), head)
    image = torch.tensor([[[[0.8, 0.4], [1.0, 0.0]], [[0.1, 0.4], [0.0, 0.5]]]], dtype=torch.float64)
    found = maps(net, image, torch.tensor([0]), "grad_cam")
    torch.testing.assert_close(found, torch.tensor([[[0.3, 0.0], [0.5, 0.0]]], dtype=torch.float64))


def test_grad_cam_pp_by_hand() -> None:
    """A map that sums to 2.2 with g = 2 in one pixel: w = 2 * 4 / (8 + 2.2 * 8). One with g < 0: w = 0."""
    features = torch.tensor([[[[0.8, 0.4], [1.0, 0.0]], [[0.1, 0.4], [0.0, 0.5]]]], dtype=torch.float64)
    slopes = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]], [[-1.0, -1.0], [-1.0, -1.0]]]], dtype=torch.float64)
    weight = 2 * 4 / (8 + 2.2 * 8)
    torch.testing.assert_close(weighed_map(features, slopes), weight * features[:, 0])
    net = Channels(torch.eye(2, dtype=torch.float64), slopes)
    torch.testing.assert_close(maps(net, features, torch.tensor([0]), "grad_cam_pp"), weight * features[:, 0])


def test_grad_cam_pp_s_alpha_is_that_of_the_exponential_s_derivatives() -> None:
    """Equation 10 with Y = exp(S) and its second and third derivatives by autograd, at a network linear in A."""
    generator = torch.Generator().manual_seed(4)
    features = torch.rand(1, 3, 2, 2, generator=generator, dtype=torch.float64)
    head = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)
    weights = []
    for k in range(3):
        weight = torch.zeros((), dtype=torch.float64)
        for i in range(2):
            for j in range(2):
                point = features.clone()
                point[0, k, i, j] = 0
                rest = float((point[0] * head).sum())
                a = features[0, k, i, j].clone().requires_grad_()
                y = torch.exp(rest + head[k, i, j] * a)
                (first,) = torch.autograd.grad(y, a, create_graph=True)
                (second,) = torch.autograd.grad(first, a, create_graph=True)
                (third,) = torch.autograd.grad(second, a)
                alpha = second / (2 * second + features[0, k].sum() * third)
                weight = weight + (alpha * first.relu()).detach()
        weights.append(weight)
    scale = torch.exp((features[0] * head).sum())
    expected = torch.einsum("k,kij->ij", torch.stack(weights), features[0]).relu()[None] / scale
    torch.testing.assert_close(weighed_map(features, head[None]), expected)


def test_a_flat_score_has_an_empty_map() -> None:
    assert torch.equal(weighed_map(torch.rand(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)), torch.zeros(1, 3, 3))


# --- Captum on the network itself


def test_grad_cam_agrees_with_captum() -> None:
    net = small_conv(torch.float64).eval()
    layer = attr.LayerGradCam(net, net[4])
    coarse = layer.attribute(IMAGES, TARGET, relu_attributions=True)
    expected = attr.LayerAttribution.interpolate(coarse, (8, 8), "bilinear")[:, 0]
    torch.testing.assert_close(maps(net, IMAGES, TARGET, "grad_cam", layer="4"), expected)
    torch.testing.assert_close(
        maps(net, IMAGES, TARGET, "grad_cam"), expected
    )  # "4" follows the last convolution


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_grad_cam_agrees_with_captum() -> None:
    net = small_conv(torch.float64).eval()
    images = IMAGES.clone().requires_grad_()
    expected = attr.GuidedGradCam(net, net[3]).attribute(images, TARGET, interpolate_mode="bilinear").sum(1)
    torch.testing.assert_close(maps(net, IMAGES, TARGET, "guided_grad_cam", layer="3"), expected)


def test_guided_grad_cam_pp_is_the_product() -> None:
    net = small_conv(torch.float64)
    guided, coarse = (maps(net, IMAGES, TARGET, method) for method in ("guided_backprop", "grad_cam_pp"))
    torch.testing.assert_close(maps(net, IMAGES, TARGET, "guided_grad_cam_pp"), guided * coarse)


def test_smoothgrad_agrees_with_captum_s_noise_tunnel() -> None:
    net = small_conv(torch.float64).eval()
    tunnel = attr.NoiseTunnel(attr.Saliency(net))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = tunnel.attribute(
            IMAGES.clone().requires_grad_(), "smoothgrad", 500, 500, stdevs=0.3, target=TARGET, abs=False
        )
    ours = maps(net, IMAGES, TARGET, "smoothgrad", samples=500, sigma=0.3, batch_size=500)
    correlation = torch.corrcoef(torch.stack([ours.flatten(), theirs.sum(1).detach().flatten()]))[0, 1]
    assert correlation > 0.98


# --- layers


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "guided_grad_cam", "guided_grad_cam_pp"])
def test_what_works_in_place_after_the_layer_is_not_seen(method: str) -> None:
    class InPlace(nn.Module):
        def __init__(self, double: bool) -> None:
            super().__init__()
            self.body, self.head, self.double = (
                small_conv(torch.float64)[:4],
                nn.Linear(96, 5).double(),
                double,
            )
            self.relu = nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            features = self.relu(self.body(images))
            features = features.mul_(2) if self.double else features * 2
            return self.head(features.flatten(1))

    torch.manual_seed(0)
    nets = [InPlace(True), InPlace(False)]
    nets[1].load_state_dict(nets[0].state_dict())
    torch.testing.assert_close(*[maps(net, IMAGES, TARGET, method, layer="relu") for net in nets])


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        ("resnet18", "layer4"),
        ("vgg11", "features.19"),  # the ReLU before the last pooling
        ("googlenet", "inception5b"),  # all of its branches
        ("densenet121", "features"),
        ("squeezenet1_1", "classifier.0"),  # its dropout; the classifier itself is a convolution
    ],
)
def test_the_map_that_the_papers_look_at(make: str, layer: str) -> None:
    import torchvision

    few = {"init_weights": False} if make in ("googlenet", "vgg11") else {}
    network = getattr(torchvision.models, make)(**few).eval()
    found = default_layer(network, torch.zeros(1, 3, 64, 64))
    assert found.split(".")[: len(layer.split("."))] == layer.split(".")


# --- what cannot be done


def flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU()).double()


class Aside(nn.Module):
    """One convolution that never runs, and one that no logit depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.aside, self.unused = small_conv(), nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.aside(images)
        return self.main(images)


@pytest.mark.parametrize(
    ("net", "method", "settings", "complaint"),
    [
        (
            small_conv().double(),
            "smoothgrd",
            {},
            "unknown saliency method 'smoothgrd'; did you mean smoothgrad",
        ),
        (small_conv().double(), "xyz", {}, "unknown saliency method 'xyz'; choose one of gradient, guided"),
        (small_conv().double(), "gradient", {"steps": 3}, "saliency method gradient: unknown key `steps`"),
        (small_conv().double(), "smoothgrad", {"samples": 0}, "`samples`: .* greater than or equal to 1"),
        (small_conv().double(), "smoothgrad", {"sigma": float("nan")}, "`sigma`"),
        (
            small_conv().double(),
            "integrated_gradients",
            {"baseline": 2},
            "`baseline`: .* less than or equal to 1",
        ),
        (
            small_conv().double(),
            "occlusion",
            {"window": 9},
            "a window of 9 pixels does not fit images of 8 x 8",
        ),
        (small_conv().double(), "occlusion", {"window": 2, "stride": 3}, "a stride of 3 pixels leaves gaps"),
        (small_conv().double(), "grad_cam", {"layer": "30"}, "no layer '30'; nearest: 3"),
        (small_conv().double(), "grad_cam", {"layer": "7"}, "layer '7' gives no map"),
        (small_conv().double(), "grad_cam_pp", {"layer": "7"}, "layer '7' gives no map"),
        (flat(), "grad_cam", {}, "no convolution over a spatial map"),
        (flat(), "guided_grad_cam_pp", {}, "no convolution over a spatial map"),
        (Aside().double(), "grad_cam", {"layer": "aside"}, "the logits do not depend on layer 'aside'"),
        (Aside().double(), "grad_cam", {"layer": "unused"}, "layer 'unused' gives no map"),
        (
            nn.Conv2d(3, 5, 1).double(),
            "gradient",
            {},
            r"answers 1 images with \(1, 5, 8, 8\), not with logits",
        ),
    ],
)
def test_what_cannot_be_done_is_said(net: nn.Module, method: str, settings, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        maps(net, IMAGES, TARGET, method, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "target", "complaint"),
    [
        (IMAGES[0], TARGET, r"images are torch.float64 \(3, 8, 8\)"),
        (IMAGES.mul(255).byte(), TARGET, r"images are torch.uint8"),
        (IMAGES, TARGET[:3], r"targets are torch.int64 \(3,\); give 5 classes"),
        (IMAGES, TARGET.float(), "targets are torch.float32"),
        (IMAGES, TARGET + 1, r"target 5 lies outside the network's 5 classes \(0..4\)"),
        (IMAGES, TARGET - 1, "target -1 lies outside"),
        (IMAGES.float(), TARGET, "images are torch.float32 and the network computes in torch.float64"),
        (torch.full_like(IMAGES, torch.nan), TARGET, "NaN or infinite logits"),
    ],
)
def test_images_and_targets_are_checked(images: Tensor, target: Tensor, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        maps(small_conv(torch.float64), images, target, "gradient")


def test_a_pass_holds_at_least_one_image() -> None:
    with pytest.raises(UserError, match="batch_size is 0"):
        maps(small_conv(torch.float64), IMAGES, TARGET, "gradient", batch_size=0)


@every_method
def test_no_pass_is_larger_than_asked(method: str) -> None:
    class Sizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.seen = small_conv(torch.float64), set()

        def __deepcopy__(self, memo):
            twin = Sizes()
            twin.net, twin.seen = copy.deepcopy(self.net, memo), self.seen
            return twin

        def forward(self, images: Tensor) -> Tensor:
            self.seen.add(len(images))
            return self.net(images)

    net = Sizes()
    maps(net, IMAGES, TARGET, method, batch_size=3, **FEW.get(method, {}))
    assert max(net.seen) == 3


# --- transformers


class CellVotes(nn.Module):
    """A token a cell of 4 x 4 pixels, its mean; a block of identities; the logits are averages of all or of one token.

    With ``pooled`` logit k is the mean over cells of weight[k] times the cell; else the class token, which attention
    (here an equal share of every cell) has filled in the block, makes the same logits.
    """

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        self.pooled, self.num_prefix_tokens = pooled, 0 if pooled else 1
        self.blocks = nn.Sequential(Block(pooled), Block(pooled))
        self.head = nn.Linear(3, 5, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = nn.functional.avg_pool2d(images, 4).flatten(2).transpose(1, 2)
        if not self.pooled:
            tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1)
        tokens = self.blocks(tokens)
        return self.head(tokens.mean(1) if self.pooled else tokens[:, 0])  # type: ignore[no-any-return]


class Block(nn.Module):
    """Passes its cells on; the class token becomes the mean of the cells."""

    num_heads = 1

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.pooled, self.norm1, self.unused = pooled, nn.Identity(), nn.Linear(3, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        inside = self.norm1(tokens)
        if self.pooled:
            return inside  # type: ignore[no-any-return]
        return torch.cat([inside[:, 1:].mean(1, keepdim=True), inside[:, 1:]], dim=1)


@pytest.mark.parametrize(("pooled", "layer"), [(True, "blocks.1"), (False, "blocks.1.norm1")])
@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_a_transformers_grad_cam_is_a_map_over_its_cells(
    pooled: bool, layer: str, size: tuple[int, int]
) -> None:
    """By hand: logit k has the gradient weight[k] / n at each of n cells, so the map is relu(cell . weight[k]) / n."""
    torch.manual_seed(0)
    net, images = CellVotes(pooled=pooled).double().eval(), torch.rand(2, 3, *size, dtype=torch.float64)
    target = torch.tensor([1, 3])
    assert default_layer(net, images[:1]) == layer
    cells = nn.functional.avg_pool2d(images, 4)
    weights = net.head.weight[target][:, :, None, None] / cells[0, 0].numel()
    coarse = (weights * cells).sum(1, keepdim=True).relu().detach()
    expected = nn.functional.interpolate(coarse, size, mode="bilinear")[:, 0]
    torch.testing.assert_close(maps(net, images, target, "grad_cam"), expected)
    torch.testing.assert_close(maps(net, images, target, "grad_cam", layer=layer), expected)


def test_a_map_that_only_the_class_token_leaves_is_refused() -> None:
    with pytest.raises(UserError, match=r"depend on the class token alone after layer 'blocks\.1'"):
        maps(
            CellVotes(pooled=False).double().eval(), torch.rand(1, 3, 16, 16, dtype=torch.float64),
            torch.tensor([0]), "grad_cam", layer="blocks.1",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "layer", "side"),
    [
        ("vit_tiny_patch16_224", {"depth": 3}, "blocks.2.norm1", 224),
        ("deit_tiny_distilled_patch16_224", {"depth": 2}, "blocks.1.norm1", 224),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1)}, "layers.3.blocks.0", 224),
        ("mixer_s32_224", {}, "blocks.7", 224),
    ],
)
def test_timms_transformers_have_maps(name: str, arguments: dict[str, object], layer: str, side: int) -> None:
    import timm

    torch.manual_seed(0)
    net, images = timm.create_model(name, **arguments).eval(), torch.rand(4, 3, side, side)
    head = net.head
    nn.init.normal_(getattr(head, "fc", head).weight)  # some start at zero, and then no pixel has a gradient
    assert default_layer(net, images[:1]) == layer
    for method in ("grad_cam", "grad_cam_pp"):
        found = maps(net, images, torch.arange(4), method)
        assert found.shape == (4, side, side)
        assert found.amax() > 0
