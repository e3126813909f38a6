"""Croissant documents of data manifests, held against mlcroissant: valid, with true hashes, and readable."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from assay.data.dataset import open_dataset
from assay.data.manifest import list_manifests, load_manifest
from assay.data.places import locate

mlcroissant = pytest.importorskip("mlcroissant", reason="the extra `export` is not installed")


def read(path):
    """What mlcroissant makes of a file; it raises what it finds wrong."""
    data = mlcroissant.Dataset(jsonld=str(path))
    assert not data.metadata.issues.errors
    return data


@pytest.mark.parametrize("name", [*list_manifests(), "digits-test~fog:3"])
def test_every_manifest_that_ships_is_valid_croissant(name, tmp_path, assay):
    code, _, err = assay("export", name, "--to", "croissant", "--out", tmp_path / "data.json")
    assert code == 0, err
    metadata = read(tmp_path / "data.json").metadata
    manifest = load_manifest(name)
    assert metadata.name == manifest.name
    assert metadata.license == [" ".join(manifest.licence.split())]
    assert manifest.title in metadata.description
    assert ("corrupted as they are read" in metadata.description) == ("~" in name)
    if manifest.files != "unlisted":
        assert {each.id: each.sha256 for each in metadata.file_objects} == manifest.files
    assert metadata.distribution


def test_a_file_s_address_is_its_own_where_the_hash_is_of_what_it_serves(tmp_path, assay):
    assay("export", "mnist-test", "--to", "croissant", "--out", tmp_path / "mnist.json")
    for each in read(tmp_path / "mnist.json").metadata.file_objects:
        assert each.content_url == each.id  # the hash is of the unpacked file, the address serves it packed
        assert each.same_as == [load_manifest("mnist-test").urls[each.id]]


def test_a_run_s_data_are_named_with_the_hash_that_it_used(finished, results, tmp_path, assay):
    code, _, _ = assay("export", finished, "--to", "croissant", "--out", tmp_path / "o")
    assert code == 0
    files = sorted((tmp_path / "o").iterdir())
    used = {each.document.data.name: each.document.data.sha256 for each in results.values()}
    assert [file.name for file in files] == sorted(f"{name}-{sha[:8]}.json" for name, sha in used.items())
    for file in files:
        metadata = read(file).metadata
        assert used[metadata.name] in metadata.description
        source = locate(load_manifest(metadata.name), [])
        for each in metadata.file_objects:
            assert hashlib.sha256(source.path(each.id).read_bytes()).hexdigest() == each.sha256


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def pictures(tmp_path):
    """Two classes of pictures with their manifest; gives the manifest's path."""
    rng = np.random.default_rng(0)
    for name in ("n1/a.png", "n1/b.png", "n2/c.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8)).save(path)
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(
        "schema: 1\nname: mine\ntitle: Mine\nlabel_space: mine\nnum_classes: 2\nlicence: mine\nsource: made here\n"
        "get: ask\nlocation: {folder: pictures}\nlayout: {type: folder-per-class, classes: [n2, n1]}\nfiles: unlisted\n"
    )
    return manifest


def test_a_folder_s_pictures_and_labels_are_read_by_mlcroissant_as_by_assay(pictures, assay):
    out = pictures.parent / "pictures" / "croissant.json"
    code, _, err = assay("export", pictures, "--to", "croissant", "--out", out)
    assert code == 0, err
    data = read(out)
    labels = {each["classes/folder"]: each["classes/label"] for each in data.records("classes")}
    assert labels == {"n2": 0, "n1": 1}
    ours = open_dataset(load_manifest(str(pictures)))
    theirs = sorted(
        (labels[_text(each["images/folder"])], np.asarray(each["images/picture"]).tobytes())
        for each in data.records("images")
    )
    assert theirs == sorted((sample.label, ours.image(sample).tobytes()) for sample in ours.samples)
    hashes = {each.id: each.sha256 for each in data.metadata.file_objects}
    for name, sha256 in hashes.items():
        path = pictures.parent / "pictures" / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert sorted(hashes) == ["n1/a.png", "n1/b.png", "n2/c.png"]


def test_a_data_set_is_no_run(tmp_path, assay):
    code, _, err = assay("export", "digits", "--to", "croissant", "--model", "m", "--out", tmp_path / "o")
    assert (code, "is a data set, not a run" in err) == (2, True)
    code, _, err = assay("export", "digts", "--to", "croissant", "--out", tmp_path / "o")
    assert (code, "did you mean digits" in err) == (2, True)
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
