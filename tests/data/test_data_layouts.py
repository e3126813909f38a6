import csv
import gzip
import hashlib
import io
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifest_documents import make_manifest
from PIL import Image

from assay.common.errors import UserError
from assay.data.dataset import Dataset, open_dataset
from assay.data.manifest import DataManifest, load_manifest


def manifest(layout: dict[str, Any], **changes: Any) -> DataManifest:
    return make_manifest(layout=layout, **changes)


def picture(path: Path, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), level).save(path)


def facts(dataset: Dataset) -> list[tuple[str, int, int | None, int]]:
    """Id, label, target and first pixel of every sample."""
    return [(s.unit_id, s.label, s.target, int(dataset.image(s)[0, 0, 0])) for s in dataset.samples]


# --- table

TABLE = {"type": "table", "table": "labels.csv", "target_column": "target"}


def write_table(folder: Path, text: str) -> None:
    for level, name in enumerate(("a.png", "b.png")):
        picture(folder / name, level)
    (folder / "labels.csv").write_text(text)


def test_table_keeps_its_rows_order_and_reads_targets(tmp_path: Path) -> None:
    write_table(tmp_path, "label,file,target\n2,b.png,0\n0,a.png,1\n")
    assert facts(open_dataset(manifest(TABLE), [tmp_path])) == [("b.png", 2, 0, 1), ("a.png", 0, 1, 0)]


def test_table_that_counts_from_one_and_leaves_out_the_suffix(tmp_path: Path) -> None:
    write_table(tmp_path, "file,label,target\na,1,3\nb,3,1\n")
    layout = TABLE | {"first_label": 1, "file_path": "{}.png"}
    assert facts(open_dataset(manifest(layout), [tmp_path])) == [("a.png", 0, 2, 0), ("b.png", 2, 0, 1)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,label,target\na.png,3,0\n", r"row of a\.png: the label 3 lies outside"),
        ("file,label,target\na.png,-1,0\n", r"row of a\.png: the label -1 lies outside"),
        ("file,label,target\na.png,0,7\n", r"row of a\.png: the target 7 lies outside"),
        ("file,label,target\na.png,cat,0\n", r"labels\.csv, line 2: the label is 'cat'"),
        ("file,label,target\na.png\n", r"labels\.csv, line 2: the label is ''"),
        ("file,label,target\na.png,0,1\na.png,0,1\n", r"the id 'a\.png' occurs 2 times"),
        ("file,label,target\n../a.png,0,1\n", r"line 2: the file '\.\./a\.png' is not a relative path"),
        ("file,label,target\nc.png,0,1\n", r"c\.png is missing"),
        ("file,label\na.png,0\n", r"no column 'target'; it has file, label"),
        ("", r"no column 'file'"),
        ("file,label,target\n", "no sample"),
        ("file,label,target\n\xff", r"labels\.csv: is not UTF-8"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, complaint: str) -> None:
    write_table(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=complaint):
        open_dataset(manifest(TABLE), [tmp_path])


def test_table_and_listed_files_must_agree(tmp_path: Path) -> None:
    write_table(tmp_path, "file,label,target\na.png,0,1\n")
    listed = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"b\.png has no row in the table"):
        open_dataset(manifest(TABLE, files=listed), [tmp_path])
    del listed["a.png"], listed["b.png"]
    with pytest.raises(UserError, match=r"a\.png is in the table but not in the manifest"):
        open_dataset(manifest(TABLE, files=listed), [tmp_path])


# --- idx

IDX = {"type": "idx", "images": "images-idx3", "labels": "labels-idx1"}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.array([0, 2, 1, 0], np.uint8)


def test_idx_is_the_same_data_raw_and_packed(tmp_path: Path) -> None:
    hashes = {}
    for form, pack in (("raw", False), ("packed", True)):
        (tmp_path / form).mkdir()
        for name, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
            data = idx(array)
            hashes[name] = hashlib.sha256(data).hexdigest()
            (tmp_path / form / (name + ".gz" * pack)).write_bytes(gzip.compress(data) if pack else data)
    sets = [
        open_dataset(manifest(IDX, channels=1, files=files), [tmp_path / form])
        for form in ("raw", "packed")
        for files in (hashes, "unlisted")
    ]
    assert len({dataset.sha256 for dataset in sets}) == 1
    for dataset in sets:
        assert [sample.label for sample in dataset.samples] == LABELS.tolist()
        assert dataset.samples[3].unit_id == "00003"
        np.testing.assert_array_equal(dataset.image(dataset.samples[1])[..., 0], IMAGES[1])


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (idx(IMAGES)[:-1], idx(LABELS), "holds 23 values where its header says 24"),
        (idx(IMAGES)[:7], idx(LABELS), "is not an idx file"),
        (b"", idx(LABELS), "is not an idx file"),
        (idx(LABELS), idx(LABELS), "in 3 dimension"),
        (idx(IMAGES), idx(LABELS[:3]), "3 labels for 4 images"),
        (idx(IMAGES), idx(LABELS + 1), "labels-idx1, row 1: the label 3 lies outside"),
    ],
)
def test_bad_idx_files(tmp_path: Path, images: bytes, labels: bytes, complaint: str) -> None:
    (tmp_path / "images-idx3").write_bytes(images)
    (tmp_path / "labels-idx1").write_bytes(labels)
    with pytest.raises(UserError, match=complaint):
        open_dataset(manifest(IDX, channels=1), [tmp_path])


def test_rows_of_an_idx_set_are_a_data_set_of_its_own_whose_pictures_keep_their_ids(tmp_path: Path) -> None:
    (tmp_path / "images-idx3").write_bytes(idx(IMAGES))
    (tmp_path / "labels-idx1").write_bytes(idx(LABELS))
    whole = open_dataset(manifest(IDX, channels=1), [tmp_path])
    some = open_dataset(manifest(IDX | {"rows": [1, 3]}, channels=1), [tmp_path])
    assert [(each.unit_id, each.label) for each in some.samples] == [("00001", 2), ("00002", 1)]
    np.testing.assert_array_equal(some.image(some.samples[0])[..., 0], IMAGES[1])
    assert some.sha256 != whole.sha256
    for rows in ([0, 5], [2, 2], [3, 1]):
        with pytest.raises(UserError, match=rf"images-idx3: the manifest's `rows` are .{rows[0]}, .* of 4"):
            open_dataset(manifest(IDX | {"rows": rows}, channels=1), [tmp_path])


def test_a_packed_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "images-idx3.gz").write_bytes(gzip.compress(idx(IMAGES))[:-9])
    (tmp_path / "labels-idx1").write_bytes(idx(LABELS))
    with pytest.raises(UserError, match=r"images-idx3\.gz: cannot be read"):
        open_dataset(manifest(IDX, channels=1), [tmp_path])


# --- cifar-binary


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_binary_planes_and_labels_by_the_published_layout(tmp_path: Path, label_bytes: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 32, 32, 3), np.uint8)
    labels = [0, 1, 2, 1, 0]
    records = [
        bytes([9] * (label_bytes - 1) + [label])
        + b"".join(image[row, :, channel].tobytes() for channel in range(3) for row in range(32))
        for image, label in zip(images, labels, strict=True)
    ]
    (tmp_path / "one.bin").write_bytes(b"".join(records[:3]))
    (tmp_path / "two.bin").write_bytes(b"".join(records[3:]))
    layout = {"type": "cifar-binary", "batches": ["one.bin", "two.bin"], "label_bytes": label_bytes}
    dataset = open_dataset(manifest(layout), [tmp_path])
    assert [sample.label for sample in dataset.samples] == labels
    for image, sample in zip(images, dataset.samples, strict=True):
        np.testing.assert_array_equal(dataset.image(sample), image)


@pytest.mark.parametrize("size", [0, 3072, 3074])
def test_cifar_binary_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "one.bin").write_bytes(bytes(size))
    layout = {"type": "cifar-binary", "batches": ["one.bin"], "label_bytes": 1}
    with pytest.raises(UserError, match=r"one\.bin: \d+ bytes are no whole number of 3073-byte records"):
        open_dataset(manifest(layout), [tmp_path])


# --- npz

NPZ = {"type": "npz", "file": "a.npz"}


def npz(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def test_npz_rows(tmp_path: Path) -> None:
    images = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    npz(tmp_path / "a.npz", images=images, labels=np.array([2, 0]))
    dataset = open_dataset(manifest(NPZ), [tmp_path])
    assert [sample.label for sample in dataset.samples] == [2, 0]
    np.testing.assert_array_equal(dataset.image(dataset.samples[1]), images[1])


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"images": np.zeros((2, 2, 2), np.float32), "labels": np.zeros(2, int)}, "images is float32"),
        ({"images": np.zeros((2, 2, 2, 4), np.uint8), "labels": np.zeros(2, int)}, r"expected uint8"),
        ({"images": np.zeros((2, 2, 2), np.uint8), "labels": np.zeros(3, int)}, r"labels is int64 \(3,\)"),
        ({"images": np.zeros((2, 2, 2), np.uint8), "labels": np.zeros(2)}, "labels is float64"),
        ({"images": np.zeros((2, 2, 2), np.uint8)}, "labels is not a file in the archive"),
        ({"images": np.zeros((2, 2, 2), np.uint8), "labels": np.array([0, 3])}, r"labels\[1\]: the label 3"),
        ({"images": np.array([None]), "labels": np.array([0])}, "archive of plain arrays"),
    ],
)
def test_bad_archives(tmp_path: Path, arrays: dict[str, np.ndarray], complaint: str) -> None:
    npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=complaint):
        open_dataset(manifest(NPZ), [tmp_path])


class _Planted:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "ran"))


def test_a_pickle_in_the_archives_place_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(pickle.dumps(_Planted(tmp_path / "ran.txt")))
    with pytest.raises(UserError, match=r"a\.npz: is not an \.npz archive"):
        open_dataset(manifest(NPZ), [tmp_path])
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize("kept", [0, 4, 100, -30])
def test_a_cut_archive_is_refused(tmp_path: Path, kept: int) -> None:
    npz(tmp_path / "a.npz", images=np.zeros((2, 2, 2), np.uint8), labels=np.zeros(2, int))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.npz"):
        open_dataset(manifest(NPZ), [tmp_path])


# --- folder-per-class and flat-with-labels

FOLDERS = {"type": "folder-per-class"}


def test_folders_are_counted_off_in_sorted_order(tmp_path: Path) -> None:
    for level, name in enumerate(["emu/1.png", "cat/2.png", "dog/sub/3.JPG", "dog/4.png"]):
        picture(tmp_path / name, level)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    picture(tmp_path / "dog" / ".hidden.png")
    found = [(unit_id, label) for unit_id, label, _, _ in facts(open_dataset(manifest(FOLDERS), [tmp_path]))]
    assert found == [("cat/2.png", 0), ("dog/4.png", 1), ("dog/sub/3.JPG", 1), ("emu/1.png", 2)]


def test_a_missing_class_folder_cannot_shift_the_labels(tmp_path: Path) -> None:
    picture(tmp_path / "cat/1.png")
    picture(tmp_path / "emu/1.png")
    with pytest.raises(UserError, match="has 2 class folders where the manifest mine says 3"):
        open_dataset(manifest(FOLDERS), [tmp_path])
    named = manifest(FOLDERS | {"classes": ["cat", "dog", "emu"]})
    assert [sample.label for sample in open_dataset(named, [tmp_path]).samples] == [0, 2]


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "cat/1.png")
    picture(tmp_path / "extra/1.png")
    with pytest.raises(UserError, match="extra: no such class"):
        open_dataset(manifest(FOLDERS | {"classes": ["cat", "dog", "emu"]}), [tmp_path])


def test_only_the_pictures_of_a_list_are_the_data_set_and_every_one_of_them(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        picture(tmp_path / name)
    some = manifest(FOLDERS | {"classes": ["cat", "dog", "emu"], "only": ["dog/3.png", "cat/2.png"]})
    opened = open_dataset(some, [tmp_path])
    assert [(sample.unit_id, sample.label) for sample in opened.samples] == [
        ("cat/2.png", 0),
        ("dog/3.png", 1),
    ]
    assert (
        opened.sha256
        != open_dataset(manifest(FOLDERS | {"classes": ["cat", "dog", "emu"]}), [tmp_path]).sha256
    )
    (tmp_path / "cat/2.png").unlink()
    with pytest.raises(UserError, match=r"the file cat/2\.png is missing"):
        open_dataset(some, [tmp_path])


def test_the_5000_of_imagenet_are_a_list_of_validation_images() -> None:
    listed = load_manifest("imagenet-val5000").layout.only
    assert len(listed) == len(set(listed)) == 5000
    assert all(re.fullmatch(r"n\d{8}/ILSVRC2012_val_000\d{5}\.JPEG", name) for name in listed)
    assert {name[:9] for name in listed} <= set(load_manifest("imagenet-val").layout.classes)


def test_imagenet_validation_as_folders_and_flat_have_the_same_labels(tmp_path: Path) -> None:
    wanted = {"n01440764": 0, "n02108422": 243, "n15075141": 999}
    lines = []
    for row, (wnid, _) in enumerate(reversed(wanted.items())):
        name = f"ILSVRC2012_val_{row:08d}.JPEG"
        picture(tmp_path / "imagenet/val" / wnid / name)
        picture(tmp_path / "flat/imagenet/val" / name)
        lines.append(f"{name} {wnid if row else wanted[wnid]}")
    (tmp_path / "flat/imagenet/val.txt").write_text("\n".join(lines) + "\n\n")
    folders = open_dataset(load_manifest("imagenet-val"), [tmp_path])
    flat = open_dataset(load_manifest("imagenet-val-flat"), [tmp_path / "flat"])
    assert {s.unit_id.split("/")[0]: s.label for s in folders.samples} == wanted
    assert [s.label for s in flat.samples] == [999, 243, 0]


FLAT = {"type": "flat-with-labels", "labels": "labels.txt", "classes": ["cat", "dog", "emu"]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a.png cat\n", r"the image b\.png has no label"),
        ("a.png cat\nb.png 1\nc.png 2\n", r"the image c\.png has a label but is missing"),
        (
            "a.png cat\nb.png cow\n",
            r"labels\.txt, line 2: the label is 'cow'; expected a whole number or a class",
        ),
        ("a.png cat\nb.png\n", r"labels\.txt, line 2: expected a file's name and its label"),
        ("a.png cat\nb.png 3\n", r"line of b\.png: the label 3 lies outside"),
        ("a.png cat\nb.png 1\nb.png 2\n", r"the id 'b\.png' occurs 2 times"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, complaint: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UserError, match=complaint):
        open_dataset(manifest(FLAT), [tmp_path])


def test_labelled_name_that_does_not_match_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    layout = {"type": "labelled-names", "pattern": r"(?P<label>\d)\.png"}
    files = {"x.png": hashlib.sha256((tmp_path / "x.png").read_bytes()).hexdigest()}
    with pytest.raises(UserError, match=r"x\.png: does not match"):
        open_dataset(manifest(layout, files=files), [tmp_path])
    with pytest.raises(UserError, match="no file that fits the layout `labelled-names`"):
        open_dataset(manifest(layout), [tmp_path])


# --- sklearn-digits


def test_digits_agree_with_scikit_learn_and_scale_exactly() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    reference = datasets.load_digits()
    dataset = open_dataset(load_manifest("digits"), [])
    found = np.stack([dataset.image(sample)[..., 0] for sample in dataset.samples])
    np.testing.assert_array_equal(found, np.floor(reference.images * 255 / 16 + 0.5))
    np.testing.assert_array_equal([sample.label for sample in dataset.samples], reference.target)
    assert sorted(set(np.unique(found))) == sorted({int(v * 255 / 16 + 0.5) for v in range(17)})


@pytest.mark.parametrize("value", ["17", "-1", "1.5", "x"])
def test_bad_digits(tmp_path: Path, value: str) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([value] + ["0"] * 63 + ["1"])
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(stream.getvalue().encode()))
    with pytest.raises(UserError, match=r"d\.csv\.gz"):
        open_dataset(manifest({"type": "sklearn-digits", "file": "d.csv.gz"}, channels=1), [tmp_path])
