"""Saliency to follow: from a teacher, once, and from what the pictures show themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_recipes import FOREGROUND, recipe

from assay.errors import UserError
from assay.models.zoo import load_model
from assay.saliency import maps
from assay.training import Options, Recipe, train
from assay.training.pictures import open_pictures
from assay.training.salient import guide_of

DATA = {"train": {"manifest": "digits", "first": 100}, "test": {"manifest": "digits", "skip": 1700}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    torch.set_num_threads(1)
    return train(recipe(), tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def guided(teacher: str | None, method="gradient", name="sat", **block) -> Recipe:
    saliency = {"source": "teacher", "teacher": teacher, "method": method, **block}
    return recipe(
        method={"name": name, "eps": "1/10", "alpha": 0.5, "saliency": saliency}, data=DATA, epochs=1
    )


def signs(mine: Recipe):
    train_set, _ = open_pictures(mine, (), None, torch.device("cpu"))
    return train_set, *guide_of(mine, torch.device("cpu")).signs(train_set)


def test_a_teacher_s_signs_are_those_of_its_maps_for_the_true_labels(teacher, own_cache):
    train_set, found, seconds = signs(guided(teacher.model))
    images = train_set.images(torch.arange(100))
    wanted = maps(load_model(teacher.model).module, images, train_set.labels, "gradient") > 0
    assert torch.equal(found == 1, wanted)
    assert set(found.unique().tolist()) == {-1, 1}
    assert seconds > 0


def test_a_teacher_is_asked_once(teacher, own_cache):
    _, first, seconds = signs(guided(teacher.model))
    (stored,) = own_cache.glob("saliency/*.safetensors")
    written = stored.stat().st_mtime_ns
    _, again, as_before = signs(guided(teacher.model))
    assert torch.equal(first, again)
    assert as_before == seconds
    assert stored.stat().st_mtime_ns == written
    signs(guided(teacher.model, "guided_backprop"))
    signs(guided(teacher.model, threshold="mean"))
    assert len(list(own_cache.glob("saliency/*.safetensors"))) == 3


def test_a_damaged_memory_is_made_again(teacher, own_cache):
    _, first, _ = signs(guided(teacher.model))
    (stored,) = own_cache.glob("saliency/*.safetensors")
    stored.write_bytes(stored.read_bytes()[:50])
    assert torch.equal(signs(guided(teacher.model))[1], first)


def test_the_teacher_s_weights_are_in_the_training_s_key(teacher, tmp_path, own_cache):
    other = train(recipe(seed=5), tmp_path / "other")
    trained = train(guided(teacher.model), tmp_path / "student")
    assert trained.card.preparation_seconds > 0
    moved = teacher.folder.rename(tmp_path / "elsewhere")
    try:
        assert train(guided(f"trained:{moved}"), tmp_path / "student") == trained
        with pytest.raises(UserError, match="another teacher"):
            train(guided(other.model), tmp_path / "student")
    finally:
        moved.rename(teacher.folder)


def test_pictures_on_a_dark_ground_are_their_own_mask():
    mine = recipe(method={"name": "sat", "eps": "1/10", **FOREGROUND}, data=DATA)
    train_set, found, _ = signs(mine)
    assert torch.equal(found == 1, train_set.images(torch.arange(100))[:, 0] > 0.5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": {"crop": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1]}}, "takes images of"),
        (
            {"data": {part: {"manifest": "foolbox-mnist"} for part in ("train", "test")}},
            "choose one of the same labels",
        ),
    ],
)
def test_a_teacher_for_other_images_or_labels_is_refused(teacher, tmp_path, changes, says):
    mine = recipe(method=guided(teacher.model).method.model_dump(mode="json"), **changes)
    with pytest.raises(UserError, match=says):
        train(mine, tmp_path, Options())


@pytest.mark.parametrize(
    ("block", "says"),
    [({"method": "gradiant"}, "did you mean gradient"), ({"settings": {"samples": 3}}, "samples")],
)
def test_an_unknown_method_or_setting_is_refused_when_the_recipe_is_read(block, says):
    with pytest.raises(UserError, match=says):
        guided(None, **block)


def test_boxes_and_masks_become_signs_and_nothing_where_there_is_none():
    """The object of the first picture fills its upper left quarter; the second picture has no mask."""
    train_set, _ = open_pictures(recipe(data=DATA), (), None, torch.device("cpu"))
    mask = np.zeros((8, 8), np.uint8)
    mask[:4, :4] = 1
    first = train_set.samples[0].reference
    contents = replace(
        train_set.dataset._contents, mask=lambda reference: mask if reference == first else None
    )
    train_set.dataset = replace(train_set.dataset, _contents=contents)
    found = train_set.annotated(torch.tensor([0, 1]))
    assert torch.equal(found[0] == 1, torch.from_numpy(mask) == 1)
    assert set(found[0].unique().tolist()) == {-1, 1}
    assert not found[1].any()
