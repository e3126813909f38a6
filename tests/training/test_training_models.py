"""Trained networks are zoo entries that every task accepts, and their architectures are what their names say."""

import json

import pytest
import torch
from torch import nn
from training_recipes import recipe

from assay import cli
from assay.errors import UserError
from assay.models.architectures import ARCHITECTURES, build
from assay.models.piecewise import is_piecewise_linear
from assay.models.trained import read_card
from assay.models.zoo import load_model
from assay.training import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    return train(recipe(data=WHOLE), tmp_path_factory.mktemp("trained") / "mine")


WHOLE = {"train": {"manifest": "digits", "first": 1000}, "test": {"manifest": "digits", "skip": 1600}}


def assay(*words):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return ended.value.code


def test_a_trained_network_is_a_zoo_entry(trained):
    model = load_model(trained.model)
    assert model.info.name == "trained:mine"
    assert model.info.weights_sha256 == trained.card.weights_sha256
    assert trained.card.recipe_sha256 in model.info.source
    assert model.info.label_space == "digits"
    assert model.info.piecewise_linear


def test_what_it_answers_is_what_was_measured_while_training(trained):
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    model, digits = load_model(trained.model), open_dataset(load_manifest("digits"))
    held_out = digits.samples[1600:]
    images = torch.stack([model.prepare(digits.image(sample)) for sample in held_out])
    labels = torch.tensor([sample.label for sample in held_out])
    right = (model.module(images).argmax(1) == labels).double().mean()
    assert right.item() == pytest.approx(trained.card.accuracy, abs=1e-6)
    assert trained.card.accuracy > 0.6


VERIFICATION = """
schema: 1
family: verification
title: two digits
data: digits
images: 2
combinations: [["brightness:0:0.1"]]
deltas: [3]
labels: predicted
timeout_s: 60
"""


def test_adversarial_and_verification_tasks_accept_it(trained, tmp_path):
    (tmp_path / "two.yaml").write_text(VERIFICATION)
    out = tmp_path / "run"
    tasks = ["--task", "adversarial/digits", "--task", tmp_path / "two.yaml", "--limit", "2"]
    assert assay("run", "--model", trained.model, *tasks, "--out", out, "--quiet", "--device", "cpu") == 0
    found = [json.loads(path.read_text()) for path in sorted((out / "results").rglob("*.json"))]
    assert len(found) == 2
    for document in found:
        assert document["status"] == "complete"
        assert document["model"]["weights_sha256"] == trained.card.weights_sha256
        assert trained.card.recipe_sha256 in document["model"]["source"]


def test_weights_of_another_training_are_refused(trained, tmp_path):
    other = train(recipe(seed=3, epochs=1), tmp_path / "other")
    (other.folder / "model.safetensors").write_bytes((trained.folder / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"is not the file that model\.yaml beside it describes"):
        load_model(other.model)


def test_a_folder_without_a_network_and_weights_of_one_s_own_are_refused(trained, tmp_path):
    with pytest.raises(UserError, match="holds no trained network"):
        load_model(f"trained:{tmp_path}")
    with pytest.raises(UserError, match="has its own weights"):
        load_model(trained.model, weights=trained.folder / "model.safetensors")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("digits-cnn", "os.system", "unknown architecture 'os.system'"),
        ("digits-cnn", "mnist-cnn", "of another architecture"),
        ("num_classes: 10", "num_classes: ten", "num_classes"),
        ("seed: 0", "sead: 0", "unknown key `sead`"),
    ],
)
def test_a_card_that_was_tampered_with_is_refused(trained, tmp_path, before, after, says):
    for path in trained.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    card = tmp_path / "model.yaml"
    card.write_text(card.read_text().replace(before, after))
    with pytest.raises(UserError, match=says):
        load_model(f"trained:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("digits-cnn", (1, 8, 8)),
        ("small-cnn", (1, 28, 28)),
        ("small-cnn", (3, 32, 32)),
        ("mnist-cnn", (1, 28, 28)),
        ("resnet10", (3, 32, 32)),
        ("resnet18", (3, 64, 64)),
    ],
)
def test_an_architecture_takes_its_images_and_is_piecewise_linear(name, shape):
    net = build(name, shape, 7).eval()
    with torch.no_grad():
        assert net(torch.rand(2, *shape)).shape == (2, 7)
    assert is_piecewise_linear(net)
    assert not any(module.inplace for module in net.modules() if isinstance(module, nn.ReLU))


def test_karkehabadi_s_network_has_the_layers_that_the_paper_names():
    layers = [
        module for module in build("mnist-cnn", (1, 28, 28), 10).modules() if not list(module.children())
    ]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(layer.kernel_size, layer.stride) for layer in convolutions] == [((3, 3), (1, 1))] * 2
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.25, 0.5]
    assert sum(isinstance(layer, nn.Linear) for layer in layers) == 2


def test_resnets_have_their_number_of_layers():
    def depth(name):
        kinds = (nn.Conv2d, nn.Linear)
        shortcuts = 3  # convolutions of size 1 beside the stages
        return sum(isinstance(module, kinds) for module in build(name, (3, 32, 32), 10).modules()) - shortcuts

    assert depth("resnet10") == 10
    assert depth("resnet18") == 18


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_an_input_that_is_too_small_is_refused(name):
    with pytest.raises(UserError, match=rf"architecture {name} "):
        build(name, (2, 1, 1), 10)


def test_the_verb_trains_says_how_to_use_it_and_stops_where_it_is_told(tmp_path, capsys):
    out = tmp_path / "net"
    words = ["train", "smoke/regular", "--out", out, "--device", "cpu", "--threads", "1"]
    assert assay(*words, "--epochs-limit", "1", "--seed", "7") == 0
    said = capsys.readouterr()
    assert "epoch 1/" in said.err
    assert "images/s" in said.err
    assert "to go" in said.err
    assert "1 of " in said.out
    assert assay(*words) == 2  # the recipe's own seed is another training
    assert "is a checkpoint of another recipe" in capsys.readouterr().err
    assert assay(*words, "--seed", "7", "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"assay run --model trained:{out}" in said.out
    assert read_card(out).seed == 7


def test_the_verb_refuses_what_is_wrong_in_one_line(tmp_path, capsys):
    assert assay("train", "smoke/regular", "--out", tmp_path / "a", "--teacher", "trained:x") == 2
    assert assay("train", "no-such", "--out", tmp_path / "a") == 2
    (tmp_path / "bad.yaml").write_text("extends: nothing.yaml")
    assert assay("train", tmp_path / "bad.yaml", "--out", tmp_path / "a") == 2
    assert assay("validate", tmp_path / "bad.yaml") == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 4
