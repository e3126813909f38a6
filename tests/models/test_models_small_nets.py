"""The small networks of the verification tasks: their neurons, and the recipes that give their weights."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import small_training as nets
from assay.common.errors import UserError
from assay.data.dataset import is_available
from assay.data.manifest import load_manifest
from assay.models.trained import TRAINED_ON_FILE, WEIGHTS_FILE
from assay.models.zoo import load_model
from assay.tasks.verification.network import read_network
from assay.training.recipe_files import load_recipe
from assay.training.train import Options, train, train_part

SHARED = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
LIST = nets.DIGITS_WEIGHTS.with_suffix(f".{TRAINED_ON_FILE}")


@pytest.mark.parametrize("name", nets.SMALL_NETS)
def test_networks_have_the_neurons_of_their_names(name):
    assert read_network(nets.small_net(name), (1, 28, 28)).neurons == int(name.split("_")[-1])


def test_shipped_digits_network_has_its_stated_accuracy():
    images, labels = nets.digits_split()[1]
    assert len(labels) == 450
    assert nets.accuracy(nets.load_digits_fnn(), images, labels) == pytest.approx(410 / 450)


def test_the_recipe_gives_what_a_plain_loop_gives_to_the_byte(tmp_path):
    """Weights, order, pixels and rounding, in another seed and across a checkpoint."""
    recipe = load_recipe("munakata/digits").model_copy(update={"epochs": 3, "seed": 5})
    train_part(recipe, tmp_path, 1)
    folder = train(recipe, tmp_path).folder
    plain = nets.train(nets.small_net("digits_fnn"), *nets.digits_split()[0], epochs=3, seed=5)
    assert (folder / WEIGHTS_FILE).read_bytes() == save(plain.state_dict())
    assert (folder / TRAINED_ON_FILE).read_bytes() == LIST.read_bytes()


def test_training_in_float64_leaves_the_number_of_threads_alone_and_does_not_depend_on_it(tmp_path):
    recipe = load_recipe("munakata/digits").model_copy(update={"epochs": 2})
    before = torch.get_num_threads()
    weights = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            trained = train(recipe, tmp_path / str(threads))
            weights.append((trained.folder / WEIGHTS_FILE).read_bytes())
            assert torch.get_num_threads() == threads
            assert trained.card.made_with["threads"] == 1
    finally:
        torch.set_num_threads(before)
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_shipped_weights_come_from_their_recipe(tmp_path):
    """The same bytes on the machine that made them; elsewhere the same but for the last bit of a rare weight."""
    trained = train(load_recipe("munakata/digits"), tmp_path)
    again, shipped = load_model(trained.model), load_model("digits_fnn")
    for name, weight in shipped.module.state_dict().items():
        torch.testing.assert_close(again.module.state_dict()[name], weight, rtol=1e-6, atol=1e-8)
    assert (trained.folder / TRAINED_ON_FILE).read_bytes() == LIST.read_bytes()
    ours, theirs = again.info, shipped.info
    assert (ours.label_space, ours.preprocessing) == (theirs.label_space, theirs.preprocessing)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"),
    [("mnist_fnn_200", "munakata/mnist/fnn_200"), ("fashion_fnn_200", "munakata/fashion_mnist")],
)
def test_the_shipped_networks_of_mnist_come_from_their_recipes(tmp_path, name, recipe):
    roots = (SHARED, Path("/usr/share/datasets/fashion-mnist"))  # where Debian's dataset-fashion-mnist lies
    loaded = load_recipe(recipe)
    if (reason := is_available(load_manifest(loaded.data.train.manifest), roots)) is not None:
        pytest.skip(reason)
    trained = train(loaded, tmp_path, Options(data_roots=roots))
    again, shipped = load_model(trained.model), load_model(name)
    for key, weight in shipped.module.state_dict().items():
        torch.testing.assert_close(again.module.state_dict()[key], weight, rtol=1e-5, atol=1e-7)
    listed = nets.DIGITS_WEIGHTS.with_name(f"{name}.{TRAINED_ON_FILE}")
    assert (trained.folder / TRAINED_ON_FILE).read_bytes() == listed.read_bytes()


def test_the_published_mnist_network_is_the_shipped_one():
    rows = Path(__file__).parents[2] / "leaderboard" / "submissions" / "mnist_fnn_200"
    shipped = load_model("mnist_fnn_200").info.weights_sha256
    assert shipped in (rows / "results" / "verification" / "mnist.json").read_text()


def test_a_network_that_is_not_there_is_told_with_its_recipe(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    with pytest.raises(
        UserError, match=r"assay train munakata/mnist/fnn_800 --out nets/mnist_fnn_800"
    ) as caught:
        load_model("mnist_fnn_800")
    assert "\n" not in str(caught.value)
