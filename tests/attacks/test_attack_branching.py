"""Branch and bound: sound, never below one relaxation of the whole ball, and near the truth where that is known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attack_bounds import conv_net, worst_seen
from test_attack_graph_bounds import residual, some_images
from torch import Tensor, nn

from assay.attacks.bounds import relaxed_margins
from assay.attacks.branching import branched_margins
from assay.attacks.relu_graph import relu_graph_of
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.zoo import load_model


def never_enough(images: Tensor) -> Tensor:
    return torch.full((len(images),), torch.inf, dtype=images.dtype)


@pytest.mark.parametrize(("make", "shape"), [(residual, (2, 5, 4)), (conv_net, (2, 9, 7))])
@given(
    seed=st.integers(0, 10**6), norm=st.sampled_from(["linf", "l2", "l1"]), eps=st.sampled_from([0.03, 0.2])
)
@settings(max_examples=5, deadline=None)
def test_margins_lie_between_one_relaxation_and_all_that_is_seen(
    make: Callable[[int], nn.Module], shape: tuple[int, ...], seed: int, norm: str, eps: float
) -> None:
    net, images = make(seed), some_images(seed, 3, shape)
    labels, graph = net(images).argmax(1), relu_graph_of(net, images)
    relaxed = relaxed_margins(graph, images, labels, eps, norm)
    few, many = (
        branched_margins(graph, images, labels, eps, norm, enough=never_enough(images), most=most)
        for most in (0, 20)
    )
    assert (many <= worst_seen(net, images, labels, eps, norm).detach() + 1e-9).all()
    assert (many >= few - 1e-9).all()
    # The lines that one relaxation takes are where the search for better ones begins; it notes the best.
    assert (few >= relaxed - 0.02 * relaxed.abs() - 1e-9).all()


def two_inputs(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    for layer in (net[1], net[3], net[5]):
        nn.init.normal_(layer.weight)
    return net.double().eval()


def test_parts_of_a_plane_prove_what_is_true_of_a_fine_grid() -> None:
    """Two inputs, of which a grid shows the least margin; where the search does not get there it has given up."""
    steps = torch.linspace(-1, 1, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(steps, steps).view(-1, 1, 1, 2) * 0.3
    short, gained = [], 0
    for seed in range(12):
        net, image = two_inputs(seed), torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
        label, graph = net(image).argmax(1), relu_graph_of(net, image)
        margins = net(image + grid) @ torch.tensor([1.0, -1.0], dtype=torch.float64) * (1 - 2 * label.item())
        true = margins.min().item()
        asked = (graph, image, label, 0.3)
        relaxed = relaxed_margins(*asked).item()
        found = branched_margins(*asked, enough=torch.tensor([true - 0.05]), most=400).item()
        assert found <= true + 1e-6
        short.append(found < true - 0.05)
        gained += relaxed < true - 0.05 <= found
    assert gained >= 4
    assert sum(short) <= 4


def test_digits_that_one_relaxation_leaves_open_are_proved(shared: Path) -> None:
    weights = shared / "data" / "nets" / "wk_mnist.safetensors"
    if not weights.is_file():
        pytest.skip("the published network is not here")
    model = load_model("wk_mnist", weights=weights)
    data = open_dataset(load_manifest("mnist-test"), [shared / "data"])
    samples = [data.samples[row] for row in (3769, 5676, 9010)]
    images = torch.stack([model.prepare(data.image(sample)) for sample in samples])
    labels = torch.tensor([int(sample.label or 0) for sample in samples])
    graph = relu_graph_of(model.module, images)
    assert (relaxed_margins(graph, images, labels, 0.1) < 0).all()
    enough = torch.full((3,), 0.001)
    assert (branched_margins(graph, images, labels, 0.1, enough=enough, most=200) > enough).all()
    # At twice the radius some fall, and nothing is claimed of them.
    seen = worst_seen(model.module, images, labels, 0.2, "linf").detach()
    assert (branched_margins(graph, images, labels, 0.2, enough=enough, most=50) <= seen + 1e-4).all()
