"""Shapes manifests: three layouts, found and verified as data sets are, and every way in which they can be wrong."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from assay.common.errors import UserError
from assay.data.manifest import list_manifests
from assay.tasks.srvr.procedural import EMBEDDED_SHAPES, embedded_mesh
from assay.tasks.srvr.shapes import list_shapes, load_shapes, open_shapes

DATA_NOUN = Path("/usr/share/wordnet/data.noun")
ARTIFACT = "06"  # WordNet's lexicographer file of nouns that denote man-made objects
BASE = {
    "schema": 1,
    "kind": "shapes",
    "name": "mine",
    "title": "mine",
    "label_space": "imagenet-1k",
    "num_classes": 1000,
    "licence": "mine",
    "source": "me",
    "get": "make them",
    "layout": {"type": "mesh-folder", "class_in": "folder", "labels": {"chair": 559, "cup": 968}},
    "files": "unlisted",
}


@pytest.fixture
def write(tmp_path):
    """Write a manifest with changes beside ``chair/a.obj`` and ``cup/b.stl``; gives its path."""
    for name in ("chair/a.obj", "cup/b.stl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        trimesh.creation.box((1, 2, 3)).export(path)

    def make(**changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(BASE | changes))
        return str(path)

    return make


def opened(path):
    return open_shapes(load_shapes(path))


def test_the_shipped_manifests_are_no_image_manifests_and_all_valid():
    assert {"embedded-shapes", "shapenet10", "shapenetcore-hamdi40"} == set(list_shapes())
    assert not set(list_shapes()) & set(list_manifests())
    for name in list_shapes():
        assert load_shapes(name).name == name


def test_a_folder_gives_a_shape_a_file_with_the_folder_s_class(write):
    data = opened(write())
    assert [(s.id, s.class_name, s.class_index) for s in data.shapes] == [
        ("chair/a", "chair", 559),
        ("cup/b", "cup", 968),
    ]
    assert data.shapes[1].mesh().counts.kept == 12


def test_the_identity_is_the_files_and_the_labels_not_the_prose(write, tmp_path):
    first = opened(write()).sha256
    assert opened(write(title="another", licence="another")).sha256 == first
    labels = {"chair": 559, "cup": 504}
    assert opened(write(layout=BASE["layout"] | {"labels": labels})).sha256 != first
    trimesh.creation.box((1, 2, 4)).export(tmp_path / "chair/a.obj")
    assert opened(write()).sha256 != first


def test_the_class_can_stand_in_the_file_s_name(shared_srvr):
    data = open_shapes(load_shapes("shapenet10"), (shared_srvr,))
    assert len(data.shapes) == 10
    assert (data.shapes[4].class_name, data.shapes[4].class_index) == ("4_chair", 559)


def test_shapenetcore_s_layout_names_class_shape_and_path(write, tmp_path):
    layout = {"type": "shapenet-core", "labels": {"03001627": 559}, "shapes": {"03001627": ["abc"]}}
    path = write(layout=layout)
    with pytest.raises(UserError, match=r"03001627/abc/models/model_normalized\.obj is missing"):
        opened(path)
    mesh = tmp_path / "03001627/abc/models/model_normalized.obj"
    mesh.parent.mkdir(parents=True)
    trimesh.creation.icosphere().export(mesh)
    (shape,) = opened(path).shapes
    assert (shape.id, shape.class_index) == ("03001627/abc", 559)


@pytest.mark.skipif(not DATA_NOUN.is_file(), reason=f"WordNet 3.0 is not here: {DATA_NOUN} (wordnet-base)")
def test_shapenetcore_s_class_folders_are_wordnet_s_synsets_of_their_labels():
    """A class folder's name is the synset's offset in WordNet 3.0's nouns."""
    paper = {index: name.partition("_")[2] for name, index in load_shapes("shapenet10").layout.labels.items()}
    lines = dict(line.split(" ", 1) for line in DATA_NOUN.read_text("latin-1").splitlines() if line[0] != " ")
    for synset, index in load_shapes("shapenetcore-hamdi40").layout.labels.items():
        lexicographer, _, count, *words = lines[synset].split()
        assert lexicographer == ARTIFACT
        assert paper[index] in words[: 2 * int(count, 16) : 2]


def test_procedural_shapes_need_no_file_at_all(write):
    (shape,) = opened(write(layout={"type": "embedded", "shapes": ["mug"]})).shapes
    assert shape.mesh().counts.kept > 100


@pytest.mark.parametrize("name", sorted(EMBEDDED_SHAPES))
def test_procedural_shapes_stay_as_they_are(name):
    """Their code is part of every result on them: raise the family's ``record_version`` with this table."""
    expected = {
        "airplane": (6588, 2.495384),
        "bench": (252, 6.600444),
        "bottle": (4224, 3.995559),
        "chair": (132, 5.6992),
        "dumbbell": (1344, 3.864782),
        "goblet": (11712, 8.399688),
        "hourglass": (6336, 13.67511),
        "mug": (1216, 18.792497),
        "table_lamp": (816, 5.400268),
        "vase": (11520, 12.424819),
    }
    mesh = embedded_mesh(name)
    a, b, c = mesh.corners.transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert (len(mesh.faces), round(float(area), 6)) == expected[name]


WRONG = {
    "a class without a label": (
        {"layout": BASE["layout"] | {"labels": {"chair": 559}}},
        "its class 'cup' has no label",
    ),
    "a class that the label space lacks": (
        {"layout": BASE["layout"] | {"labels": {"chair": 559, "cup": 1000}}},
        r"label space imagenet-1k lacks \(0..999\)",
    ),
    "an unknown embedded shape": (
        {"layout": {"type": "embedded", "shapes": ["teapot"]}},
        "choose from airplane",
    ),
    "an altered file": ({"files": {"chair/a.obj": "0" * 64}}, "expected 0000"),
    "a missing file": ({"files": {"chair/none.obj": "0" * 64}}, "chair/none.obj is missing"),
    "a class without an index": (
        {"layout": {"type": "shapenet-core", "labels": {"1": 3}, "shapes": {"2": ["a"]}}},
        "have no index in `labels`",
    ),
    "colours": ({"alpha": "refuse"}, "meaningless for shapes"),
    "an unknown key": ({"colour": "red"}, "unknown key `colour`"),
    "another kind": ({"kind": "shape"}, "kind"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(write, case):
    changes, complaint = WRONG[case]
    with pytest.raises(UserError, match=complaint):
        opened(write(**changes))


def test_two_files_of_one_shape_an_empty_folder_and_an_unknown_name_are_clear_errors(write, tmp_path):
    trimesh.creation.box().export(tmp_path / "cup/b.ply")
    with pytest.raises(UserError, match="two files give the shape 'cup/b'"):
        opened(write())
    for path in tmp_path.rglob("*.*"):
        path.unlink()
    with pytest.raises(UserError, match="no file that fits the layout `mesh-folder`"):
        opened(write())
    with pytest.raises(UserError, match="there are embedded-shapes"):
        load_shapes("embedded-shape")


def test_listed_hashes_are_verified(write, tmp_path):
    digest = hashlib.sha256((tmp_path / "chair/a.obj").read_bytes()).hexdigest() if write() else ""
    (shape,) = opened(write(files={"chair/a.obj": digest})).shapes
    assert shape.id == "chair/a"


def test_spec_and_shapes_are_read_without_torch():
    code = (
        "import sys, assay.tasks.srvr.shapes, assay.tasks.srvr.task, assay.tasks.srvr.summary, assay.tasks.srvr.work\n"
        "import assay.tasks.srvr.pictures, assay.tasks.srvr.regrow\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
