"""Etmann's alignment against linear networks, where it is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import Linear, small_conv
from torch import nn

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.zoo import load_model
from assay.saliency.alignment import alignment, alignment_of_many, summarise

IMAGES = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def linear(classes: int = 5, seed: int = 0) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    return Linear(torch.randn(classes, 3, 4, 4, generator=generator, dtype=torch.float64))


def test_by_hand() -> None:
    """x = (0.6, 0.2), class 0 wins with weights (3, 4): (1.8 + 0.8) / 5."""
    net = Linear(torch.tensor([[[[3.0, 4.0]]], [[[1.0, 0.0]]]]))
    image = torch.tensor([[[[0.6, 0.2]]]])
    torch.testing.assert_close(alignment(net, image), torch.tensor([2.6 / 5]))
    torch.testing.assert_close(alignment(net, image, "margin"), torch.tensor([2.0 / math.sqrt(20)]))


def test_a_linear_network_s_margin_alignment_is_its_distance_to_the_boundary() -> None:
    """At two classes: the smallest step that ties the logits has that length, and does tie them."""
    net = linear(2)
    found = alignment(net, IMAGES, "margin")
    normal = (net.weight[0] - net.weight[1]).detach()
    normal = normal / normal.norm()
    side = (net(IMAGES)[:, 0] - net(IMAGES)[:, 1]).sign().detach()
    boundary = net(IMAGES - (side * found)[:, None, None, None] * normal)
    torch.testing.assert_close(boundary[:, 0], boundary[:, 1])


@given(st.floats(0.01, 100), st.integers(0, 100))
def test_it_scales_with_the_image_and_not_with_the_logits(scale: float, seed: int) -> None:
    net = linear(seed=seed)
    before = alignment(net, IMAGES)
    assert (before >= 0).all()
    assert (before <= IMAGES.flatten(1).norm(dim=1)).all()  # Cauchy and Schwarz
    torch.testing.assert_close(alignment(net, IMAGES * scale), before * scale)
    torch.testing.assert_close(alignment(Linear(net.weight.detach() * scale), IMAGES), before)


def test_an_image_s_own_network_aligns_wholly() -> None:
    net = Linear(torch.cat([IMAGES[:1], -IMAGES[:1]]))
    torch.testing.assert_close(alignment(net, IMAGES[:1]), IMAGES[:1].flatten(1).norm(dim=1))


def test_the_batch_s_size_does_not_matter_and_the_network_stays_as_it_is() -> None:
    net = small_conv(torch.float64, inplace=True).train()
    images = torch.rand(5, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        found = alignment(net, images, batch_size=2)
    torch.testing.assert_close(found, alignment(net, images))
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_zero_gradient_has_no_alignment() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 3).double())
    nn.init.zeros_(flat[1].weight)
    assert alignment(flat, IMAGES).isnan().all()
    found = summarise([1.0, math.nan, 3.0, 8.0])
    assert (found.mean, found.median, found.n, found.undefined) == (4.0, 3.0, 3, 1)
    assert 1 <= found.low < found.mean < found.high <= 8
    nothing = summarise([math.nan])
    assert (nothing.n, nothing.undefined, math.isnan(nothing.mean)) == (0, 1, True)


def test_no_image() -> None:
    assert alignment(linear(), IMAGES[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("net", "score", "complaint"),
    [
        (linear(), "loss", "unknown score 'loss'; choose one of logit, margin"),
        (linear(1), "margin", "a margin needs two classes"),
        (nn.Identity(), "logit", "not with logits"),
    ],
)
def test_what_cannot_be_done_is_said(net: nn.Module, score, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        alignment(net, IMAGES, score)


def test_of_many_images_some_at_a_time() -> None:
    model, data = load_model("digits_fnn"), open_dataset(load_manifest("digits"))
    images = torch.stack([model.prepare(data.image(sample)) for sample in data.samples[:40]])
    found = alignment_of_many(model.module, iter(images), batch_size=16)
    assert found == pytest.approx(alignment(model.module, images).tolist())
