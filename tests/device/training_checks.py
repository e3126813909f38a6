"""A recipe of every method trains on a device the network that it trains on the CPU."""

import pytest
from safetensors.torch import load_file

from assay.training.train import Options, train
from pretend_device import DEVICE
from training.training_recipes import METHODS, recipe

pytestmark = pytest.mark.usefixtures("device")
SMALL = {"train": {"manifest": "digits", "first": 48}, "test": {"manifest": "digits", "skip": 1780}}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_the_same_network(method, tmp_path):
    asked = recipe(method=METHODS[method], data=SMALL, epochs=2, batch_size=24)
    weights = []
    for name in ("cpu", DEVICE):
        made = train(asked, tmp_path / name.replace(":", "-"), Options(device=name))
        weights.append(load_file(made.folder / "model.safetensors"))
    here, there = weights
    assert all((there[name] == values).all() for name, values in here.items())
