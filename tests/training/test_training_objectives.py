"""Each method's loss on a network small enough to work by hand: one pixel, logits (w x, 0)."""

import json
import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from training_recipes import METHODS

from assay.common.errors import UserError
from assay.training.methods import Method
from assay.training.objectives import Batch, noise_share, objective_of

SALIENCY = {"saliency": {"source": "foreground", "above": 0.5}, "alpha": 0.5}
W = 2.0


class OnePixel(nn.Module):
    """Logits (w x, 0) by a convolution, dropout in between to see in which mode it was asked."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 2, padding=1, bias=False)
        weight = torch.zeros(2, 1, 2, 2)
        weight[0, 0, 0, 0] = W
        self.convolution.weight.data = weight
        self.modes = []

    def forward(self, pixels):
        self.modes.append(self.training)
        return self.convolution(pixels).amax(dim=(2, 3)) + 0 * pixels.sum()


def loss_of(name, x=0.4, label=0, salient=1, epochs=1000, **changes):
    method = TypeAdapter(Method).validate_json(
        json.dumps({**METHODS[name], **(SALIENCY if name.endswith("sat") else {}), **changes}, default=str)
    )
    net = OnePixel().train()
    batch = Batch(
        images=torch.tensor([[[[x]]]]),
        labels=torch.tensor([label]),
        chance=torch.Generator().manual_seed(5),
        salient=torch.tensor([[[salient]]], dtype=torch.int8),
        epochs=epochs,
        steps=0,
    )
    losses = objective_of(method)(net, batch)
    return {key: float(value.detach()) for key, value in losses.items()}, net


def ce(x, label=0):
    """Cross-entropy of logits (W x, 0)."""
    return math.log(1 + math.exp(-W * x)) if label == 0 else math.log(1 + math.exp(W * x))


def kl(x, other):
    p, q = (1 / (1 + math.exp(-W * value)) for value in (x, other))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_regular():
    assert loss_of("regular")[0] == {"loss": pytest.approx(ce(0.4))}


def test_sat_descends_at_the_pixel_less_its_saliency_once_chance_has_died_away():
    assert loss_of("sat", salient=1)[0]["loss"] == pytest.approx(ce(0.3))
    assert loss_of("sat", salient=-1)[0]["loss"] == pytest.approx(ce(0.5))


def test_pgd_climbs_to_the_edge_of_the_ball():
    assert loss_of("pgd")[0]["loss"] == pytest.approx(ce(0.3))
    assert loss_of("pgd", label=1)[0]["loss"] == pytest.approx(ce(0.5, label=1))


def test_pgd_sat_starts_at_the_saliency_and_climbs_back():
    """From 0.4 + 0.1, two steps of 0.05 down; four reach the lower edge."""
    assert loss_of("pgd_sat", salient=-1)[0]["loss"] == pytest.approx(ce(0.4))
    assert loss_of("pgd_sat", salient=-1, steps=4)[0]["loss"] == pytest.approx(ce(0.3))


def test_trades_adds_the_divergence_at_the_edge():
    found = loss_of("trades_sat", salient=1, steps=1)[0]
    assert found["cross_entropy"] == pytest.approx(ce(0.4))
    assert found["divergence"] == pytest.approx(kl(0.4, 0.3), rel=1e-4)
    assert found["loss"] == pytest.approx(ce(0.4) + 6 * kl(0.4, 0.3), rel=1e-4)


@pytest.mark.parametrize(
    "name", ["noise", "pgd", "pgd_noise", "fgsm_adversarial", "fgsm_consistent", "trades"]
)
def test_without_a_radius_every_method_is_regular_training(name):
    found = loss_of(name, eps="0")[0]
    assert found["loss"] == pytest.approx(ce(0.4), abs=1e-6)


def test_fgsm_weighs_clean_and_adversarial_images():
    found = loss_of("fgsm_adversarial", clean_weight=0.25)[0]
    assert found["loss"] == pytest.approx(0.25 * ce(0.4) + 0.75 * ce(0.3))


def test_the_consistent_loss_adds_the_distance_of_the_last_convolution():
    """The convolution's output differs by W * 0.1 at one of its four places."""
    found = loss_of("fgsm_consistent", consistency_weight=0.5)[0]
    assert found["distance"] == pytest.approx(W * 0.1, rel=1e-5)
    assert found["loss"] == pytest.approx(0.5 * ce(0.4) + 0.5 * ce(0.3) + 0.5 * W * 0.1, rel=1e-5)


def test_saliency_guided_without_a_mask_is_regular_and_with_one_adds_the_divergence():
    assert loss_of("saliency_guided", share=0.0)[0]["loss"] == pytest.approx(ce(0.4))
    found = loss_of("saliency_guided", share=1.0, weight=2.0)[
        0
    ]  # one value only: its own range holds no other
    assert found["divergence"] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_only_the_passes_that_are_descended_see_the_network_in_training_mode(name):
    net = loss_of(name)[1]
    trained = {"saliency_guided": 2, "fgsm_adversarial": 2, "fgsm_consistent": 2}
    assert sum(net.modes) == trained.get(name, 2 if name.startswith("trades") else 1)
    assert net.training


@pytest.mark.parametrize("name", sorted(METHODS))
def test_inner_looks_leave_no_gradient_in_the_parameters(name):
    assert all(parameter.grad is None for parameter in loss_of(name)[1].parameters())


def test_the_share_of_noise_falls_with_epochs_or_with_steps():
    batch = Batch(torch.zeros(1), torch.zeros(1), torch.Generator(), None, epochs=2, steps=5)
    adapter = TypeAdapter(Method)
    by_epoch = {"name": "sat", "eps": "0", **SALIENCY}
    assert noise_share(adapter.validate_python(by_epoch), batch) == 0.25
    assert noise_share(adapter.validate_python(by_epoch | {"t_counts": "steps"}), batch) == 0.5**5


def test_a_network_without_convolutions_has_no_features_to_compare():
    method = TypeAdapter(Method).validate_python({"name": "fgsm_consistent", "eps": "0"})
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    batch = Batch(torch.zeros(1, 1, 1, 1), torch.tensor([0]), torch.Generator(), None, 0, 0)
    with pytest.raises(UserError, match="no convolution"):
        objective_of(method)(net, batch)
