"""Saliency to follow: from a teacher, once, and from what the pictures show themselves."""

from functools import partial

import pytest
import torch
from training_recipes import FOREGROUND, METHODS, recipe

from annotated_folders import TRIMAP, WNIDS, flowers17, segmented, tiny_imagenet
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


def of_colour(data, side, **changes) -> Recipe:
    """A small recipe for RGB pictures of one side."""
    colour = {"crop": [side, side], "mean": [0.5] * 3, "std": [0.5] * 3}
    return recipe(data=data, input=colour | changes.pop("input", {}), epochs=2, batch_size=20, **changes)


TINY = {"train": {"manifest": "tiny-imagenet-train", "first": 40}, "test": {"manifest": "tiny-imagenet-val"}}
FLOWERS = {"train": {"manifest": "oxford-flowers17-train"}, "test": {"manifest": "oxford-flowers17-test"}}


@pytest.mark.parametrize(
    ("make", "mine"),
    [
        (tiny_imagenet, of_colour({**TINY, "train": {"manifest": "tiny-imagenet-train"}}, 64)),
        (partial(flowers17, magnified=8), of_colour(FLOWERS, 8, input={"resize": 8})),
    ],
    ids=["boxes", "masks"],
)
def test_annotations_lie_where_the_object_is_in_what_the_network_sees(make, mine, tmp_path):
    """The pictures are bright inside their boxes and masks; a picture without either has no sign."""
    make(tmp_path)
    train_set, _ = open_pictures(mine, [tmp_path], None, torch.device("cpu"))
    rows = torch.arange(len(train_set))
    found, bright = train_set.annotated(rows), train_set.images(rows).amax(dim=1) > 0.5
    known = torch.tensor([train_set.dataset.mask(sample) is not None for sample in train_set.samples])
    assert known.any()
    assert torch.equal(found[known] == 1, bright[known])
    assert set(found[known].unique().tolist()) == {-1, 1}
    assert not found[~known].any()


def another_box(folder):
    table = folder / f"train/{WNIDS[0]}/{WNIDS[0]}_boxes.txt"
    table.write_text(table.read_text().replace("\t1\t2\t10\t62", "\t30\t2\t60\t62"))


def another_mask(folder):
    segmented(folder, 81, TRIMAP[::-1].repeat(8, 0).repeat(8, 1))


@pytest.mark.parametrize(
    ("make", "data", "side", "change"),
    [
        (tiny_imagenet, TINY, 64, another_box),
        (partial(flowers17, magnified=8), FLOWERS, 16, another_mask),
    ],
    ids=["boxes", "masks"],
)
def test_boxes_and_masks_lead_the_training_that_follows_them_and_no_other(make, data, side, change, tmp_path):
    folder = make(tmp_path / "data")
    weak = {"saliency": {"source": "annotation"}, "alpha": 0.01, "t_counts": "steps"}
    methods = {
        "sat": METHODS["sat"] | weak,
        "pgd_sat": METHODS["pgd_sat"] | weak,
        "regular": METHODS["regular"],
    }

    def weights(name, out):
        mine = of_colour(data, side, method=methods[name])
        trained = train(mine, tmp_path / out / name, Options(data_roots=(tmp_path / "data",)))
        return (trained.folder / "model.safetensors").read_bytes()

    before = {name: weights(name, "before") for name in methods}
    change(folder)
    after = {name: weights(name, "after") for name in methods}
    assert [name for name in methods if before[name] != after[name]] == ["sat", "pgd_sat"]
