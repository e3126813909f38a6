"""The shipped manifests on the real files, where this machine has them."""

import csv
import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest

DEBIAN = Path("/usr/share/datasets")


def test_nips_images_labels_and_targets(shared_data: Path) -> None:
    dataset = open_dataset(load_manifest("nips2017-dev300"), [shared_data])
    rows = list(csv.DictReader((shared_data / "nips2017_dev" / "labels.csv").open()))
    expected = [(row["file"], int(row["label"]), int(row["target_class"])) for row in rows]
    assert [(s.unit_id, s.label, s.target) for s in dataset.samples] == expected
    assert len(expected) == 300
    first = dataset.samples[0]
    with Image.open(shared_data / "nips2017_dev" / first.unit_id) as image:
        np.testing.assert_array_equal(dataset.image(first), np.asarray(image))


def test_a_users_own_manifest_reads_nips_images_by_relative_path(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "images").mkdir(parents=True)
    for row in list(csv.DictReader((shared_data / "nips2017_dev" / "labels.csv").open()))[:3]:
        shutil.copy(shared_data / "nips2017_dev" / row["file"], tmp_path / "pictures" / row["file"])
    table = (shared_data / "nips2017_dev" / "labels.csv").read_text()
    (tmp_path / "pictures" / "labels.csv").write_text("\n".join(table.splitlines()[:4]))
    (tmp_path / "pictures" / "mine.yaml").write_text(
        "{schema: 1, name: mine, title: Mine, label_space: imagenet-1k, num_classes: 1000,"
        " licence: CC BY 2.0, source: three of them, get: copy them, files: unlisted,"
        " layout: {type: table, table: labels.csv, target_column: target_class}}"
    )
    manifest = load_manifest("pictures/mine.yaml", relative_to=tmp_path / "spec.yaml")
    dataset = open_dataset(manifest, [])
    assert len(dataset.samples) == 3
    assert dataset.image(dataset.samples[2]).shape == (299, 299, 3)


@pytest.mark.parametrize(
    ("name", "count", "labels"),
    [("mnist-test", 10_000, [7, 2, 1, 0, 4]), ("mnist-train", 60_000, [5, 0, 4, 1, 9])],
)
def test_mnist(shared_data: Path, name: str, count: int, labels: list[int]) -> None:
    dataset = open_dataset(load_manifest(name), [shared_data])
    assert len(dataset.samples) == count
    assert [sample.label for sample in dataset.samples[:5]] == labels
    assert dataset.image(dataset.samples[0]).shape == (28, 28, 1)


def test_mnist_unpacked_is_the_same_data(shared_data: Path, tmp_path: Path) -> None:
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(gzip.decompress((shared_data / "mnist" / f"{name}.gz").read_bytes()))
    manifest = load_manifest("mnist-test")
    assert open_dataset(manifest, [tmp_path]).sha256 == open_dataset(manifest, [shared_data]).sha256


@pytest.mark.parametrize(("name", "labels"), [("test", [9, 2, 1, 1, 6]), ("train", [9, 0, 0, 3, 0])])
def test_fashion_mnist(name: str, labels: list[int]) -> None:
    if not (DEBIAN / "fashion-mnist").is_dir():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    dataset = open_dataset(load_manifest(f"fashion-mnist-{name}"), [DEBIAN])
    assert [sample.label for sample in dataset.samples[:5]] == labels


@pytest.mark.parametrize(
    ("name", "count", "labels"),
    [("cifar10-test100", 100, [3, 8, 8, 0, 6]), ("cifar10-train4000", 4000, [6, 9, 9, 4, 1])],
)
def test_cifar_subsets(shared_data: Path, name: str, count: int, labels: list[int]) -> None:
    dataset = open_dataset(load_manifest(name), [shared_data])
    assert len(dataset.samples) == count
    assert [sample.label for sample in dataset.samples[:5]] == labels


def test_two_sources_of_the_cifar_test_images_agree(shared_data: Path) -> None:
    foolbox = open_dataset(load_manifest("foolbox-cifar10"), [])
    subset = open_dataset(load_manifest("cifar10-test100"), [shared_data])
    for ours, theirs in zip(foolbox.samples, subset.samples, strict=False):
        assert ours.label == theirs.label
        np.testing.assert_array_equal(foolbox.image(ours), subset.image(theirs))
