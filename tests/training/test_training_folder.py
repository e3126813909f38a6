"""The folder of a training: nothing of others is written over, and what is finished is what it says."""

import shutil

import pytest
import torch
import yaml
from training_recipes import DOCUMENT, METHODS, recipe

from assay.common.errors import UserError
from assay.common.validation import validate
from assay.models.trained import check_weights, read_card
from assay.models.zoo import load_model
from assay.training.recipe import Recipe
from assay.training.train import Options, train, train_part


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    return train(recipe(), tmp_path_factory.mktemp("whole"))


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of a finished training."""
    shutil.copytree(whole.folder, tmp_path / "net")
    return tmp_path / "net"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["model.safetensors", "log.csv", "thesis.tex"])
def test_a_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_text("mine too")
    before = content(tmp_path)
    with pytest.raises(UserError, match=rf"holds {name}, but no network .* choose another folder with --out"):
        train(recipe(), tmp_path)
    with pytest.raises(UserError, match=f"holds {name}"):
        train_part(recipe(), tmp_path, 1)
    assert content(tmp_path) == before


def test_checkpoints_of_another_tool_outlast_a_training(whole, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_text("mine")
    (tmp_path / ".gitignore").write_text("*")
    said = []
    trained = train(recipe(), tmp_path, Options(say=said.append))
    assert trained.card.weights_sha256 == whole.card.weights_sha256
    assert said == []
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["best.ckpt"]


def test_a_training_that_died_between_its_weights_and_its_card_goes_on(whole, tmp_path):
    train_part(recipe(), tmp_path, 3)
    shutil.copy(whole.folder / "model.safetensors", tmp_path)
    assert train(recipe(), tmp_path).card.weights_sha256 == whole.card.weights_sha256


def truncated(path):
    path.write_bytes(path.read_bytes()[:1000])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.unlink(), "the weights of this trained network are missing"),
        (truncated, "but damaged or of another training"),
        (flipped, "but damaged or of another training"),
    ],
    ids=["missing", "truncated", "flipped"],
)
def test_a_finished_folder_with_harmed_weights_is_not_called_trained(finished, harm, says):
    path = finished / "model.safetensors"
    harm(path)
    mends = f"put the file back, or delete the folder {finished} and train again"
    said = []
    for use in (
        lambda: train(recipe(), finished, Options(say=said.append)),
        lambda: train_part(recipe(), finished, 1, Options(say=said.append)),
        lambda: load_model(f"trained:{finished}"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            use()
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).endswith(mends)
    assert said == []


def test_weights_as_they_were_written_pass(finished):
    assert check_weights(finished, read_card(finished)) == finished / "model.safetensors"


@pytest.mark.parametrize("name", ["regular", "pgd_sat"])
def test_a_card_holds_the_recipe_that_made_the_network(tmp_path, name):
    mine = recipe(method=METHODS[name], epochs=1)
    folder = train(mine, tmp_path).folder
    found = read_card(folder).recipe
    assert validate(Recipe, found, "model.yaml") == mine
    assert found["data"]["train"] == {"manifest": "digits", "skip": 0, "per_class": None, "first": 200}


def test_a_card_of_before_recipes_were_noted_is_read(finished):
    path = finished / "model.yaml"
    document = yaml.safe_load(path.read_text())
    del document["recipe"]
    path.write_text(yaml.safe_dump(document))
    assert read_card(finished).recipe is None
    assert load_model(f"trained:{finished}").info.weights_sha256 == document["weights_sha256"]
    assert train(recipe(), finished).card.weights_sha256 == document["weights_sha256"]


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ({"skip": 150, "first": 100}, ["50 of the 100 test images are training images"]),
        ({"first": 3}, ["3 of the 3 test images are training images"]),
        ({"skip": 200}, []),
    ],
)
def test_test_images_that_are_trained_on_are_told(tmp_path, test, says):
    said = []
    data = DOCUMENT["data"] | {"test": {"manifest": "digits", **test}}
    train_part(recipe(data=data), tmp_path, 1, Options(say=said.append))
    ending = ": the accuracy is not one of unseen images"
    assert said == [f"a small recipe: {sentence}{ending}" for sentence in says]
