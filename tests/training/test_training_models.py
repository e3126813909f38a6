"""Trained networks are zoo entries that every task accepts, and their architectures are what their names say."""

import json

import pytest
import torch
import yaml
from torch import nn
from training_recipes import recipe

from assay.common.errors import UserError
from assay.models.architectures import ARCHITECTURES, build, trains_on_one
from assay.models.piecewise import is_piecewise_linear
from assay.models.trained import StatedTraining, read_card
from assay.models.zoo import load_model
from assay.training.train import train
from tasks.srvr import three_shapes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    return train(recipe(data=WHOLE), tmp_path_factory.mktemp("trained") / "mine")


WHOLE = {"train": {"manifest": "digits", "first": 1000}, "test": {"manifest": "digits", "skip": 1600}}


def test_a_trained_network_is_a_zoo_entry(trained):
    model = load_model(trained.model)
    assert model.info.name == "trained:mine"
    assert model.info.weights_sha256 == trained.card.weights_sha256
    assert StatedTraining.read(model.info.source) == StatedTraining(
        trained.card.title, trained.card.data_sha256, trained.card.recipe_sha256
    )
    assert model.info.label_space == "digits"
    assert model.info.piecewise_linear


@pytest.mark.parametrize("seed", [None, "a" * 64])
def test_what_is_stated_of_a_training_is_read_back(seed):
    stated = StatedTraining("TRADES, 5,000 images (of two kinds)", "d" * 64, seed)
    assert StatedTraining.read(str(stated)) == stated
    assert StatedTraining.read(f"{stated}.") is None


@pytest.mark.parametrize(
    "odd", [{"data": 3}, {"data": {"train": []}}, {"data": {"train": {"manifest": 2.5}}}, {}]
)
def test_a_recipe_in_a_card_that_holds_something_else_names_no_data(trained, tmp_path, odd):
    card = trained.card.model_copy(update={"recipe": odd, "trained_on_sha256": "0" * 64})
    assert card.card("trained:mine", tmp_path).trained_on.data == "its recipe's data"


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


def test_adversarial_and_verification_tasks_accept_it(trained, assay, tmp_path):
    (tmp_path / "two.yaml").write_text(VERIFICATION)
    out = tmp_path / "run"
    tasks = ["--task", "adversarial/digits", "--task", tmp_path / "two.yaml", "--limit", "2"]
    assert assay("run", "--model", trained.model, *tasks, "--out", out, "--quiet", "--device", "cpu")[0] == 0
    assert len(results(out)) == 2
    for document in results(out):
        assert document["status"] == "complete"
        assert document["model"]["weights_sha256"] == trained.card.weights_sha256
        assert trained.card.recipe_sha256 in document["model"]["source"]


CONSISTENCY = """
schema: 1
family: consistency
title: fifty digits
data: digits
hierarchy: flat
adversarial: {{ensemble: ["{model}"], targets: 1, steps: 5, step_size: 1/10}}
"""


def results(out):
    return [json.loads(path.read_text()) for path in sorted((out / "results").rglob("*.json"))]


def test_the_consistency_task_accepts_it_and_attacks_with_it(trained, assay, tmp_path):
    (tmp_path / "fifty.yaml").write_text(CONSISTENCY.format(model=trained.model))
    words = ["--task", tmp_path / "fifty.yaml", "--limit", "2", "--out", tmp_path / "run", "--device", "cpu"]
    assert assay("run", "--model", trained.model, *words, "--quiet")[0] == 0
    (document,) = results(tmp_path / "run")
    assert document["status"] == "complete"
    names = {metric["name"] for metric in document["metrics"]}
    assert {"consis", "consis_adv", "attack_success:member:trained:mine"} <= names
    assert "layer net.2, 16 neurons" in json.dumps(document["guards"])  # its last convolution


def test_the_srvr_task_accepts_a_network_for_its_labels_and_says_why_not_others(trained, assay, tmp_path):
    images = {"manifest": "foolbox-imagenet20"}
    colour = {"resize": 32, "crop": [32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}
    seeing = train(
        recipe(data={"train": images, "test": images}, input=colour, epochs=1), tmp_path / "seeing"
    )
    (tmp_path / "three.yaml").write_text(yaml.safe_dump(three_shapes.MANIFEST))
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(three_shapes.SPEC))
    models = ["--model", seeing.model, "--model", trained.model]
    words = ["--task", tmp_path / "t.yaml", "--out", tmp_path / "run", "--device", "cpu", "--quiet"]
    assert assay("run", *models, *words)[0] == 0
    other, found = results(tmp_path / "run")
    assert (other["status"], found["status"]) == ("not_applicable", "complete")
    assert "the model takes 1 x 8 x 8" in other["reason"]
    assert found["model"]["weights_sha256"] == seeing.card.weights_sha256


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


@pytest.mark.parametrize(
    ("name", "side", "does"),
    [("digits-cnn", 8, True), ("mnist-cnn", 28, True), ("resnet10", 8, False), ("resnet18", 9, True)],
)
def test_a_batch_of_one_is_trained_on_where_batch_norm_sees_more_than_a_pixel(name, side, does):
    before = torch.get_rng_state()
    assert trains_on_one(name, (1, side, side), 10) == does
    assert torch.equal(torch.get_rng_state(), before)
    net = build(name, (1, side, side), 10).train()
    if does:
        net(torch.zeros(1, 1, side, side))
    else:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            net(torch.zeros(1, 1, side, side))


@pytest.mark.parametrize("name", sorted(name for name, each in ARCHITECTURES.items() if each.smallest > 1))
def test_an_input_that_is_too_small_is_refused(name):
    with pytest.raises(UserError, match=rf"architecture {name} "):
        build(name, (2, 1, 1), 10)


def test_the_verb_trains_says_how_to_use_it_and_stops_where_it_is_told(assay, tmp_path):
    out = tmp_path / "net"
    words = ["train", "smoke/regular", "--out", out, "--device", "cpu", "--threads", "1"]
    code, told, progress = assay(*words, "--epochs-limit", "1", "--seed", "7")
    assert code == 0
    assert "epoch 1/" in progress
    assert "images/s" in progress
    assert "to go" in progress
    assert "1 of " in told
    code, _, err = assay(*words)  # the recipe's own seed is another training
    assert code == 2
    assert "is a checkpoint of another recipe" in err
    code, told, progress = assay(*words, "--seed", "7", "--quiet")
    assert (code, progress) == (0, "")
    assert f"assay run --model trained:{out}" in told
    assert read_card(out).seed == 7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["train", "smoke/regular", "--out", "a", "--teacher", "trained:x"],
            "takes no saliency from a teacher",
        ),
        (["train", "no-such", "--out", "a"], "unknown recipe 'no-such'"),
        (["train", "bad.yaml", "--out", "a"], "nothing.yaml"),
        (["train", "smoke/regular", "--out", "bad.yaml"], "bad.yaml: cannot be written"),  # before any epoch
        (["validate", "bad.yaml"], "nothing.yaml"),
    ],
)
def test_the_verb_refuses_what_is_wrong_in_one_line(assay, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("extends: nothing.yaml")
    code, _, err = assay(*words)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a").exists()
