"""Recipes in float64, and with one generator: the published small networks rest on both."""

import pytest
import torch
from safetensors.torch import load_file
from training_recipes import DOCUMENT, METHODS, recipe

from assay.models.trained import WEIGHTS_FILE
from assay.training.draws import Order
from assay.training.pictures import open_pictures
from assay.training.recipe_files import load_recipe
from assay.training.train import Options, train, train_part
from small_training import digits_split

FEW = {"train": {"manifest": "digits", "first": 40}, "test": {"manifest": "digits", "skip": 1700}}
FLOAT64 = {"precision": "float64", "epochs": 1, "data": FEW, "batch_size": 20}


def test_a_recipe_that_says_what_was_always_done_keeps_its_key_and_its_document():
    said = recipe(
        precision="float32", generators="one_per_epoch", input={**DOCUMENT["input"], "levels": None}
    )
    assert said.sha256 == recipe().sha256
    assert said.model_dump(mode="json") == recipe().model_dump(mode="json")
    assert recipe().sha256 == "974907ed2144374456eeb544a91d143f6090a2d88b78a2582993c0436d40261c"


@pytest.mark.parametrize(
    "change",
    [{"precision": "float64"}, {"generators": "one"}, {"input": {**DOCUMENT["input"], "levels": 16}}],
)
def test_another_precision_order_or_scale_is_another_training(change):
    assert recipe(**change).sha256 != recipe().sha256


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_trains_in_float64_and_its_weights_are_stored_in_float32(name, tmp_path):
    one = train(recipe(method=METHODS[name], **FLOAT64), tmp_path / "one")
    again = train(recipe(method=METHODS[name], **FLOAT64), tmp_path / "again")
    stored = load_file(one.folder / WEIGHTS_FILE)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert (one.folder / WEIGHTS_FILE).read_bytes() == (again.folder / WEIGHTS_FILE).read_bytes()


def test_float64_and_float32_part_by_roundings_alone(tmp_path):
    exact, usual = (
        load_file(train(recipe(**FLOAT64 | {"precision": name}), tmp_path / name).folder / WEIGHTS_FILE)
        for name in ("float64", "float32")
    )
    assert any(not torch.equal(exact[name], usual[name]) for name in exact)
    for name, tensor in exact.items():
        torch.testing.assert_close(usual[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_training_with_one_generator_goes_on_to_the_same_bytes(tmp_path):
    mine = recipe(generators="one")
    for epochs in (1, 2):
        train_part(mine, tmp_path / "parts", epochs)
    parts, whole = train(mine, tmp_path / "parts"), train(mine, tmp_path / "whole")
    assert parts.card.weights_sha256 == whole.card.weights_sha256


def test_every_epoch_has_an_order_of_its_own_whoever_draws_it():
    one = Order(3, torch.Generator().manual_seed(3).get_state())
    for order in (Order(3), one):
        drawn = [order.of(epoch, 50).tolist() for epoch in range(3)]
        assert all(sorted(each) == list(range(50)) for each in drawn)
        assert drawn[0] != drawn[1] != drawn[2]
        assert order.of(1, 50).tolist() == drawn[1]


def test_levels_give_back_the_scale_of_the_data():
    train_set, test_set = open_pictures(load_recipe("munakata/digits"), (), None, torch.device("cpu"))
    for part, (images, labels) in zip((train_set, test_set), digits_split(), strict=True):
        assert torch.equal(part.images(torch.arange(len(part))), images)
        assert torch.equal(part.labels, labels)
    usual, _ = open_pictures(recipe(), (), None, torch.device("cpu"))
    assert not torch.equal(usual.images(torch.arange(20)), digits_split()[0][0][:20])


def test_options_of_threads_do_not_reach_a_training_in_float32(tmp_path):
    torch.set_num_threads(2)
    assert train(recipe(), tmp_path, Options()).card.made_with["threads"] == 2
