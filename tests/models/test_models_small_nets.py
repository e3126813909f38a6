"""The small networks of the verification tasks: their neurons, and the recipes that give their weights."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import small_training as nets
from assay.common.errors import UserError
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
@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason=f"no MNIST at {SHARED / 'mnist'}")
def test_the_published_mnist_network_comes_from_its_recipe(tmp_path):
    """The leaderboard's row of mnist_fnn_200 names the hash of these weights."""
    trained = train(load_recipe("munakata/mnist/fnn_200"), tmp_path, Options(data_roots=(SHARED,)))
    rows = Path(__file__).parents[2] / "leaderboard" / "submissions" / "mnist_fnn_200"
    assert trained.card.weights_sha256 in (rows / "results" / "verification" / "mnist.json").read_text()


def test_a_network_that_is_not_there_is_told_with_its_recipe(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    with pytest.raises(
        UserError, match=r"assay train munakata/mnist/fnn_800 --out nets/mnist_fnn_800"
    ) as caught:
        load_model("mnist_fnn_800")
    assert "\n" not in str(caught.value)
