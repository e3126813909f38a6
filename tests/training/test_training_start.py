"""Trainings that begin with a known network's weights."""

from pathlib import Path

import pytest
import torch
from training_recipes import recipe

from assay.common.errors import UserError
from assay.models.architectures import build
from assay.models.info import Preprocessing
from assay.models.loaded import LoadedModel, normalised
from assay.models.zoo import load_model
from assay.training.start import begin_with
from assay.training.train import Options, train

STANDSTILL = {"optimiser": {"name": "sgd", "lr": 1e-30}, "epochs": 1}


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A trained network."""
    return train(recipe(), tmp_path_factory.mktemp("known") / "net").model


def weights(name):
    return load_model(name).module.state_dict()


def test_the_first_step_starts_at_the_known_weights(known, tmp_path):
    found = train(recipe(start_from=known, **STANDSTILL), tmp_path / "o")
    fresh = train(recipe(**STANDSTILL), tmp_path / "p")
    before = weights(known)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(found.model).items())
    assert not any(torch.equal(tensor, before[name]) for name, tensor in weights(fresh.model).items())
    assert found.card.accuracy > fresh.card.accuracy


def test_a_relative_path_starts_where_the_recipe_lies(known, tmp_path, monkeypatch):
    folder = Path(known.removeprefix("trained:"))
    monkeypatch.chdir(tmp_path)
    begun = recipe(start_from=f"trained:{folder.name}", **STANDSTILL)
    with pytest.raises(UserError, match="holds no trained network"):
        train(begun, tmp_path / "o")
    found = train(begun, tmp_path / "o", Options(relative_to=folder.parent))
    before = weights(known)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(found.model).items())


def test_a_last_layer_of_other_classes_stays_fresh(known):
    net = build("digits-cnn", (1, 8, 8), 7)
    head = [tensor.clone() for tensor in net[-1].parameters()]
    start = load_model(known)
    begin_with(net, start)
    assert all(map(torch.equal, net[-1].parameters(), head))
    inner = start.module.net.state_dict()
    rest = net[:-1].state_dict()
    assert rest
    assert all(torch.equal(tensor, inner[name]) for name, tensor in rest.items())


def test_a_network_without_a_normalisation_can_be_started_from_too(known):
    plain = Preprocessing(crop=(8, 8), mean=(0.0,), std=(1.0,))
    info = load_model(known).info
    source = build("digits-cnn", (1, 8, 8), 10)
    start = LoadedModel(info, normalised(source, plain))
    net = build("digits-cnn", (1, 8, 8), 10)
    begin_with(net, start)
    assert all(map(torch.equal, net.parameters(), source.parameters()))


def test_weights_of_another_architecture_are_refused_and_nothing_is_left(known, tmp_path):
    with pytest.raises(UserError, match="another architecture"):
        train(recipe(start_from=known, architecture="small-cnn"), tmp_path / "o")
    assert not (tmp_path / "o").exists()
    with pytest.raises(UserError, match="unknown model 'no-such'"):
        train(recipe(start_from="no-such"), tmp_path / "o")


def test_the_weights_are_in_the_trainings_key_and_their_name_is_not(known, tmp_path):
    out = tmp_path / "o"
    begun = train(recipe(start_from=known, **STANDSTILL), out)
    assert recipe(start_from=known).sha256 == recipe().sha256
    again = train(recipe(start_from=begun.model, **STANDSTILL), tmp_path / "p")  # the same weights elsewhere
    assert again.card.training_key == begun.card.training_key
    with pytest.raises(UserError, match="another recipe"):
        train(recipe(**STANDSTILL), out)
    assert begun.card.recipe["start_from"] == known
