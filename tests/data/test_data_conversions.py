"""Pictures of every mode are read as torchvision reads them, and what was converted or left out is counted."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from manifest_documents import make_manifest
from PIL import Image, ImageCms
from torchvision.datasets.folder import default_loader

from annotated_folders import tiny_imagenet
from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.layouts.base import Contents
from assay.data.manifest import DataManifest, load_manifest
from assay.data.pixels import ColourPolicy, to_pixels

Writer = Callable[..., DataManifest]
MODES = [
    "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16", "I;16L", "I;16B",
]  # fmt: skip
FORMATS = ["bmp", "jpg", "pgm", "png", "ppm", "tiff", "webp"]
FOLDERS = {"layout": {"type": "folder-per-class", "classes": ["cat", "dog", "emu"]}}


def of_mode(mode: str) -> Image.Image:
    """Noise of 9 x 8 pixels."""
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (8, 9), dtype=np.uint16)
    colours = Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8))
    if mode.startswith("I;16"):
        return Image.frombytes(mode, (9, 8), deep.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "I":
        return Image.fromarray(deep.astype(np.int32) - 100)
    if mode == "F":
        return Image.fromarray((deep / 200 - 20).astype(np.float32))
    if mode == "LAB":
        profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        return ImageCms.profileToProfile(colours, *profiles, outputMode="LAB")
    if mode in ("LA", "RGBA", "PA"):
        alpha = Image.fromarray(rng.integers(0, 256, (8, 9), dtype=np.uint8))
        colours.putalpha(alpha)
    return colours.convert(mode)


def stored(image: Image.Image, path: Path, **options: object) -> Path | None:
    try:
        image.save(path, **options)
    except (OSError, KeyError, ValueError):
        return None  # the format has no such mode
    return path


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_every_format_is_read_as_torchvision_s_image_folder_reads_it(
    tmp_path: Path, mode: str
) -> None:
    kept = [path for kind in FORMATS if (path := stored(of_mode(mode), tmp_path / f"a.{kind}"))]
    assert kept
    for path in kept:
        np.testing.assert_array_equal(
            to_pixels(Image.open(path), ColourPolicy()), np.asarray(default_loader(path))
        )


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_transparent_colour_is_read_as_torchvision_reads_it(tmp_path: Path, mode: str) -> None:
    image = of_mode(mode)
    path = tmp_path / "a.png"
    image.save(path, transparency=image.getpixel((0, 0)))
    np.testing.assert_array_equal(
        to_pixels(Image.open(path), ColourPolicy()), np.asarray(default_loader(path))
    )


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
def test_an_orientation_in_the_metadata_is_applied_and_counted_as_torchvision_applies_it(
    tmp_path: Path, write_manifest: Writer, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = tmp_path / f"p0_0.{kind}"
    of_mode("RGB").save(path, exif=exif)
    layout = {"type": "labelled-names", "pattern": r"p\d+_(?P<label>\d+)\.\w+"}
    data = open_dataset(write_manifest(layout=layout), [])
    pixels = data.image(data.samples[0])
    np.testing.assert_array_equal(pixels, np.asarray(default_loader(path)))
    turned_by_pillow = pixels.shape == (9, 8, 3)
    assert turned_by_pillow == (kind == "tiff")
    assert data.facts.converted == (
        {} if turned_by_pillow else {"orientation in the metadata not applied": 1}
    )


def test_damaged_metadata_are_no_damaged_picture(tmp_path: Path, write_manifest: Writer) -> None:
    of_mode("RGB").save(tmp_path / "p0_0.png", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    data = open_dataset(write_manifest(), [])
    assert len(data.samples) == 1
    assert not data.facts.document()


COUNTED = {
    "CMYK": ("jpg", "CMYK to RGB"),
    "RGBA": ("png", "transparency dropped"),
    "LA": ("png", "transparency dropped"),
    "I;16": ("png", "more than 8 bits, values above 255 cut"),
    "F": ("tiff", "more than 8 bits, values above 255 cut"),
    "YCbCr": ("tiff", "YCbCr to RGB"),
}


@pytest.mark.parametrize("mode", COUNTED)
def test_a_converted_picture_is_counted_and_changes_the_hash(
    tmp_path: Path, write_manifest: Writer, mode: str
) -> None:
    """Before, such a picture was an error record: the key of those records must not be that of today's."""
    kind, words = COUNTED[mode]
    of_mode("RGB").save(tmp_path / "p0_0.png")
    of_mode(mode).save(tmp_path / f"p1_1.{kind}")
    layout = {"type": "labelled-names", "pattern": r"p\d+_(?P<label>\d+)\.\w+"}
    data = open_dataset(write_manifest(layout=layout), [])
    assert data.facts.converted == {words: 1}
    assert data.sha256 != data.manifest.identity_sha256(hashes_in(tmp_path))


def hashes_in(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("p*")}


def test_data_without_such_pictures_keep_the_hash_of_before(tmp_path: Path, write_manifest: Writer) -> None:
    for row, mode in enumerate(["RGB", "L", "P", "1"]):
        of_mode(mode).save(tmp_path / f"p{row}_0.png")
    data = open_dataset(write_manifest(), [])
    assert not data.facts.document()
    assert data.sha256 == data.manifest.identity_sha256(hashes_in(tmp_path))


def test_a_manifest_s_hash_is_that_of_before() -> None:
    """Published results are found by this hash, written out by the release in which transparency was refused."""
    hashes = {"p0_0.png": "0" * 64}
    assert make_manifest().identity_sha256(hashes) == (
        "d76992d9269c57472b524ec07eb7f26808a1d126dcdb0f183c867ef7ec0a5839"
    )
    assert make_manifest(alpha="composite", cmyk="convert").identity_sha256(hashes) == (
        "5310268e48ecc2116eace5a10866f29dbe217b2eea0aeede29d0419bdc4b1660"
    )


def test_how_deep_pictures_are_read_changes_the_hash_only_where_there_are_some(
    tmp_path: Path, write_manifest: Writer
) -> None:
    of_mode("RGB").save(tmp_path / "p0_0.png")
    of_mode("I;16").save(tmp_path / "p1_0.png")
    hashes = {open_dataset(write_manifest(deep=rule), []).sha256 for rule in ("convert", "scale", "refuse")}
    assert len(hashes) == 3
    (tmp_path / "p1_0.png").unlink()
    hashes = {open_dataset(write_manifest(deep=rule), []).sha256 for rule in ("convert", "scale", "refuse")}
    assert len(hashes) == 1


def clutter(folder: Path) -> None:
    """What users' folders hold besides pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    of_mode("P").save(folder / "animated.gif", save_all=True, append_images=[of_mode("P")])
    (folder / ".DS_Store").write_bytes(b"x")
    of_mode("RGB").save(folder / ".hidden.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        stream, "JPEG"
    )
    (folder / "cut.jpg").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    (folder / "cut.png").write_bytes(whole.getvalue()[:-4000])
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


def test_a_class_folder_s_other_files_are_counted(tmp_path: Path, write_manifest: Writer) -> None:
    for name in ("cat", "dog", "emu"):
        (tmp_path / name).mkdir()
        of_mode("RGB").save(tmp_path / name / "a.png")
    plain = open_dataset(write_manifest(**FOLDERS), [])
    clutter(tmp_path / "cat")
    (tmp_path / "cat" / "notes.txt").write_text("words")
    of_mode("RGB").save(tmp_path / "loose.png")
    data = open_dataset(write_manifest(**FOLDERS), [])
    assert data.facts.left_out == {
        ".gif": 1, ".txt": 1, "hidden": 2, "in no class folder": 1, "unreadable": 5,
    }  # fmt: skip
    assert [sample.unit_id for sample in data.samples] == ["cat/a.png", "dog/a.png", "emu/a.png"]
    assert data.sha256 == plain.sha256, "what is no sample decides no answer"


def test_other_files_of_every_layout_of_pictures_are_counted(tmp_path: Path, write_manifest: Writer) -> None:
    def left_out(folder: Path, **changes: object) -> dict[str, int]:
        return dict(open_dataset(write_manifest(**changes), []).facts.left_out)

    of_mode("RGB").save(tmp_path / "p0_0.png")
    of_mode("RGB").save(tmp_path / "other.png")
    clutter(tmp_path)
    # empty.png, text.jpg, cut.jpg and cut.png are not asked for here; a broken link is none of the folder's pictures
    assert left_out(tmp_path) == {
        ".gif": 1,
        "hidden": 1,
        "name does not match the pattern": 5,
        "unreadable": 1,
    }

    (tmp_path / "labels.txt").write_text(
        "p0_0.png 0\nempty.png 1\ntext.jpg 1\ncut.jpg 1\ncut.png 1\nother.png 2\n"
    )
    flat = {"layout": {"type": "flat-with-labels", "labels": "labels.txt"}}
    assert left_out(tmp_path, **flat) == {".gif": 1, "hidden": 1, "unreadable": 5}

    (tmp_path / "t.csv").write_text("file,label\np0_0.png,0\ncut.jpg,1\n")
    table = {"layout": {"type": "table", "table": "t.csv"}}
    assert left_out(tmp_path, **table) == {".gif": 1, "hidden": 1, "no row in the table": 4, "unreadable": 2}


def test_pictures_that_published_layouts_do_not_take_are_counted(tmp_path: Path) -> None:
    tiny = tiny_imagenet(tmp_path)
    of_mode("P").save(tiny / "val" / "images" / "more.gif")
    data = open_dataset(load_manifest("tiny-imagenet-val"), [tmp_path])
    assert data.facts.left_out == {".gif": 1}

    (tmp_path / "images").mkdir()
    of_mode("RGB").save(tmp_path / "images" / "a.jpg")
    (tmp_path / "index.csv").write_text("image,object,part,texture\na.jpg,1,,\nb.jpg,,,\n")
    (tmp_path / "label.csv").write_text("number,name\n1,cat\n")
    broden = make_manifest(layout={"type": "broden"}, num_classes=3)
    assert open_dataset(broden, [tmp_path]).facts.left_out == {"shows no object or part or texture": 1}


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path, write_manifest: Writer) -> None:
    elsewhere = tmp_path / "store"
    elsewhere.mkdir()
    of_mode("RGB").save(elsewhere / "b.png")
    for name in ("cat", "dog", "emu"):
        (tmp_path / "data" / name).mkdir(parents=True)
        of_mode("RGB").save(tmp_path / "data" / name / "a.png")
    (tmp_path / "data" / "cat" / "more").symlink_to(elsewhere)
    (tmp_path / "data" / "cat" / "round").symlink_to(tmp_path / "data" / "cat")
    data = open_dataset(write_manifest(location={"folder": "data"}, **FOLDERS), [])
    assert [sample.unit_id for sample in data.samples] == [
        "cat/a.png", "cat/more/b.png", "dog/a.png", "emu/a.png",
    ]  # fmt: skip


def test_a_folder_of_files_that_are_no_pictures_is_an_error(tmp_path: Path, write_manifest: Writer) -> None:
    (tmp_path / "p0_0.png").write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures .* can be read"):
        open_dataset(write_manifest(), [])


def test_arrays_are_not_inspected(
    tmp_path: Path, write_manifest: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.array([0, 1]))
    data = open_dataset(write_manifest(layout={"type": "npz", "file": "a.npz"}), [])
    assert not data.facts.document()
    assert Contents(data.samples, data.image).file is None


def test_what_was_seen_of_the_same_contents_is_remembered(tmp_path: Path, write_manifest: Writer) -> None:
    of_mode("CMYK").save(tmp_path / "p0_0.png", "JPEG")
    first = open_dataset(write_manifest(), [])
    memory = Path(os.environ["ASSAY_CACHE"]) / "pictures.json"
    ((key, text),) = json.loads(memory.read_text()).items()
    assert json.loads(text) == {"traits": [["CMYK", False, False, 1]], "unreadable": []}
    del first
    memory.write_text(json.dumps({key: "[]"}))  # damaged: looked at again
    assert open_dataset(write_manifest(), []).facts.converted == {"CMYK to RGB": 1}
