"""Recipes: strict, hashed by what changes the weights, and with one sentence for what is wrong."""

import math

import pytest
import yaml
from training_recipes import DOCUMENT, FOREGROUND, METHODS, climb, recipe

from assay.common.errors import UserError
from assay.common.fields import IDENTITY, RUNTIME, field_sides
from assay.data.manifest import load_manifest
from assay.training.recipe import Cosine, Drops, Recipe
from assay.training.recipe_files import load_recipe, recipe_file, shipped_recipes, variants_in
from spec_classes import models_within

RECIPES = models_within(Recipe)


@pytest.mark.parametrize("model", RECIPES, ids=lambda model: model.__name__)
def test_every_field_of_a_recipe_is_on_a_side(model):
    undecided = [name for name, side in field_sides(model).items() if side not in (IDENTITY, RUNTIME)]
    assert not undecided, f"{model.__name__}: put {undecided} on the identity or the runtime side"


def test_all_twelve_methods_are_reached_by_that_walk():
    assert len([model for model in RECIPES if "name" in model.model_fields]) == 12 + 3 + 3


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_reads_and_hashes(name):
    assert len(recipe(method=METHODS[name]).sha256) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 4},
        {"architecture": "small-cnn"},
        {"method": {"name": "noise", "eps": "1/10"}},
        {"optimiser": {"name": "adam", "lr": 0.02}},
        {"schedule": {"name": "cosine"}},
        {"data": {**DOCUMENT["data"], "train": {"manifest": "digits", "first": 201}}},
        {"input": {**DOCUMENT["input"], "std": [0.5]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_the_weights_changes_the_hash(change):
    assert recipe(**change).sha256 != recipe().sha256


def test_prose_and_places_do_not_change_the_hash():
    data = {**DOCUMENT["data"], "train": {"manifest": "my/copy.yaml", "first": 200}}
    assert recipe(title="another", description="prose", data=data).sha256 == recipe().sha256


def test_a_teacher_s_name_is_a_place_and_its_method_is_not():
    def guided(method, teacher=None):
        block = {"source": "teacher", "teacher": teacher, "method": method}
        return recipe(method={"name": "sat", "eps": "1/10", "alpha": 0.5, "saliency": block})

    assert guided("gradient").sha256 == guided("gradient", "trained:a").sha256
    assert guided("gradient").sha256 != guided("smoothgrad").sha256
    assert guided("gradient").with_teacher("trained:b").teacher == "trained:b"
    with pytest.raises(UserError, match="the method regular takes no saliency from a teacher"):
        recipe().with_teacher("trained:b")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": {"name": "pgd_saat"}}, "method.*pgd_sat"),
        ({"method": climb("pgd", steps=0)}, r"`method\.steps"),
        ({"method": {"name": "noise", "eps": "4"}}, r"`method\.eps"),
        ({"method": {"name": "noise", "eps": "four"}}, "expected a number such as 4/255"),
        ({"method": {"name": "noise"}}, r"`method\.eps. is missing"),
        ({"method": {"name": "sat", "eps": "0", **FOREGROUND, "alpha": 1.0}}, r"`method\.alpha"),
        ({"method": {"name": "regular", "eps": "0"}}, r"unknown key .method\.eps"),
        ({"architecture": "resnet19"}, "architecture.*resnet18"),
        ({"optimiser": {"name": "lion", "lr": 1.0}}, "optimiser"),
        ({"optimiser": {"name": "sgd", "lr": -1}}, r"`optimiser\.lr"),
        ({"optimiser": {"name": "sgd", "lr": math.nan}}, r"`optimiser\.lr"),
        ({"optimiser": {"name": "sgd", "lr": 0.1, "nesterov": True}}, "nesterov needs a momentum"),
        ({"schedule": {"name": "drops", "at": [1.5]}}, r"`schedule\.at"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2**63}, "epochs"),
        ({"batch_size": 2**63}, "batch_size"),
        ({"seed": 2**63}, "seed"),
        ({"optimiser": {"name": "adam", "lr": 1e300}}, r"optimiser.*lr"),
        ({"optimiser": {"name": "adam", "lr": 0.1, "weight_decay": 1e300}}, r"optimiser.*weight_decay"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"input": {"crop": [8, 8], "mean": [0, 0], "std": [1]}}, "give one per channel"),
        ({"schema": 2}, "schema"),
        ({"colour": 1}, "unknown key .colour."),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_field(change, says):
    with pytest.raises(UserError, match=says) as caught:
        recipe(**change)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("recipe.yaml: ")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_recipe_may_have_is_refused(seed):
    with pytest.raises(UserError, match=f"a seed is a number from 0 to .*, not {seed}"):
        recipe().with_seed(seed)
    assert recipe().with_seed(2**63 - 1).seed == 2**63 - 1


def test_a_recipe_takes_what_it_lacks_from_the_one_it_extends(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(DOCUMENT))
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nepochs: 7\n")
    assert load_recipe(tmp_path / "mine.yaml") == recipe(epochs=7)


@pytest.mark.parametrize(
    ("text", "says"), [("extends: mine.yaml", "extends"), ("extends: 3", "expected the name")]
)
def test_a_recipe_that_extends_itself_or_nothing_is_refused(tmp_path, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        load_recipe(tmp_path / "mine.yaml")


SWEEP = "variants:\n  long: {title: Longer, epochs: 7}\n  twice: {title: Twice, batch_size: 64, seed: 3}\n"


def test_a_sweep_holds_a_base_and_what_differs(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(DOCUMENT) + SWEEP)
    assert variants_in(path) == ["long", "twice"]
    title = DOCUMENT["title"]
    assert load_recipe(f"{path}:long") == recipe(epochs=7, title=f"Longer, {title}")
    assert load_recipe(f"{path}:twice") == recipe(batch_size=64, seed=3, title=f"Twice, {title}")
    assert recipe_file(f"{path}:long") == recipe_file(str(path)) == path
    assert recipe_file("smoke/regular") is None


@pytest.mark.parametrize(
    ("variant", "says"),
    [
        ("", r"sweep.yaml: holds several recipes; choose one, such as .*sweep.yaml:long"),
        (":lnog", "has no variant 'lnog'; did you mean long"),
        (":wrong", r"sweep.yaml:wrong: .*epochs"),
    ],
)
def test_a_variant_that_is_not_there_or_wrong_is_a_sentence(tmp_path, variant, says):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(DOCUMENT) + SWEEP + "  wrong: {epochs: -1}\n")
    with pytest.raises(UserError, match=says):
        load_recipe(f"{path}{variant}")


@pytest.mark.parametrize("variants", ["3", "[a, b]", "{a: 3}"])
def test_variants_are_names_with_what_differs(tmp_path, variants):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(DOCUMENT) + f"variants: {variants}\n")
    with pytest.raises(UserError, match="`variants`: expected a name and what differs"):
        load_recipe(tmp_path / "sweep.yaml")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match=r"did you mean smoke/regular"):
        load_recipe("smoke/regulr")
    with pytest.raises(UserError, match="there is no such file"):
        load_recipe("nowhere.yaml")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_reads_and_fits_its_data(name):
    shipped = load_recipe(name)
    manifests = [load_manifest(part.manifest) for part in (shipped.data.train, shipped.data.test)]
    assert {manifest.channels for manifest in manifests} == {len(shipped.input.mean)}
    assert len({manifest.label_space for manifest in manifests}) == 1


def test_schedules_by_hand():
    drops = Drops(name="drops", at=(0.5, 0.75), by=0.1)
    assert [drops.factor(part) for part in (0, 0.49, 0.5, 0.8)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = Cosine(name="cosine", warmup=0.2)
    assert [cosine.factor(part) for part in (0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0])
