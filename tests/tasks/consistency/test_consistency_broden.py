"""Broden's layout, on a small folder made in that layout, as a data set and through the whole task."""

import numpy as np
import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.tasks.consistency.metric import concept_shares, multi_hot
from assay.tasks.consistency.task import TASK
from opened_jobs import JobRequest, open_job, run_units
from tasks.consistency.coloured_place import MEMBERS

INDEX = """image,split,ih,iw,sh,sw,color,object,part,material,scene,texture
ade/1.jpg,train,4,4,2,2,9,ade/1_object.png,ade/1_part_0.png;ade/1_part_1.png,,77,
dtd/2.jpg,val,4,4,2,2,,,,,,300;301
os/3.jpg,train,4,4,2,2,,,,55,,
"""
LABEL = """number,name,category,frequency,coverage,syns
9,red-c,color(1),1,1.0,
12,dog,object(1),1,0.5,hound
20,grass,object(1),1,0.5,
30,paw,part(1),1,0.1,
31,ear,part(1),1,0.1,
55,wood,material(1),1,1.0,
77,park-s,scene(1),1,1.0,
300,striped,texture(1),1,1.0,
301,dotted,texture(1),1,1.0,
"""


def mask(path, numbers):
    pixels = np.array(numbers)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.dstack([pixels % 256, pixels // 256, 0 * pixels]).astype(np.uint8)).save(path)


MANIFEST = """schema: 1
name: small-broden
title: small
label_space: broden
num_classes: 301
licence: none
source: made by the tests
get: run the tests
layout: {type: broden}
files: unlisted
"""
MODELS = "tasks.consistency.colour_models"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.csv").write_text(INDEX)
    (tmp_path / "label.csv").write_text(LABEL)
    (tmp_path / "b.yaml").write_text(MANIFEST)
    mask(tmp_path / "images/ade/1_object.png", [[0, 12], [20, 20]])
    mask(tmp_path / "images/ade/1_part_0.png", [[0, 30], [0, 0]])
    mask(tmp_path / "images/ade/1_part_1.png", [[0, 31], [0, 300]])  # 300 needs the green channel
    for value, name in enumerate(("ade/1", "dtd/2", "os/3")):
        path = tmp_path / f"images/{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 60 + 40 * value, np.uint8)).save(path)
    return tmp_path


def read(folder):
    return open_dataset(load_manifest(str(folder / "b.yaml")))


def test_concepts_of_masks_and_of_whole_images(folder):
    samples = read(folder).samples
    assert [sample.unit_id for sample in samples] == ["ade/1.jpg", "dtd/2.jpg"]
    assert [sample.concepts for sample in samples] == [(11, 19, 29, 30, 299), (299, 300)]
    assert [sample.label for sample in samples] == [11, 299]


def test_images_without_a_concept_of_the_categories_are_left_out(folder):
    text = MANIFEST.replace("{type: broden}", "{type: broden, categories: [material]}")
    (folder / "b.yaml").write_text(text)
    assert [sample.unit_id for sample in read(folder).samples] == ["os/3.jpg"]


def test_concept_shares_from_its_labels(folder):
    membership = multi_hot([sample.concepts for sample in read(folder).samples], 301)
    shares = concept_shares(np.array([[0, 1]]), membership)[0]
    assert {int(concept): shares[concept] for concept in np.flatnonzero(shares)} == {
        11: 0.5, 19: 0.5, 29: 0.5, 30: 0.5, 299: 1, 300: 0.5}  # fmt: skip


def break_file(folder, name, old, new):
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("index.csv", "texture", "pattern", "no column 'texture'"),
        ("index.csv", "300;301", "299", r"label 299, which label\.csv does not name"),
        ("index.csv", "ade/1_object.png", "ade/gone.png", r"gone\.png"),
        ("label.csv", "12,dog", "13,dog", "label 12, which"),
        ("label.csv", "12,dog", "twelve,dog", "'twelve' where a label number"),
        ("b.yaml", "num_classes: 301", "num_classes: 10", "lies outside the label space"),
    ],
)
def test_what_is_broken_is_named(folder, name, old, new, message):
    break_file(folder, name, old, new)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_another_folder_is_not_broden(tmp_path):
    (tmp_path / "b.yaml").write_text(MANIFEST)
    with pytest.raises(UserError, match=r"index\.csv"):
        read(tmp_path)


def test_the_task_scores_neurons_by_concepts(folder):
    break_file(folder, "index.csv", "55,,", "55,,300")  # a third image
    (folder / "t.yaml").write_text(
        "schema: 1\nfamily: consistency\ntitle: t\ndata: b.yaml\nhierarchy: flat\n"
        f"adversarial: {{ensemble: ['{MODELS}:detectors'], targets: 1}}\n"
    )
    job = open_job(JobRequest(f"{MODELS}:sharper_detectors", str(folder / "t.yaml"), trusted=MEMBERS))
    records = run_units(job, job.units, lambda _units: None)
    summary = TASK.summarise(job.spec.spec, records)
    metrics = {metric.name: metric.value for metric in summary.metrics}
    # 3 images, so p is (1/3 each of 11, 19, 29, 30 and 300; 1 of 299); any two concepts are 2 edges apart
    shares, near = np.array([1, 1, 1, 1, 1, 3]) / 3, np.exp(-2)
    expected = (1 - near) * (shares**2).sum() + near * shares.sum() ** 2
    assert metrics["consis"] == pytest.approx(expected)
    assert "excess" not in metrics  # consis(n) may exceed 1 where images show several concepts
    assert "enough_images" in {guard.name for guard in summary.guards if not guard.passed}
