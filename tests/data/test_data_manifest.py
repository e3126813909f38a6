import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from manifest_documents import manifest_document

from assay.common.errors import UserError
from assay.common.validation import validate
from assay.data.manifest import DataManifest, list_manifests, load_manifest

SHIPPED = {
    "foolbox-imagenet20", "foolbox-cifar10", "foolbox-cifar100", "foolbox-mnist", "foolbox-fashion-mnist",
    "digits", "nips2017-dev300", "mnist-test", "mnist-train", "fashion-mnist-test", "fashion-mnist-train",
    "cifar10-test", "cifar10-test100", "cifar10-train4000", "imagenet-val", "imagenet-val-flat",
    "example-folder-per-class",
}  # fmt: skip


def document(**changes: object) -> dict[str, object]:
    archive = {"layout": {"type": "npz", "file": "a.npz"}, "files": {"a.npz": "0" * 64}}
    return manifest_document(**(archive | changes))


def test_every_promised_manifest_is_shipped_under_its_own_name() -> None:
    names = list_manifests()
    assert set(names) >= SHIPPED
    assert names == sorted(names)
    assert [load_manifest(name).name for name in names] == names


def test_imagenet_folders_are_the_thousand_wnids_in_sorted_order() -> None:
    layout = load_manifest("imagenet-val").layout
    classes = layout.classes  # type: ignore[union-attr]
    assert len(classes) == 1000
    assert list(classes) == sorted(classes)
    assert (classes[0], classes[243], classes[999]) == ("n01440764", "n02108422", "n15075141")


def test_unknown_name_is_told_the_nearest_ones() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'folbox-imagenet20'.*foolbox-imagenet20"):
        load_manifest("folbox-imagenet20")


@pytest.mark.parametrize("spec_exists", [True, False])
def test_relative_paths_start_at_the_spec_that_names_them(tmp_path: Path, spec_exists: bool) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/own.yaml").write_text(yaml.safe_dump(document()))
    spec = tmp_path / "specs" / "spec.yaml"
    if spec_exists:
        spec.write_text("")
    manifest = load_manifest("../data/own.yaml", relative_to=spec)
    assert manifest.name == "mine"
    assert manifest.folder is not None
    assert manifest.folder.resolve() == tmp_path / "data"


def test_missing_manifest_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        load_manifest("none.yaml", relative_to=tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"licnece": "x"}, "unknown key `licnece`"),
        ({"schema": 2}, "schema"),
        ({"num_classes": 0}, "num_classes"),
        ({"num_classes": "3"}, "num_classes"),
        ({"label_space": "cifar-10"}, "label space cifar-10 has 10 classes, not 3"),
        ({"files": {"a.npz": "abc"}}, "own.yaml: `files.a.npz`: "),
        ({"files": {}}, "own.yaml: `files`: "),
        ({"files": "unlsted"}, "own.yaml: `files`: Input should be 'unlisted' (got 'unlsted')"),
        ({"files": {"../a.npz": "0" * 64}}, "without `..`"),
        ({"files": {"/a.npz": "0" * 64}}, "relative path"),
        ({"files": {"b.npz": "0" * 64}}, "'a.npz' is named but not listed"),
        ({"urls": {"b.npz": "https://example.org/b.npz"}}, "'b.npz' is named but not listed"),
        ({"urls": {"a.npz": "file:///etc/passwd"}}, "urls"),
        ({"layout": {"type": "pickle", "file": "a.npz"}}, "layout"),
        ({"layout": {"type": "npz"}}, "layout.file` is missing"),
        ({"location": {"folder": "../x"}}, "without `..`"),
        ({"location": {"package": "os.path"}}, "location.package"),
        ({"channels": 4}, "channels"),
        ({"alpha": "shake"}, "alpha"),
        (
            {"layout": {"type": "folder-per-class", "classes": ["a", "b"]}, "files": "unlisted"},
            "names 2 classes",
        ),
        (
            {"layout": {"type": "folder-per-class", "classes": ["a", "b", "a"]}, "files": "unlisted"},
            "'a' occurs twice",
        ),
        ({"layout": {"type": "labelled-names", "pattern": "("}}, "regular expression"),
        ({"layout": {"type": "labelled-names", "pattern": ".*"}}, "(?P<label>"),
        ({"layout": {"type": "idx", "images": "i.gz", "labels": "l"}}, "without .gz"),
    ],
)
def test_a_wrong_key_is_one_sentence_with_file_and_key(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(DataManifest, document(**change), "own.yaml")
    assert str(caught.value).startswith("own.yaml: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_list_that_is_missing_is_named(tmp_path: Path) -> None:
    own = document(layout={"type": "folder-per-class", "classes": "wnids.txt"}, files="unlisted")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    with pytest.raises(UserError, match=r"layout\.classes.*wnids\.txt"):
        load_manifest(str(tmp_path / "own.yaml"))


def test_a_class_list_in_a_file_is_the_same_as_one_written_out(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\nemu\n")
    identities = set()
    for classes in ("names.txt", ["cat", "dog", "emu"]):
        own = document(layout={"type": "folder-per-class", "classes": classes}, files="unlisted")
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
        identities.add(load_manifest(str(tmp_path / "own.yaml")).identity_sha256({"cat/1.png": "0" * 64}))
    assert len(identities) == 1


#: Every key of a manifest, on its side: what changes a data set's hash, and what must not.
ANSWER = {"schema_version", "label_space", "num_classes", "channels", "alpha", "cmyk", "layout", "files"}
# In the hash where a picture needs them: test_data_conversions.py.
WHERE_NEEDED = {"to_grey", "deep"}
# In the hash of the opened data set: test_data_corrupted.py.
OF_EVERY_PICTURE = {"corruption"}
PROSE = {"name", "title", "licence", "source", "get", "location", "urls", "archives"}


def test_every_field_is_identity_or_prose() -> None:
    assert set(DataManifest.model_fields) == ANSWER | WHERE_NEEDED | OF_EVERY_PICTURE | PROSE


@pytest.mark.parametrize(
    ("change", "is_identity"),
    [
        ({"label_space": "other"}, True),
        ({"num_classes": 4}, True),
        ({"channels": 1}, True),
        ({"alpha": "composite"}, True),
        ({"cmyk": "convert"}, True),
        ({"layout": {"type": "npz", "file": "a.npz", "labels": "y"}}, True),
        ({"name": "other"}, False),
        ({"title": "other"}, False),
        ({"licence": "other"}, False),
        ({"source": "other"}, False),
        ({"get": "other"}, False),
        ({"location": {"folder": "x"}}, False),
        ({"urls": {"a.npz": "https://example.org/a.npz"}}, False),
        ({"archives": [{"url": "https://example.org/a.zip", "hash": f"md5:{'0' * 32}"}]}, False),
    ],
)
def test_identity_changes_with_answers_only(change: dict[str, object], is_identity: bool) -> None:
    hashes = {"a.npz": "0" * 64}
    before = validate(DataManifest, document(), "a").identity_sha256(hashes)
    after = validate(DataManifest, document(**change), "a").identity_sha256(hashes)
    assert (before != after) == is_identity


def test_listing_and_loading_import_no_torch() -> None:
    program = (
        "import sys, assay.data.dataset; from assay.data.manifest import list_manifests, load_manifest;"
        "[load_manifest(n) for n in list_manifests()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
