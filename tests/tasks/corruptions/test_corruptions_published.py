"""Published shifts, from small folders made in their public layouts."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.tasks.corruptions.task import TASK
from assay.tasks.families import read_spec
from assay.tasks.task_spec import shipped_specs
from opened_jobs import JobRequest, open_job, run_units

DIGITS = load_digits()
MANIFEST = """schema: 1
name: mine
title: t
label_space: digits
num_classes: 10
licence: CC0
source: made by a test
get: make it again
to_grey: convert
channels: 1
files: unlisted
layout:
"""
PUBLISHED = "pictures: published\ncorruptions: [dim, fog_3d]\nseverities: [1, 2]"
WNIDS = ("n01440764", "n01498041", "n01443537")  # classes 0, 6 and 1


def digit(number):
    return (DIGITS.images[number] * 15.9).astype(np.uint8)


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def manifest(folder, layout, text=MANIFEST):
    (folder / "mine.yaml").write_text(text + layout)
    return "mine.yaml"


@pytest.fixture
def folders(tmp_path):
    """ImageNet-C's layout: the first five digits, dimmed and inverted at two severities."""
    for number in range(5):
        place = f"{DIGITS.target[number]}/{number}.png"
        for severity in (1, 2):
            save(tmp_path / "dim" / str(severity) / place, digit(number) // severity)
            save(tmp_path / "fog_3d" / str(severity) / place, 255 - digit(number))
    (tmp_path / "README").write_text("no corruption")
    classes = ", ".join(f"'{label}'" for label in range(10))
    return manifest(tmp_path, f"  type: corruption-folders\n  classes: [{classes}]")


def test_folders_of_corruptions_are_an_image_each_with_all_its_pictures(run_digits, folders):
    found = run_digits(PUBLISHED, data=folders, limit=None)
    assert [record.unit_id for record in found.records] == [f"{number}/{number}.png" for number in range(5)]
    by_name = {name: found.metrics[f"{name}:accuracy@1"].value for name in ("dim", "fog_3d")}
    assert by_name["dim"] == 1  # undimmed at severity 1
    assert by_name["fog_3d"] < 1
    assert found.records[0].values["predicted"] is None
    assert "clean_accuracy" not in found.metrics
    assert all(guard.passed for guard in found.guards.values())
    assert {figure.name for figure in TASK.figures(found.spec, found.records)} == {"heat-map", "severity"}
    assert set(found.metrics) == set(found.spec.metric_keys())


def test_a_published_picture_that_is_missing_is_one_sentence(run_digits, folders, tmp_path):
    (tmp_path / "dim/2/3/3.png").unlink()
    with pytest.raises(UserError, match=r"lacks dim/2/3/3\.png; get it whole, or name"):
        run_digits(PUBLISHED, data=folders)


def test_corruptions_that_are_not_there_are_one_sentence_with_those_that_are(run_digits, folders):
    with pytest.raises(UserError, match="has none of the spec's corruptions; it has dim, fog_3d"):
        run_digits("pictures: published\ncorruptions: [snow]", data=folders)


def test_data_without_corruptions_in_their_ids_are_one_sentence(run_digits):
    with pytest.raises(UserError, match="does not begin with CORRUPTION/SEVERITY/; write `pictures: made`"):
        run_digits("pictures: published\ncorruptions: [snow]")


def test_another_family_takes_corrupted_pictures_by_the_name_of_their_data(folders, tmp_path):
    path = tmp_path / "attack.yaml"
    head = f"schema: 1\nfamily: adversarial\ntitle: t\ndata: {folders}\neps: [0, 1/10]\n"
    path.write_text(head + "attacks:\n  - {method: fgsm}\n")
    job = open_job(JobRequest("digits_models:linear", str(path)))
    records = [
        record
        for chunk in range(job.chunk_count)
        for record in run_units(job, job.chunk(chunk), lambda _n: None)
    ]
    assert len(records) == 20
    assert records[0].unit_id == "dim/1/0/0.png"
    assert records[0].values["clean_correct"]


def cifar_c(folder, count=6, **changes):
    """CIFAR-10-C's layout: five severities one after another in one array a corruption."""
    grid = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    arrays = {
        "fog": np.concatenate([grid // (severity + 1) for severity in range(5)]),
        "snow": np.concatenate([grid | (16 * severity) for severity in range(5)]),
        "labels": np.tile(np.arange(count), 5).astype(np.uint8),
    } | changes
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    text = MANIFEST.replace("digits", "cifar-10").replace("to_grey: convert\nchannels: 1\n", "")
    manifest(folder, "  type: corruption-arrays\n  corruptions: [fog, snow]\n", text)
    return load_manifest("mine.yaml", folder / "spec.yaml"), arrays


def test_arrays_of_corruptions_are_severity_after_severity(tmp_path):
    loaded, arrays = cifar_c(tmp_path)
    data = open_dataset(loaded)
    assert len(data.samples) == 2 * 5 * 6
    at = {sample.unit_id: sample for sample in data.samples}
    assert (data.image(at["snow/3/00004"]) == arrays["snow"][2 * 6 + 4]).all()
    assert at["fog/5/00001"].label == 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labels": np.arange(7)}, r"labels\.npy: is int64 \(7,\); expected whole numbers"),
        (
            {"fog": np.zeros((30, 32, 32), np.uint8)},
            r"fog\.npy: is uint8 \(30, 32, 32\); expected uint8 \(30, ",
        ),
        ({"snow": np.zeros((29, 32, 32, 3), np.uint8)}, r"snow\.npy: is uint8 \(29, "),
        ({"snow": np.array(["a", None], object)}, r"snow\.npy: is no \.npy array of plain numbers"),
    ],
)
def test_arrays_that_are_not_as_published_are_one_sentence(tmp_path, changes, complaint):
    loaded, _ = cifar_c(tmp_path, **changes)
    with pytest.raises(UserError, match=complaint):
        open_dataset(loaded)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r", "imagenet-sketch", "imagenet-v"])
def test_shifts_in_folders_named_by_wordnet_id_have_imagenets_labels(tmp_path, name):
    shipped = load_manifest(name)
    wnids = [wnid for wnid in WNIDS if shipped.layout.labels is None or wnid in shipped.layout.labels]
    for wnid in wnids:
        save(tmp_path / name / wnid / "a.png", np.zeros((8, 8, 3), np.uint8))
    data = open_dataset(shipped, [tmp_path])
    known = dict(zip(WNIDS, (0, 6, 1), strict=True))
    assert {sample.unit_id[:9]: sample.label for sample in data.samples} == {
        wnid: known[wnid] for wnid in wnids
    }
    assert wnids


def test_imagenet_v2s_folders_are_numbers_and_not_sorted_as_text(tmp_path):
    for label in (2, 10, 999):
        save(tmp_path / "imagenet-v2" / str(label) / "a.png", np.zeros((8, 8, 3), np.uint8))
    data = open_dataset(load_manifest("imagenet-v2"), [tmp_path])
    assert {sample.unit_id: sample.label for sample in data.samples} == {
        "2/a.png": 2, "10/a.png": 10, "999/a.png": 999,
    }  # fmt: skip


def test_imagenet_c_and_3dcc_have_imagenets_labels(tmp_path):
    for name, corruption in (("imagenet-c", "snow"), ("imagenet-3dcc", "fog_3d")):
        save(tmp_path / name / corruption / "5" / WNIDS[1] / "x.png", np.zeros((8, 8, 3), np.uint8))
        (sample,) = open_dataset(load_manifest(name), [tmp_path]).samples
        assert (sample.unit_id, sample.label) == (f"{corruption}/5/{WNIDS[1]}/x.png", 6)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r"])
def test_both_conventions_are_tasks_of_their_own_over_the_datas_200_classes(name):
    specs = {id_: read_spec(path) for id_, path in shipped_specs().items()}
    labels = tuple(sorted(load_manifest(name).layout.labels.values()))
    subset, over_all = specs[f"corruptions/{name}"], specs[f"corruptions/{name}-all-classes"]
    assert subset.classes == over_all.classes == labels
    assert (subset.arg_max, over_all.arg_max) == ("subset", "all")
    assert len(labels) == 200


def plain(folder):
    for number in range(60):
        if DIGITS.target[number] in (3, 5, 8):
            save(folder / str(DIGITS.target[number]) / f"{number}.png", 255 - digit(number))
    labels = "{'3': 3, '5': 5, '8': 8}"
    return manifest(folder, f"  type: folder-per-class\n  labels: {labels}")


def test_a_subset_of_classes_is_scored_by_the_convention_that_is_named(run_digits, tmp_path):
    data = plain(tmp_path)
    lines = "pictures: plain\ncorruptions: []\nclasses: [3, 5, 8]\narg_max: "
    subset, over_all = (run_digits(lines + how, data=data, limit=None) for how in ("subset", "all"))
    assert {record.values["predicted"] for record in subset.records} <= {3, 5, 8}
    assert {record.values["predicted"] for record in over_all.records} - {3, 5, 8}
    easy, hard = (found.metrics["mean_accuracy"] for found in (subset, over_all))
    assert easy.value >= hard.value
    assert easy.title == "Accuracy on shifted pictures, arg-max over 3 classes"
    assert hard.title == "Accuracy on shifted pictures of 3 classes, arg-max over all classes"
    assert TASK.figures(subset.spec, subset.records) == []


def test_a_class_outside_the_label_space_and_a_label_outside_the_classes(run_digits, tmp_path):
    data = plain(tmp_path)
    with pytest.raises(UserError, match=r"classes: 12 is not a class of digits \(0\.\.9\)"):
        run_digits("pictures: plain\ncorruptions: []\nclasses: [3, 5, 8, 12]", data=data)
    with pytest.raises(UserError, match="classes: the label 8 of data set mine is not among them"):
        run_digits("pictures: plain\ncorruptions: []\nclasses: [3, 5]", data=data)
