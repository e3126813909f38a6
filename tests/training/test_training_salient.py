"""Saliency to follow: from a teacher, once, and from what the pictures show themselves."""

import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic.fields import FieldInfo
from safetensors.torch import save
from training_recipes import FOREGROUND, METHODS, recipe

from annotated_folders import TRIMAP, WNIDS, flowers17, segmented, tiny_imagenet
from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.models.foreign import own
from assay.models.info import ModelInfo
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model
from assay.saliency import channel_maps, maps
from assay.saliency.settings import SmoothGrad
from assay.training import teacher as teacher_module
from assay.training.methods import TeacherSaliency
from assay.training.perturbations import salient_perturbation
from assay.training.pictures import open_pictures
from assay.training.recipe import Recipe
from assay.training.salient import SaliencySource, find_saliency_source
from assay.training.train import Options, train

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
    return train_set, *find_saliency_source(mine, torch.device("cpu"), own()).signs(train_set)


def test_a_teacher_s_signs_are_those_of_its_maps_for_the_true_labels(teacher, own_cache):
    train_set, found, seconds = signs(guided(teacher.model))
    images = train_set.images(torch.arange(100))
    wanted = maps(load_model(teacher.model).module, images, train_set.labels, "gradient") > 0
    assert torch.equal(found[:, 0] == 1, wanted)  # of grey images, as the maps themselves have them
    assert set(found.unique().tolist()) == {-1, 1}
    assert seconds > 0


# --- a teacher of colour pictures


SLOPES = torch.tensor(
    [[[[1.0, -2.0]], [[-3.0, 8.0]], [[5.0, -1.0]]], [[[-1.0, 2.0]], [[3.0, -8.0]], [[-5.0, 0.0]]]]
)
"""Two classes' weights, (2, 3, 1, 2); over its channels class 0 has 3 and 5 in its pixels, class 1 has -3 and -6."""


@pytest.fixture
def coloured(tmp_path, own_cache):
    """Two pictures of 1 x 2 pixels, one of either class, and a linear network on them as a guide."""
    for label, name in enumerate(("first", "second")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.fromarray(np.full((1, 2, 3), 90 + label, np.uint8)).save(tmp_path / "mine" / name / "a.png")
    (tmp_path / "mine.yaml").write_text(
        "{schema: 1, name: mine, title: Mine, label_space: mine, num_classes: 2, licence: mine, source: me,"
        " get: draw them, location: {folder: mine}, layout: {type: folder-per-class}, files: unlisted}"
    )
    part = {"manifest": str(tmp_path / "mine.yaml")}
    black = {"crop": [1, 2], "mean": [0, 0, 0], "std": [1, 1, 1]}
    mine = recipe(data={"train": part, "test": part}, input=black)
    train_set, _ = open_pictures(mine, (), None, torch.device("cpu"))
    info = ModelInfo(
        name="linear", source="a test", licence="none", weights_sha256="0" * 64, architecture="linear",
        label_space="mine", num_classes=2, input_shape=(3, 1, 2), preprocessing=train_set.preprocessing,
        piecewise_linear=True,
    )  # fmt: skip
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 2, bias=False))
    net[1].weight.data = SLOPES.flatten(1).clone()

    def guide(method, threshold="zero", **settings):
        block = TeacherSaliency(source="teacher", method=method, settings=settings, threshold=threshold)
        return SaliencySource(block, LoadedModel(info, net))

    return train_set, guide


@pytest.mark.parametrize(
    ("method", "settings"),
    [("gradient", {}), ("smoothgrad", {"samples": 3}), ("integrated_gradients", {"steps": 3})],
)
def test_each_channel_has_its_own_sign(coloured, method, settings):
    """The gradient is the label's weight: +1 where it is positive and -1 elsewhere, component by component."""
    train_set, guide = coloured
    found, _ = guide(method, **settings).signs(train_set)
    assert found.dtype == torch.int8
    assert found.tolist() == [[[[1, -1]], [[-1, 1]], [[1, -1]]], [[[-1, 1]], [[1, -1]], [[-1, -1]]]]
    delta = salient_perturbation(train_set.images(torch.arange(2)), found, 0.0, torch.Generator())
    assert torch.equal(delta, -found.float())


def test_a_threshold_is_over_all_components_of_an_image(coloured):
    """Their means are 4/3 and -3/2; their medians, the lower of the two in the middle, -1 and -1."""
    train_set, guide = coloured
    found, _ = guide("gradient", "mean").signs(train_set)
    assert found.tolist() == [[[[-1, -1]], [[-1, 1]], [[1, -1]]], [[[1, 1]], [[1, -1]], [[-1, 1]]]]
    found, _ = guide("gradient", "median").signs(train_set)
    assert found.tolist() == [[[[1, -1]], [[-1, 1]], [[1, -1]]], [[[-1, 1]], [[1, -1]], [[-1, 1]]]]


def test_a_method_that_answers_a_number_a_pixel_has_one_sign_for_all_channels(coloured):
    """Covering a pixel takes 3 or 5 times its level from class 0's logit, and gives class 1's 3 or 6 times."""
    train_set, guide = coloured
    found, _ = guide("occlusion", window=1).signs(train_set)
    assert found.tolist() == [[[1, 1]], [[-1, -1]]]


# --- what a teacher's signs are known by


def test_the_identity_of_a_guide_without_a_teacher_is_empty():
    for method in METHODS.values():
        assert find_saliency_source(recipe(method=method), torch.device("cpu"), own()).identity is None


def test_all_that_decides_a_teacher_s_signs_is_in_its_identity(coloured, monkeypatch):
    _, guide = coloured
    plain = guide("smoothgrad")
    known = [plain.identity, guide("gradient").identity, guide("smoothgrad", samples=7).identity]

    def other(**changes):
        return SaliencySource(
            plain.saliency, LoadedModel(plain.teacher.info.model_copy(update=changes), plain.teacher.module)
        )

    resized = plain.teacher.info.preprocessing.model_copy(update={"interpolation": "nearest"})
    known += [
        other(architecture="another").identity,
        other(weights_sha256="1" * 64).identity,
        other(preprocessing=resized).identity,
    ]
    monkeypatch.setattr("assay.training.teacher.FORMAT", 99)
    known.append(plain.identity)
    assert len({canonical_sha256(each) for each in known}) == len(known)


def test_a_changed_default_of_the_method_changes_the_key(coloured, monkeypatch):
    _, guide = coloured
    before = guide("smoothgrad").identity
    assert before == guide("smoothgrad", samples=SmoothGrad().samples).identity
    monkeypatch.setitem(SmoothGrad.model_fields, "samples", FieldInfo(annotation=int, default=51))
    SmoothGrad.model_rebuild(force=True)
    try:
        assert guide("smoothgrad").identity != before
    finally:
        monkeypatch.undo()
        SmoothGrad.model_rebuild(force=True)


# --- the memory of a teacher's signs


def test_a_teacher_is_asked_once(teacher, own_cache):
    _, first, seconds = signs(guided(teacher.model))
    (stored,) = own_cache.glob("saliency/*/*.safetensors")
    written = stored.stat().st_mtime_ns
    _, again, as_before = signs(guided(teacher.model))
    assert torch.equal(first, again)
    assert as_before == seconds
    assert stored.stat().st_mtime_ns == written
    signs(guided(teacher.model, "guided_backprop"))
    signs(guided(teacher.model, threshold="mean"))
    assert len(list(own_cache.glob("saliency/*"))) == 3


@pytest.fixture
def in_parts(monkeypatch):
    """Stored after every 10 pictures; gives how many were asked about in each pass."""
    passes = []

    def asked(network, images, *rest, **settings):
        passes.append(len(images))
        return channel_maps(network, images, *rest, **settings)

    monkeypatch.setattr("assay.training.teacher.KEEP_SECONDS", 0)
    monkeypatch.setattr("assay.training.teacher._BATCH", 10)
    monkeypatch.setattr("assay.training.teacher.channel_maps", asked)
    return passes


def test_what_was_made_before_a_kill_is_not_made_again(teacher, own_cache, in_parts, monkeypatch):
    whole = signs(guided(teacher.model))[1]
    shutil.rmtree(own_cache)
    asked = teacher_module.channel_maps

    def killed(*arguments, **settings):
        if len(in_parts) == 10 + 4:
            raise KeyboardInterrupt
        return asked(*arguments, **settings)

    monkeypatch.setattr("assay.training.teacher.channel_maps", killed)
    with pytest.raises(KeyboardInterrupt):
        signs(guided(teacher.model))
    assert len(list(own_cache.glob("saliency/*/*"))) == 4
    monkeypatch.setattr("assay.training.teacher.channel_maps", asked)
    in_parts.clear()
    assert torch.equal(signs(guided(teacher.model))[1], whole)
    assert in_parts == [10] * 6
    assert torch.equal(signs(guided(teacher.model))[1], whole)
    assert in_parts == [10] * 6


def cut(path):
    path.write_bytes(path.read_bytes()[:50])


def too_long(path):
    path.write_bytes(save({"signs": torch.ones(100, 1, 8, 8, dtype=torch.int8)}, {"seconds": "1.0"}))


def of_no_picture(path):
    path.write_bytes(save({"signs": torch.ones(0, 1, 8, 8, dtype=torch.int8)}, {"seconds": "1.0"}))


def without_seconds(path):
    path.write_bytes(save({"signs": torch.ones(10, 1, 8, 8, dtype=torch.int8)}))


@pytest.mark.parametrize("spoil", [cut, too_long, of_no_picture, without_seconds, Path.unlink])
def test_a_damaged_part_is_made_again_and_no_other(teacher, own_cache, in_parts, spoil):
    first = signs(guided(teacher.model))[1]
    spoil(sorted(own_cache.glob("saliency/*/*"))[3])
    in_parts.clear()
    assert torch.equal(signs(guided(teacher.model))[1], first)
    assert in_parts == [10]


def test_a_cache_that_cannot_be_written_is_named_once_and_costs_nothing_else(
    teacher, own_cache, in_parts, monkeypatch
):
    mine, said = guided(teacher.model), []
    first = signs(mine)[1]
    monkeypatch.setenv("ASSAY_CACHE", "/proc/nowhere")
    train_set, _ = open_pictures(mine, (), None, torch.device("cpu"))
    found, seconds = find_saliency_source(mine, torch.device("cpu"), own()).signs(train_set, said.append)
    assert torch.equal(found, first)
    assert seconds > 0
    (sentence,) = said
    assert sentence.startswith("/proc/nowhere/saliency/")
    assert "cannot be kept" in sentence
    assert sentence.endswith("set ASSAY_CACHE to a folder that can be written")


def test_how_far_the_signs_are_is_told_now_and_then(teacher, own_cache, in_parts, monkeypatch):
    mine, said = guided(teacher.model), []
    train_set, _ = open_pictures(mine, (), None, torch.device("cpu"))
    guide = find_saliency_source(mine, torch.device("cpu"), own())
    guide.signs(train_set, said.append)
    assert said == []  # done before the first ten seconds
    shutil.rmtree(own_cache)
    monkeypatch.setattr("assay.training.teacher.SAY_SECONDS", 0)
    guide.signs(train_set, said.append)
    start = re.escape(f"gradient of the teacher {guide.teacher.info.name}: ")
    told = [re.fullmatch(rf"{start}(\d+) of 100 images, \d+ s, about \d+ s to go", line) for line in said]
    assert [int(match[1]) for match in told] == [*range(10, 101, 10)]
    said.clear()
    guide.signs(train_set, said.append)
    assert said == []  # what is remembered is there at once


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
