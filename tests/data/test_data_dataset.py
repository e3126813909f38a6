import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_documents import make_manifest
from PIL import Image

from assay.common.errors import UserError
from assay.data import hashes
from assay.data.dataset import ImageError, is_available, open_dataset
from assay.data.manifest import DataManifest, load_manifest

Writer = Callable[..., DataManifest]


def picture(path: Path, level: int = 0, mode: str = "RGB") -> str:
    """A 2 x 2 picture at ``path``; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (2, 2), level if mode == "L" else (level, 0, 0, 9)[: len(mode)]).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def age(path: Path, seconds: float = 60) -> None:
    """Makes a file old enough for its hash to be remembered."""
    then = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(then, then))


def test_foolbox_samples_have_their_labels_and_need_no_root() -> None:
    dataset = open_dataset(load_manifest("foolbox-imagenet20"), [])
    assert [sample.label for sample in dataset.samples] == [
        243, 559, 438, 990, 949, 853, 609, 609, 915, 455, 541, 630, 741, 471, 129, 99, 251, 22, 317, 305,
    ]  # fmt: skip
    for sample in dataset.samples:
        pixels = dataset.image(sample)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3


@pytest.mark.parametrize("name", ["imagenet20", "cifar10", "cifar100", "mnist", "fashion-mnist"])
def test_foolbox_agrees_on_every_picture_and_label(name: str) -> None:
    utils = pytest.importorskip("foolbox.utils")
    dataset = open_dataset(load_manifest(f"foolbox-{name}"), [])
    prefix = {"imagenet20": "imagenet", "fashion-mnist": "fashionMNIST"}.get(name, name)
    for row, sample in enumerate(dataset.samples):
        images, labels = utils._samples(prefix, row, 1, (32, 32), "channels_last", (0, 255))
        found = dataset.image(sample)
        if prefix == "imagenet":
            found = np.asarray(Image.fromarray(found).resize((32, 32)))
        assert sample.label == labels[0]
        np.testing.assert_array_equal(found.astype(np.float32), images[0])


levels = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2)), min_size=1, max_size=6)


@given(levels)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hash_is_equal_whether_listed_or_computed_wherever_it_lies(
    tmp_path_factory: pytest.TempPathFactory, contents: list[tuple[int, int]]
) -> None:
    first, second = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    names = [f"p{row}_{label}.png" for row, (_, label) in enumerate(contents)]
    listed = {name: picture(first / name, level) for name, (level, _) in zip(names, contents, strict=True)}
    for name, (level, _) in reversed(list(zip(names, contents, strict=True))):
        picture(second / name, level)
    computed = open_dataset(make_manifest(), [first])
    verified = open_dataset(make_manifest(files=listed, licence="other", title="other"), [second])
    assert computed.sha256 == verified.sha256
    assert computed.samples == verified.samples
    assert [sample.unit_id for sample in computed.samples] == sorted(names)
    assert [sample.label for sample in computed.samples] == [int(name[-5]) for name in sorted(names)]


def test_hash_changes_with_one_pixel_and_with_a_name(tmp_path: Path) -> None:
    picture(tmp_path / "p0_1.png", 5)
    before = open_dataset(make_manifest(), [tmp_path]).sha256
    picture(tmp_path / "p0_1.png", 6)
    after = open_dataset(make_manifest(), [tmp_path]).sha256
    (tmp_path / "p0_1.png").rename(tmp_path / "p0_2.png")
    assert len({before, after, open_dataset(make_manifest(), [tmp_path]).sha256}) == 3


def test_missing_file_says_which_where_looked_and_how_to_get_it(tmp_path: Path) -> None:
    digest = picture(tmp_path / "one" / "p0_1.png")
    manifest = make_manifest(files={"p0_1.png": digest, "p1_2.png": "0" * 64})
    with pytest.raises(UserError) as caught:
        open_dataset(manifest, [tmp_path / "none", tmp_path / "one"])
    for part in ("p1_2.png is missing", str(tmp_path / "none"), str(tmp_path / "one"), "make it again"):
        assert part in str(caught.value)
    assert is_available(manifest, [tmp_path / "one"]) == str(caught.value).replace(
        f"{tmp_path / 'none'}, ", ""
    )


def test_another_hash_says_expected_and_found(tmp_path: Path) -> None:
    found = picture(tmp_path / "p0_1.png")
    with pytest.raises(
        UserError, match=rf"p0_1\.png.*SHA-256 is {found}, expected {'0' * 64}.*make it again"
    ):
        open_dataset(make_manifest(files={"p0_1.png": "0" * 64}), [tmp_path])


def test_a_root_with_another_data_set_s_files_of_the_same_names_hides_none(tmp_path: Path) -> None:
    manifest = make_manifest(files={"p0_1.png": picture(tmp_path / "right/p0_1.png", 1)})
    picture(tmp_path / "wrong/p0_1.png", 2)
    roots = [tmp_path / "wrong", tmp_path / "right"]
    assert open_dataset(manifest, roots).folder == tmp_path / "right"
    with pytest.raises(UserError, match=r"wrong/p0_1.png: is not the file of data set"):
        open_dataset(manifest, [tmp_path / "wrong"])


def test_label_outside_the_label_space_names_its_file(tmp_path: Path) -> None:
    picture(tmp_path / "p0_3.png")
    with pytest.raises(
        UserError, match=r"p0_3\.png: the label 3 lies outside the label space mine \(0\.\.2\)"
    ):
        open_dataset(make_manifest(), [tmp_path])


def test_an_unusable_picture_of_a_listed_set_is_that_samples_error_only(tmp_path: Path) -> None:
    picture(tmp_path / "p0_0.png", 7)
    picture(tmp_path / "p1_0.png", 7, "RGBA")
    (tmp_path / "p2_0.png").write_text("no picture")
    (tmp_path / "p3_0.png").write_bytes(b"")
    listed = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    dataset = open_dataset(make_manifest(alpha="refuse", files=listed), [tmp_path])
    assert dataset.image(dataset.samples[0])[0, 0].tolist() == [7, 0, 0]
    for sample, complaint in zip(
        dataset.samples[1:], ["transparency", "image file", "image file"], strict=True
    ):
        with pytest.raises(ImageError, match=rf"{sample.unit_id}: .*{complaint}"):
            dataset.image(sample)


def test_roots_are_searched_in_the_promised_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_manifest: Writer
) -> None:
    for place in ("given", "variable", "mine"):
        picture(tmp_path / place / "p0_0.png")
    manifest = write_manifest(location={"folder": "mine"})
    assert open_dataset(manifest, []).folder == tmp_path / "mine"
    monkeypatch.setenv("ASSAY_DATA", os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "variable")]))
    assert open_dataset(manifest, []).folder == tmp_path / "variable"
    assert open_dataset(manifest, [tmp_path / "given"]).folder == tmp_path / "given"


def test_a_package_that_is_not_installed_is_said(tmp_path: Path) -> None:
    manifest = make_manifest(location={"package": "no_such_package"}, files={"p0_0.png": "0" * 64})
    with pytest.raises(UserError, match="package no_such_package is not installed"):
        open_dataset(manifest, [tmp_path])
    with pytest.raises(UserError, match="give --data-root or set ASSAY_DATA"):
        open_dataset(manifest, [])


def test_hashes_are_computed_once_and_anew_for_a_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p0_1.png"
    picture(path, 1)
    age(path)
    computed: list[Path] = []
    original = hashes.content_sha256
    monkeypatch.setattr(
        hashes, "content_sha256", lambda path, packed: computed.append(path) or original(path, packed)
    )
    first = open_dataset(make_manifest(), [tmp_path]).sha256
    assert open_dataset(make_manifest(), [tmp_path]).sha256 == first
    assert len(computed) == 1
    picture(path, 2)
    assert open_dataset(make_manifest(), [tmp_path]).sha256 != first


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "p0_1.png"
    picture(path, 1)
    stamp = path.stat().st_mtime_ns
    before = open_dataset(make_manifest(), [tmp_path]).sha256
    picture(path, 2)
    os.utime(path, ns=(stamp, stamp))
    assert open_dataset(make_manifest(), [tmp_path]).sha256 != before


@pytest.mark.parametrize("damage", ["{", "[]", '{"x": 1}', "\x00"])
def test_a_corrupt_memory_is_ignored_and_mended(tmp_path: Path, damage: str) -> None:
    memory = Path(os.environ["ASSAY_CACHE"]) / "file-hashes.json"
    memory.write_text(damage)
    picture(tmp_path / "p0_1.png")
    age(tmp_path / "p0_1.png")
    first = open_dataset(make_manifest(), [tmp_path]).sha256
    assert len(json.loads(memory.read_text())) == 1
    assert open_dataset(make_manifest(), [tmp_path]).sha256 == first
    assert sorted(path.name for path in memory.parent.iterdir()) == [memory.name, "pictures.json"]


def test_an_unwritable_memory_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "p0_1.png")
    age(tmp_path / "p0_1.png")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "file" / "cache"))
    assert len(open_dataset(make_manifest(), [tmp_path]).samples) == 1
