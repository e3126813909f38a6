"""Data sets that say where a picture's object is, each in a small folder made in its public layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from annotated_folders import WNIDS, flowers17, picture, tiny_imagenet
from assay.common.errors import UserError
from assay.data.dataset import Dataset, ImageError, open_dataset
from assay.data.manifest import load_manifest


def opened(name: str, root: Path) -> Dataset:
    return open_dataset(load_manifest(name), [root])


# --- Tiny-ImageNet-200


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_imagenet(tmp_path)


def test_tiny_imagenet_train(tiny: Path) -> None:
    data = opened("tiny-imagenet-train", tiny.parent)
    assert len(data.samples) == 201
    assert [sample.label for sample in data.samples] == [*range(200), 199]  # in the order of sorted ids
    assert data.image(data.samples[-1])[0, 0].tolist() == [200, 200, 200]
    assert data.has_masks
    mask = data.mask(data.samples[0])
    assert mask is not None
    assert (mask.shape, mask.dtype, int(mask.sum())) == ((64, 64), np.uint8, 10 * 61)  # both ends inside
    assert mask[2:63, 1:11].all()
    whole = data.mask(data.samples[-1])
    assert whole is not None
    assert whole.all()  # a box that passes the edge ends there


def test_tiny_imagenet_val(tiny: Path) -> None:
    data = opened("tiny-imagenet-val", tiny.parent)
    assert [(sample.unit_id, sample.label) for sample in data.samples] == [
        ("val/images/val_0.JPEG", 7),
        ("val/images/val_1.JPEG", 3),
    ]
    sizes = [mask.sum() for mask in map(data.mask, data.samples) if mask is not None]
    assert sizes == [45 * 31, 1]


def test_a_box_is_part_of_the_data_s_identity(tiny: Path) -> None:
    before = opened("tiny-imagenet-val", tiny.parent).sha256
    table = tiny / "val/val_annotations.txt"
    table.write_text(table.read_text().replace("\t5\t5\t5\t5", "\t5\t5\t6\t6"))
    assert opened("tiny-imagenet-val", tiny.parent).sha256 != before


def test_a_box_outside_the_picture_is_that_picture_s_error(tiny: Path) -> None:
    table = tiny / "val/val_annotations.txt"
    table.write_text(table.read_text().replace("\t5\t5\t5\t5", "\t64\t5\t70\t6"))
    data = opened("tiny-imagenet-val", tiny.parent)
    with pytest.raises(
        ImageError, match=r"val_1\.JPEG: its box \(64, 5, 70, 6\) lies outside its 64 x 64 pixels"
    ):
        data.mask(data.samples[1])


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = root / name
        path.write_text(path.read_text().replace(old, new))

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


BOXES = f"train/{WNIDS[0]}/{WNIDS[0]}_boxes.txt"


@pytest.mark.parametrize(
    ("split", "spoil", "complaint"),
    [
        ("train", remove(BOXES), f"the file {BOXES} is missing"),
        ("train", change(BOXES, "\t62", ""), r"_boxes\.txt, line 1: has 4 columns where 5 should stand"),
        ("train", change(BOXES, "\t62", "\tx"), r"line 1: the box '1 2 10 x' is not four whole numbers"),
        ("train", change(BOXES, "\t10", "\t0"), r"line 1: the box '1 2 0 62' ends before it begins"),
        ("train", change(BOXES, "_0.J", "_9.J"), r"n00000000_0\.JPEG has no line in its box table"),
        ("train", remove(f"train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG"), r"_0\.JPEG has a box but is missing"),
        ("train", change("wnids.txt", WNIDS[5], "cat"), r"wnids\.txt: 'cat' is not a WordNet id"),
        (
            "val",
            change("val/val_annotations.txt", WNIDS[3], "n99999999"),
            "the class 'n99999999' is not in wnids",
        ),
        ("val", change("val/val_annotations.txt", "val_1", "val_2"), r"val_1\.JPEG has no line"),
        ("val", remove("val/val_annotations.txt"), r"val_annotations\.txt is missing"),
    ],
)
def test_bad_tiny_imagenet(tiny: Path, split: str, spoil: Callable[[Path], None], complaint: str) -> None:
    spoil(tiny)
    with pytest.raises(UserError, match=complaint):
        opened(f"tiny-imagenet-{split}", tiny.parent)


# --- Oxford Flower-17


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return flowers17(tmp_path)


def test_flowers_are_80_a_class_and_a_part_of_them_is_segmented(flowers: Path) -> None:
    data = opened("oxford-flowers17-train", flowers.parent)
    assert [(sample.unit_id[-8:-4], sample.label) for sample in data.samples] == [
        ("0001", 0), ("0080", 0), ("0081", 1), ("1360", 16)
    ]  # fmt: skip
    assert data.has_masks
    masks = [data.mask(sample) for sample in data.samples]
    assert [mask is None for mask in masks] == [True, True, False, True]
    assert masks[2] is not None
    assert masks[2].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert [sample.label for sample in opened("oxford-flowers17-val", flowers.parent).samples] == [1]
    assert [sample.label for sample in opened("oxford-flowers17-test", flowers.parent).samples] == [0]


def test_flowers_without_trimaps_are_a_data_set_without_masks(flowers: Path) -> None:
    (flowers / "trimaps/image_0081.png").unlink()
    data = opened("oxford-flowers17-train", flowers.parent)
    assert not data.has_masks
    assert data.mask(data.samples[2]) is None


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"val1": [[1]]}, "has no part 'trn1'; it has val1"),
        ({"trn1": [[0]]}, r"part trn1: expected numbers of pictures in 1\.\.1360"),
        ({"trn1": [[1361]]}, r"part trn1: expected numbers of pictures"),
        ({"trn1": [[1.5]]}, r"part trn1: expected numbers of pictures"),
        ({"trn1": "abc"}, r"part trn1: expected numbers of pictures"),
        ({"trn1": [[1, 1]]}, r"'jpg/image_0001.jpg' occurs 2 times"),
        ({"trn1": [[3]]}, r"image_0003\.jpg is missing"),
    ],
)
def test_bad_divisions(flowers: Path, parts: dict[str, object], complaint: str) -> None:
    savemat(flowers / "datasplits.mat", parts)
    with pytest.raises(UserError, match=complaint):
        opened("oxford-flowers17-train", flowers.parent)


def test_what_is_no_matlab_file_is_refused(flowers: Path) -> None:
    (flowers / "datasplits.mat").write_bytes(b"\x80\x04 a pickle is never read" * 20)
    with pytest.raises(UserError, match="is not a MATLAB file"):
        opened("oxford-flowers17-train", flowers.parent)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: picture(path, (5, 5)), r"is \(5, 5\) where the picture is \(2, 3\)"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:60]),
            r"trimaps/image_0081\.png: cannot be decoded",
        ),
        (lambda path: picture(path, (2, 3), 255), r"has no pixel of the flower's colour, RGB \(128, 0, 0\)"),
    ],
    ids=["size", "bytes", "colours"],
)
def test_a_bad_trimap_is_that_picture_s_error(
    flowers: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(flowers / "trimaps/image_0081.png")
    data = opened("oxford-flowers17-train", flowers.parent)
    with pytest.raises(ImageError, match=rf"image jpg/image_0081\.jpg.*{complaint}"):
        data.mask(data.samples[2])


# --- the others


def test_most_data_sets_have_no_masks(shared_data: Path) -> None:
    data = open_dataset(load_manifest("nips2017-dev300"), [shared_data])
    assert not data.has_masks
    assert data.mask(data.samples[0]) is None


CIFAR10 = "cifar-10-batches-bin"
CIFAR100 = "cifar-100-binary"


@pytest.mark.parametrize(
    ("name", "files", "coarse"),
    [
        ("cifar10-train", [f"{CIFAR10}/data_batch_{number}.bin" for number in range(1, 6)], []),
        ("cifar10-test", [f"{CIFAR10}/test_batch.bin"], []),
        ("cifar100-train", [f"{CIFAR100}/train.bin"], [19]),
        ("cifar100-test", [f"{CIFAR100}/test.bin"], [19]),
    ],
)
def test_cifar_in_its_public_binary_layout(
    name: str, files: list[str], coarse: list[int], tmp_path: Path
) -> None:
    """Two records a batch, the second with one red plane; of CIFAR-100's two labels the fine one counts."""
    highest = 99 if coarse else 9
    for number, file in enumerate(files):
        dark = bytes([*coarse, number, *[0] * 3072])
        red = bytes([*coarse, highest, *[255] * 1024, *[0] * 2048])
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(dark + red)
    data = _of_any_bytes(name, tmp_path)
    assert [sample.label for sample in data.samples] == [
        label for number in range(len(files)) for label in (number, highest)
    ]
    assert not data.image(data.samples[0]).any()
    assert (data.image(data.samples[1]) == [255, 0, 0]).all()
    assert not data.has_masks


@pytest.mark.parametrize(
    ("name", "file"),
    [("cifar10-test", f"{CIFAR10}/test_batch.bin"), ("cifar100-test", f"{CIFAR100}/test.bin")],
)
def test_a_cifar_file_of_the_other_s_records_is_refused(name: str, file: str, tmp_path: Path) -> None:
    other = 3073 if name == "cifar100-test" else 3074
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(bytes(2 * other))
    with pytest.raises(UserError, match=rf"{2 * other} bytes are no whole number of {6147 - other}-byte"):
        _of_any_bytes(name, tmp_path)


def _of_any_bytes(name: str, root: Path) -> Dataset:
    """The shipped data set, though its files are not the published ones."""
    return open_dataset(load_manifest(name).model_copy(update={"files": "unlisted"}), [root])


def test_imagenet_train_is_a_folder_a_wordnet_id(tmp_path: Path) -> None:
    for wnid in ("n01440764", "n15075141"):
        picture(tmp_path / f"imagenet/train/{wnid}/{wnid}_1.JPEG")
    assert [sample.label for sample in opened("imagenet-train", tmp_path).samples] == [0, 999]
