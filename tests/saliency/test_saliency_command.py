"""`assay saliency` and `assay alignment` as a user meets them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.saliency.picture import Caption, draw, overlay, strength
from assay.saliency.settings import METHODS


@pytest.fixture
def assay(assay, tmp_path, monkeypatch):
    """The command line in an empty folder with a digit."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)).save("digit.png")
    return assay


def test_a_picture_of_one_method(assay) -> None:
    code, out, _ = assay(
        "saliency", "digits_fnn", "digit.png", "--method", "gradient", "--target", "3", "--out", "map.png"
    )
    assert code in (0, None)
    assert out.startswith("map.png: Gradient of digits_fnn for class 3 (")
    with Image.open("map.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height  # the image, the map, the overlay


def test_every_method_that_can_and_why_others_cannot(assay) -> None:
    code, out, _ = assay(
        "saliency", "digits_fnn", "00007", "--data", "digits", "--all", "--out", "new/folder/all.png"
    )
    assert code in (0, None)
    left_out = [line.split(":")[1].strip() for line in out.splitlines() if line.startswith("left out:")]
    assert left_out == [name for name in METHODS if "cam" in name]
    assert Path("new/folder/all.png").is_file()


def test_settings_reach_the_method(assay) -> None:
    asked = ("saliency", "digits_fnn", "digit.png", "--method", "smoothgrad", "--target", 0)
    for name, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1)):
        code, _, _ = assay(*asked, "--set", "samples=3", "--set", f"seed={seed}", "--out", name)
        assert code in (0, None)
    first, same, other = (Path(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert first == same != other


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["digit.png", "--method", "gradcam"], "unknown saliency method 'gradcam'; did you mean grad_cam"),
        (["digit.png"], "--method: name one of gradient"),
        (["digit.png", "--all", "--method", "gradient"], "--method: name one of"),
        (["absent.png", "--method", "gradient"], "absent.png: no such file"),
        (["text.png", "--method", "gradient"], "text.png: cannot be read as a picture"),
        (["narrow.png", "--method", "gradient"], "does not enlarge, the image has 8 x 7"),
        (
            ["digit.png", "--method", "gradient", "--target", "10"],
            "--target 10: digits_fnn has the classes 0..9",
        ),
        (["digit.png", "--method", "gradient", "--target", "-1"], "--target -1"),
        (["digit.png", "--method", "grad_cam"], "no convolution over a spatial map"),
        (["digit.png", "--method", "smoothgrad", "--set", "sample=3"], "unknown key `sample`"),
        (["digit.png", "--method", "smoothgrad", "--set", "samples"], "expected KEY=VALUE, found 'samples'"),
        (["digit.png", "--all", "--set", "samples=3"], "--set: belongs to exactly one method"),
        (
            ["7", "--data", "digits", "--method", "gradient"],
            "data set digits has no sample '7'; it has 00007",
        ),
        (["7", "--data", "digit", "--method", "gradient"], "unknown data set 'digit'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(assay, arguments: list[str], complaint: str) -> None:
    Path("text.png").write_text("no picture")
    Image.new("L", (7, 8)).save("narrow.png")
    code, _, err = assay("saliency", "digits_fnn", *arguments, "--out", "map.png")
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert not Path("map.png").exists()


def test_a_picture_that_cannot_be_written_leaves_the_old_one(assay) -> None:
    Path("map.png").mkdir()
    code, _, err = assay("saliency", "digits_fnn", "digit.png", "--method", "gradient", "--out", "map.png")
    assert code == 2
    assert "map.png: cannot be written" in err
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["map", "map.jpg", "map.png.txt"])
def test_a_png_goes_under_the_name_of_a_png(assay, name: str) -> None:
    before = sorted(Path().iterdir())
    code, _, err = assay("saliency", "digits_fnn", "digit.png", "--method", "gradient", "--out", name)
    assert (code, err) == (2, f"assay: --out {name}: the picture is a PNG; give a name that ends in .png\n")
    assert sorted(Path().iterdir()) == before
    assert assay("saliency", "digits_fnn", "digit.png", "--method", "gradient", "--out", "MAP.PNG")[0] == 0


def test_alignment_in_words_and_as_json(assay) -> None:
    code, out, _ = assay("alignment", "digits_fnn", "digits", "--limit", 50)
    assert code in (0, None)
    assert out.startswith("alignment of digits_fnn on digits (logit): mean ")
    _, text, _ = assay("alignment", "digits_fnn", "digits", "--limit", 50, "--json", "--score", "margin")
    found = json.loads(text)
    assert (found["n"], found["undefined"], found["score"], found["data"]) == (50, 0, "margin", "digits")
    assert 0 < found["low"] < found["mean"] < found["high"] < 8


def test_alignment_needs_images_of_the_network_s_kind(assay) -> None:
    code, _, err = assay("alignment", "digits_fnn", "foolbox-imagenet20")
    assert code == 2
    assert "takes images of 1 channels, this one has 3" in err


# --- pictures


def test_strength_is_the_absolute_or_the_positive_part_up_to_one() -> None:
    saliency = np.array([[-2.0, 1.0], [0.0, 0.5]], np.float32)
    assert np.argmax(strength(saliency, "absolute")) == 0
    assert np.argmax(strength(saliency, "positive")) == 1
    assert strength(saliency, "positive")[0, 0] == 0
    assert strength(saliency, "absolute").max() == 1
    assert not strength(np.zeros((3, 3), np.float32), "absolute").any()


def test_one_strong_pixel_is_seen() -> None:
    saliency = np.zeros((100, 100), np.float32)
    saliency[3, 4] = 0.01
    assert strength(saliency, "positive")[3, 4] == 1


def test_the_overlay_shows_the_image_where_nothing_is_salient() -> None:
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3)
    strengths = np.zeros((4, 4), np.float32)
    strengths[0, 0] = 1
    blended = overlay(image, strengths)
    assert np.allclose(blended[1:, :, 0], blended[1:, :, 2])  # grey
    assert blended[0, 0, 0] > blended[0, 0, 2] + 0.1  # coloured
    assert np.all(np.diff(blended[1:, :, 0].ravel()) > 0)  # and brighter where the image is
    assert (blended >= 0).all()
    assert (blended <= 1).all()


@pytest.mark.parametrize(("count", "bands", "columns"), [(2, 1, 3), (5, 2, 3), (9, 2, 5)])
def test_panels_fill_their_rows_evenly(count, bands, columns) -> None:
    maps = dict.fromkeys(list(METHODS)[:count], np.ones((8, 8), np.float32))
    drawn = draw(np.zeros((8, 8, 3), np.float32), maps, Caption("m", "i", "c"))
    width, height = Image.open(io.BytesIO(drawn)).size
    assert height / width == pytest.approx((2 * bands) / columns, rel=0.15)


def test_a_grey_image_is_drawn_too() -> None:
    drawn = draw(
        np.zeros((8, 8, 1), np.float32), {"gradient": np.ones((8, 8), np.float32)}, Caption("m", "i", "c")
    )
    assert drawn.startswith(b"\x89PNG")
